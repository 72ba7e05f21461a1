r"""Training through the codec.

Every row keeps a float latent; the row that is scored is what its codewords give,

    y_i = [C_1[q_i1], …, C_M[q_iM]] + (z_i - sg(z_i)),   row_i = exp(θ_i) y_i,

with sg the stop-gradient: the codewords get their own gradient and the latents get it as if
they had been the row (straight-through; Bengio et al., 2013; van den Oord et al., "Neural
Discrete Representation Learning", NeurIPS 2017). Rows move to the codewords nearest to
their latents now and then, and stay where they are at the end.

For an encoder that only adds up past rows p_i, the user without item i is u - p_i, so that
one pass over a history trains on each of its items. With Z = softmax temperature τ,

    L_rank = mean over (u, i) of softplus(logsumexp_j(û · q_j / τ) - (û\i) · q_i / τ)
    L_soft = H(softmax_j(û · q_j / τ of the model given), softmax_j(û · q_j / τ))

over sampled items j that the user does not have. The second keeps the order of what the
given model ranks first (Tang & Wang, "Ranking Distillation", KDD 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.learn import Twin, batches, ranking_loss, scale_of
from edgerec.plugin import Context, DeviceModel, Table
from edgerec_pq.codec import PQ
from edgerec_pq.kmeans import columns, learn_codebook, lookup, nearest, unit

if TYPE_CHECKING:
    from edgerec_pq import ProductQuantize

__all__ = ["tune"]

#: Users a step, items scored beside theirs, τ, and steps between assignments.
USERS, NEGATIVES, TEMPERATURE, REASSIGN = 400, 16384, 0.15, 20

#: A user with c items counts as c^(1 - GAMMA) of them.
GAMMA = 0.2

#: The part of training after which assignments stay.
SETTLED = 0.8


class CodedTwin(Twin):
    """A model whose wide tables are seen through their codewords.

    Args:
        model: the model, rotated already.
        codecs: the codec of each table; those of one column stay numbers until the end.
    """

    def __init__(self, model: DeviceModel, codecs: Mapping[str, PQ]) -> None:
        super().__init__(model)
        self.codecs = {n: c for n, c in codecs.items() if model.tables[n].shape[1] > 1}
        self.codebooks, self.gains = nn.ParameterDict(), nn.ParameterDict()
        self.codes: dict[str, Tensor] = {}
        for name, codec in self.codecs.items():
            rows = model.tables[name].decode()
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            if codec.norm:
                rows = unit(rows)
            codebook = learn_codebook(rows, codec.subspaces, 2**codec.bits)
            codes = nearest(rows, codebook, codec.subspaces)
            if codec.norm:
                found = np.linalg.norm(lookup(codes, codebook), axis=1, keepdims=True)
                gain = np.log(np.maximum(length, 1e-9) / np.maximum(found, 1e-6))
                self.gains["of " + name] = nn.Parameter(torch.from_numpy(gain))
            self.tables[name].data = torch.from_numpy(rows)
            self.codebooks["of " + name] = nn.Parameter(torch.from_numpy(codebook))
            self.codes[name] = torch.from_numpy(codes)

    def table(self, name: str) -> Tensor:
        """Rows as the codewords give them."""
        latent = self.tables[name]
        if name not in self.codecs:
            return latent
        codebook, codes = self.codebooks["of " + name], self.codes[name]
        parts = codebook.split(self.widths(name), 1)
        looked_up = [F.embedding(codes[:, m], part) for m, part in enumerate(parts)]
        rows = torch.cat(looked_up, 1) + (latent - latent.detach())
        return rows * self.gains["of " + name].exp() if self.codecs[name].norm else rows

    def widths(self, name: str) -> list[int]:
        """Columns of each subspace."""
        d, subspaces = self.model.tables[name].shape[1], self.codecs[name].subspaces
        return [int(width) for width in np.bincount(columns(d, subspaces))]

    def reassign(self) -> None:
        """Move every row to the codewords nearest to its latent."""
        for name, codec in self.codecs.items():
            latent = self.tables[name].detach().numpy()
            codebook = self.codebooks["of " + name].detach().numpy()
            self.codes[name] = torch.from_numpy(nearest(latent, codebook, codec.subspaces))

    def written(self, codecs: Mapping[str, PQ]) -> DeviceModel:
        """The model with its codes, codebooks and lengths as they are now."""
        tables = {}
        for name, codec in codecs.items():
            if name not in self.codecs:
                tables[name] = Table.encode(self.tables[name].detach().numpy(), codec)
                continue
            codebook = self.codebooks["of " + name].detach().numpy()
            gain = self.gains["of " + name].detach().exp().numpy()[:, 0] if codec.norm else None
            arrays = codec.write(self.codes[name].numpy(), codebook, gain)
            tables[name] = Table(codec, self.model.tables[name].shape, arrays)
        constants = {name: c.detach().numpy().copy() for name, c in self.constants.items()}
        return self.model.replace(tables=tables, constants=constants)


def tune(
    model: DeviceModel, codecs: Mapping[str, PQ], options: ProductQuantize, context: Context
) -> DeviceModel:
    """Train codewords, assignments, lengths and weights for the ranking; write the model."""
    twin = CodedTwin(model, codecs)
    wide = [twin.tables[name] for name in twin.codecs]
    others = [p for p in twin.parameters() if not any(p is w for w in wide)]
    rate = options.learning_rate
    optimizer = torch.optim.Adam([{"params": wide}, {"params": others}], rate)
    losses = list_losses if model.is_linear else example_losses
    done = 0
    for epoch in range(options.epochs):
        total = 0.0
        for number, (loss, of) in enumerate(losses(twin, options, context, epoch), 1):
            progress = (epoch + number / of) / options.epochs
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            for group in optimizer.param_groups:
                group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * progress))
            optimizer.step()
            done += 1
            if done % REASSIGN == 0 and progress < SETTLED:
                twin.reassign()
            total += float(loss.detach())
        context.progress(epoch + 1, options.epochs, f"pq, loss {total / max(number, 1):.4f}")
    return twin.written(codecs)


def example_losses(
    twin: CodedTwin, options: ProductQuantize, context: Context, epoch: int
) -> Iterator[tuple[Tensor, int]]:
    """Any encoder: one item of each history left out, over the whole catalogue."""
    dataset, scale = context.require_dataset("pq"), scale_of(twin.model)
    of = -(-len(dataset.users) // 256)
    for batch in batches(twin.model, dataset, seed=context.seed * 100_003 + epoch):
        yield ranking_loss(twin, batch, scale, TEMPERATURE), of


def list_losses(
    twin: CodedTwin, options: ProductQuantize, context: Context, epoch: int
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
        loss = list_loss(student, teacher, history, counts, others, options.distill)
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
