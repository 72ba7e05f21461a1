r"""Ranking losses of a DeviceModel's twin, and the training examples they take.

With û = u / |u|, q_j a candidate row over the median length of all and τ a temperature,
``ranking_loss`` is the softmax cross-entropy of one left-out item over the whole catalogue.

``list_loss`` is for encoders that only add up past rows p_i. There the user without item i is
u - p_i, so one pass over a history trains on each of its items:

    L_rank = mean over (u, i) of softplus(logsumexp_j(û · q_j / τ) - (û\i) · q_i / τ)

over sampled items j that the user does not have (a sampled softmax: Wu et al., TOIS 2024).

``soft_loss`` keeps the order of a teacher, by the same scores at a temperature T of its own:

    L_soft = H(softmax_j(û · q_j / T of the teacher), softmax_j(û · q_j / T))

(Hinton, Vinyals & Dean, 2015; Tang & Wang, "Ranking Distillation", KDD 2018).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgerec.data import Dataset
from edgerec.device_model import DeviceModel
from edgerec.graph import bag
from edgerec.quality import match_rows, pad_batch
from edgerec.twin import Twin

__all__ = [
    "NEVER",
    "Batch",
    "Lists",
    "Rows",
    "batches",
    "example_scores",
    "list_loss",
    "lists",
    "ranking_loss",
    "raw_scores",
    "rows_of",
    "sampled_softmax",
    "scale_of",
    "scores_of",
    "seen_among",
    "shares_of",
    "soft_loss",
]

#: How much of ρ items to recommend feel: what is popular drifts more slowly than what one user
#: is about. Chosen on a validation split in the order of time.
TARGETS = 1 / 3

#: What stands for minus infinity where a softmax must stay differentiable.
NEVER = -1e4


@dataclass(frozen=True)
class Batch:
    """Training examples: a history each, and the item that was left out of it.

    Args:
        history: int64[B, H'], -1 for padding.
        weights: float[B, H'].
        target: int64[B].
    """

    history: Tensor
    weights: Tensor
    target: Tensor


@dataclass(frozen=True)
class Lists:
    """Whole histories, one after the other, each the oldest item first.

    Args:
        items: int64[edges], rows of the model.
        counts: int64[B], how many of them each user has.
        recency: ρ; the j-th most recent of a user's items weighs j^-ρ as a past item, and
            counts j^(-ρ/3) as one to recommend.
        own: float[B, d], what a user has besides; none in a model of histories alone.
    """

    items: Tensor
    counts: Tensor
    recency: float = 0.0
    own: Tensor | None = None

    @functools.cached_property
    def owner(self) -> Tensor:
        """int64[edges], the place of each item's user."""
        return torch.repeat_interleave(self.counts)

    @functools.cached_property
    def age(self) -> Tensor:
        """float[edges], j of the j-th most recent item of a user, from 1 on."""
        return (self.counts.cumsum(0)[self.owner] - torch.arange(len(self.items))).float()

    @functools.cached_property
    def weights(self) -> Tensor:
        """float[edges], how much each weighs as a past item, j^-ρ."""
        return self.age**-self.recency


@dataclass(frozen=True)
class Rows:
    """What an encoder that adds up rows comes to.

    Args:
        past: float[n, d], what each item adds to a user.
        candidates: float[n, d], rows to score, of median length 1.
    """

    past: Tensor
    candidates: Tensor


def histories(model: DeviceModel, dataset: Dataset) -> list[NDArray[np.int32]]:
    """Each user's training items, as rows of the model; those it does not have are left out."""
    to_model, _ = match_rows(model, dataset)
    known = [to_model[rows] for rows in dataset.train.lists()]
    return [rows[rows >= 0] for rows in known]


def batches(
    model: DeviceModel, dataset: Dataset, *, size: int = 256, seed: int = 0
) -> Iterator[Batch]:
    """Go once through the users in random order, one item of each left out as the target.

    Users with fewer than two items that the model knows are passed over: nothing of their
    history would be left.
    """
    rng = np.random.default_rng(seed)
    known = histories(model, dataset)
    order = rng.permutation([u for u, rows in enumerate(known) if len(rows) > 1])
    for start in range(0, len(order), size):
        left, targets = [], []
        for user in order[start : start + size]:
            rows = known[user]
            place = int(rng.integers(len(rows)))
            left.append(np.delete(rows, place))
            targets.append(int(rows[place]))
        history, weights = pad_batch(left, model)
        yield Batch(
            torch.from_numpy(history.astype(np.int64)),
            torch.from_numpy(weights),
            torch.tensor(targets),
        )


def lists(model: DeviceModel, dataset: Dataset, *, size: int = 400, seed: int = 0) -> list[Lists]:
    """Split the users into near-equal batches at random, their whole histories in each.

    The same users as in ``batches``.
    """
    rng = np.random.default_rng(seed)
    known = [rows for rows in histories(model, dataset) if len(rows) > 1]
    if not known:
        return []
    parts = np.array_split(rng.permutation(len(known)), -(-len(known) // size))
    return [
        Lists(
            torch.from_numpy(np.concatenate([known[u] for u in part]).astype(np.int64)),
            torch.tensor([len(known[u]) for u in part]),
            model.recency,
        )
        for part in parts
    ]


def scale_of(model: DeviceModel) -> float:
    """Median length of the candidate rows; scores are divided by it to have one scale."""
    norms = np.linalg.norm(model.tables[model.head.table].decode(), axis=1)
    return max(float(np.median(norms[norms > 0], axis=0)) if (norms > 0).any() else 1.0, 1e-12)


def rows_of(twin: Twin, scale: float) -> Rows:
    """Past and candidate rows of a linear model (``DeviceModel.is_linear``)."""
    each = torch.arange(len(twin.model.items))[:, None]
    candidates = twin.table(twin.model.head.table)
    cosine = twin.model.head.kind == "cosine"
    candidates = F.normalize(candidates, dim=1) if cosine else candidates / scale
    return Rows(twin(each, torch.ones(each.shape)), candidates)


def scores_of(rows: Rows, users: Lists, sample: Tensor) -> tuple[Tensor, Tensor]:
    """User vectors float[B, d], and scores float[B, |S|] of sampled items; seen ones NEVER."""
    user, scores = raw_scores(rows, users, sample)
    return user, scores.masked_fill_(seen_among(users, sample, len(rows.candidates)), NEVER)


def raw_scores(rows: Rows, users: Lists, sample: Tensor) -> tuple[Tensor, Tensor]:
    """The same with the scores of what was seen as they come."""
    user = bag(rows.past, users.items, F.pad(users.counts.cumsum(0), (1, 0)), users.weights)
    user = user if users.own is None else user + users.own
    return user, F.normalize(user, dim=1) @ F.embedding(sample, rows.candidates).T


def seen_among(users: Lists, sample: Tensor, n_items: int) -> Tensor:
    """bool[B, |S|], whether a user has a sampled item."""
    seen = torch.zeros(len(users.counts), n_items, dtype=torch.bool)
    seen[users.owner, users.items] = True
    return seen[:, sample]


def list_loss(
    rows: Rows,
    users: Lists,
    user: Tensor,
    scores: Tensor,
    temperature: float = 0.15,
    user_weight: float = 0.2,
    gce: float = 0.0,
) -> Tensor:
    """L_rank of ``scores_of``: each item of each user left out in turn."""
    owner, weights = users.owner, users.weights
    # F.embedding, not indexing: on CPU its backward is many times faster.
    left = F.embedding(owner, user) - weights[:, None] * F.embedding(users.items, rows.past)
    positive = (F.normalize(left, dim=1) * F.embedding(users.items, rows.candidates)).sum(1)
    shares = shares_of(users, user_weight)
    return sampled_softmax(scores, positive, owner, shares, len(rows.candidates), temperature, gce)


def shares_of(users: Lists, user_weight: float) -> Tensor:
    """float[edges], how much each item counts as one to recommend; c items count c^(1 - g)."""
    owner, counts = users.owner, users.age ** (-TARGETS * users.recency)
    total = torch.zeros(len(users.counts)).index_add(0, owner, counts)
    return counts * (users.counts.float() ** (1 - user_weight) / total)[owner]


def sampled_softmax(
    scores: Tensor,
    positive: Tensor,
    owner: Tensor,
    shares: Tensor,
    n_items: int,
    temperature: float,
    gce: float = 0.0,
) -> Tensor:
    """Weighted mean of the losses l = softplus(log(n / |S| Σ_j exp(s_j / τ)) - s / τ) of positives.

    Args:
        scores: float[B, |S|], s_j of sampled items, NEVER for those that a user has.
        positive: float[P], s of the positives.
        owner: int64[P], whose they are.
        shares: float[P], how much each counts.
        n_items: n, size of the catalogue.
        temperature: τ.
        gce: q of the generalized cross entropy (1 - exp(-q l)) / q (Zhang & Sabuncu, NeurIPS
            2018), which gives less room to items that are out of reach; 0 is l itself.
    """
    rest = torch.logsumexp(scores / temperature, 1) + math.log(n_items / scores.shape[1])
    loss = F.softplus(rest[owner] - positive / temperature)
    if gce:
        loss = -torch.expm1(-gce * loss) / gce
    return (loss * (shares / shares.sum())).sum()


def soft_loss(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """L_soft of scores float[B, |S|], less its least value, the teacher's own entropy."""
    target = (teacher / temperature).log_softmax(1)
    found = (student / temperature).log_softmax(1)
    return F.kl_div(found, target, reduction="batchmean", log_target=True)


def ranking_loss(twin: Twin, batch: Batch, scale: float, temperature: float = 0.1) -> Tensor:
    """Full softmax cross-entropy of the left-out items, over the whole catalogue.

    User vectors are scaled to unit length and rows by ``scale``, so that a temperature
    means the same for every model.
    """
    logits = example_scores(twin, batch, scale) / temperature
    return F.cross_entropy(logits, batch.target)


def example_scores(twin: Twin, batch: Batch, scale: float) -> Tensor:
    """Scores float[B, n] of unit users, over ``scale``; what was seen is -inf."""
    user = F.normalize(twin(batch.history, batch.weights), dim=-1)
    scores = twin.logits(user) / scale
    seen = torch.zeros_like(scores, dtype=torch.bool)
    seen.scatter_(1, batch.history.clamp(min=0), batch.weights > 0)
    # Padding reads row 0; only what weighs something was seen.
    padded = (batch.weights == 0) & (batch.history <= 0)
    row_zero = ((batch.history == 0) & ~padded).any(1)
    seen[:, 0] = row_zero
    seen.scatter_(1, batch.target[:, None], False)
    return scores.masked_fill(seen, float("-inf"))
