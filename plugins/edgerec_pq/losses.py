r"""What codewords are trained for.

For an encoder that only adds up past rows p_i, the user without item i is u - p_i, so that
one pass over a history trains on each of its items. With û = u / |u| and a
temperature τ,

    L_rank = mean over (u, i) of softplus(logsumexp_j(û · q_j / τ) - (û\i) · q_i / τ)
    L_soft = H(softmax_j(û · q_j / τ of the model given), softmax_j(û · q_j / τ))

over sampled items j that the user does not have. The second keeps the order of what the
given model ranks first (Tang & Wang, "Ranking Distillation", KDD 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgerec.learn import Twin, batches, ranking_loss, scale_of
from edgerec.plugin import Context, DeviceModel

__all__ = ["example_losses", "list_losses"]

#: Users a step, items scored beside theirs, and τ.
USERS, NEGATIVES, TEMPERATURE = 400, 16384, 0.15

#: A user with c items counts as c^(1 - GAMMA) of them.
GAMMA = 0.2


def example_losses(
    twin: Twin, distill: float, context: Context, epoch: int
) -> Iterator[tuple[Tensor, int]]:
    """Any encoder: one item of each history left out, over the whole catalogue.

    No distillation: the ranking loss alone.
    """
    dataset, scale = context.require_dataset("pq"), scale_of(twin.model)
    of = -(-len(dataset.users) // 256)
    for batch in batches(twin.model, dataset, seed=context.seed * 100_003 + epoch):
        yield ranking_loss(twin, batch, scale, TEMPERATURE), of


def list_losses(
    twin: Twin, distill: float, context: Context, epoch: int
) -> Iterator[tuple[Tensor, int]]:
    """Encoders that add up rows: every item of each history left out in turn."""
    rng = np.random.default_rng([context.seed, epoch])
    starts, items = histories(twin.model, context)
    sizes = np.diff(starts)
    users = rng.permutation(np.flatnonzero(sizes > 1))
    given, scale = Twin(twin.model), scale_of(twin.model)
    n = len(twin.model.items)
    with torch.no_grad():
        teacher = past_and_candidates(given, scale)
    for start in range(0, len(users), USERS):
        chunk = users[start : start + USERS]
        rows = np.concatenate([items[starts[u] : starts[u + 1]] for u in chunk])
        others = torch.from_numpy(rng.choice(n, min(NEGATIVES, n), replace=False))
        student = past_and_candidates(twin, scale)
        history = torch.from_numpy(rows.astype(np.int64))
        counts = torch.from_numpy(sizes[chunk])
        loss = list_loss(student, teacher, history, counts, others, distill)
        yield loss, -(-len(users) // USERS)


def list_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    history: Tensor,
    counts: Tensor,
    others: Tensor,
    distill: float,
) -> Tensor:
    """L_rank + distill · L_soft of users whose items are ``history``, ``counts`` of them each."""
    past, candidates = student
    owner = torch.repeat_interleave(counts)
    offsets = F.pad(counts.cumsum(0), (1, 0))
    own = torch.zeros(len(counts), len(candidates), dtype=torch.bool)
    own[owner, history] = True
    seen = own[:, others]

    def logits(past: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        user = F.embedding_bag(history, past, offsets, mode="sum", include_last_offset=True)
        scores = F.normalize(user, dim=1) @ F.embedding(others, candidates).T
        return user, scores.masked_fill_(seen, -1e4)

    user, scores = logits(past, candidates)
    without = F.normalize(user[owner] - F.embedding(history, past), dim=1)
    positive = (without * F.embedding(history, candidates)).sum(1)
    everything = torch.logsumexp(scores, 1)
    rest = everything + math.log(len(candidates) / len(others))
    weight = counts.float().pow(-GAMMA)[owner]
    loss = (F.softplus(rest[owner] - positive) * (weight / weight.sum())).sum()
    if distill:
        with torch.no_grad():
            target = logits(*teacher)[1].softmax(1)
        loss = loss + distill * (everything - (target * scores).sum(1)).mean()
    return loss


def past_and_candidates(twin: Twin, scale: float) -> tuple[Tensor, Tensor]:
    """What each item adds to a user, float[n, d], and rows to score over scale · τ."""
    each = torch.arange(len(twin.model.items))[:, None]
    candidates = twin.table(twin.model.head.table)
    if twin.model.head.kind == "cosine":
        candidates, scale = F.normalize(candidates, dim=1), 1.0
    return twin(each, torch.ones(each.shape)), candidates / (scale * TEMPERATURE)


def histories(model: DeviceModel, context: Context) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Training histories in CSR, of the rows that the model knows."""
    dataset = context.require_dataset("pq")
    rows = model.items.rows
    known = np.array([rows.get(item, -1) for item in dataset.items.ids], np.int32)
    items = known[dataset.train.items]
    counts = np.bincount(dataset.train.users[items >= 0], minlength=dataset.train.n_users)
    return np.concatenate([[0], np.cumsum(counts)]), items[items >= 0]
