r"""Ranking losses of a DeviceModel in torch.

With û = u / |u|, q_j a candidate row over the median length of all and τ a temperature,
``ranking_loss`` is the softmax cross-entropy of one left-out item over the whole catalogue.

``list_loss`` is for encoders that only add up past rows p_i. There, the user without item i is
u - p_i, so one pass over a history trains on each of its items:

    L_rank = mean over (u, i) of softplus(logsumexp_j(û · q_j / τ) - (û\i) · q_i / τ)

over sampled items j that the user does not have (a sampled softmax: Wu et al., TOIS 2024).

``soft_loss`` preserves the ranking of a teacher, by the same scores at a temperature T of its own:

    L_soft = H(softmax_j(û · q_j / T of the teacher), softmax_j(û · q_j / T))

(Hinton, Vinyals & Dean, 2015; Tang & Wang, "Ranking Distillation", KDD 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.model.device_model import DeviceModel
from edgerec.training.examples import Batch, Lists
from edgerec.training.graph import bag
from edgerec.training.left_out import left_out_scores
from edgerec.training.normalizer import log_normalizer
from edgerec.training.torch_model import TorchModel

__all__ = [
    "Rows",
    "example_scores",
    "list_loss",
    "needed_rows",
    "ranking_loss",
    "rows_of",
    "sampled_softmax",
    "scale_of",
    "scores_of",
    "seen_among",
    "shares_of",
    "soft_loss",
    "user_vectors",
]

#: Which share of ρ applies to items to recommend: popularity drifts more slowly than the interest
#: of a single user. Chosen on a validation split in order of time.
_TARGETS = 1 / 3


@dataclass(frozen=True)
class Rows:
    """The rows that an encoder which only adds up rows amounts to.

    Args:
        past: float[m, d], what each item adds to a user vector.
        candidates: float[m, d], rows to score; the median length of the catalogue's is 1.
        n_items: n, the size of the catalogue, of which these may be a part.
    """

    past: Tensor
    candidates: Tensor
    n_items: int


def scale_of(model: DeviceModel) -> float:
    """Median length of the candidate rows; dividing scores by it puts all models on one scale."""
    norms = np.linalg.norm(model.tables[model.head.table].decode(), axis=1)
    return max(float(np.median(norms[norms > 0], axis=0)) if (norms > 0).any() else 1.0, 1e-12)


def rows_of(model: TorchModel, scale: float, items: Tensor | None = None) -> Rows:
    """Past and candidate rows of a linear model (``DeviceModel.is_linear``).

    Args:
        model: the model.
        scale: what to divide candidate rows by.
        items: int64[m], the items whose rows are needed; all of them by default.
    """
    n = len(model.model.items)
    items = torch.arange(n) if items is None else items
    candidates = model.rows(model.model.head.table, items)
    cosine = model.model.head.kind == "cosine"
    candidates = F.normalize(candidates, dim=1) if cosine else candidates / scale
    return Rows(model(items[:, None], torch.ones(len(items), 1)), candidates, n)


def needed_rows(
    model: TorchModel, users: Lists, sample: Tensor, scale: float
) -> tuple[Rows, Lists, Tensor]:
    """The rows that a step needs, and its histories and its sample as rows of these."""
    needed, local, among = users.within(sample)
    return rows_of(model, scale, needed), local, among


def user_vectors(rows: Rows, users: Lists) -> Tensor:
    """Sums of past rows, float[B, d]."""
    user = bag(rows.past, users.items, users.ends, users.weights)
    return user if users.own is None else user + users.own


def scores_of(candidates: Tensor, user: Tensor, sample: Tensor) -> Tensor:
    """Scores float[B, |S|] of sampled items for user vectors float[B, d] of any length."""
    return F.normalize(user, dim=1) @ F.embedding(sample, candidates).T


def seen_among(users: Lists, sample: Tensor) -> tuple[Tensor, Tensor]:
    """The sampled items that users have, which are different ones.

    Returns:
        Pairs of a user's position in the batch, ascending, and an item's in the sample.
    """
    size = 1 + int(torch.maximum(sample.max(), users.items.max()))
    places = torch.full((size,), -1, device=sample.device)
    places[sample] = torch.arange(len(sample), device=sample.device)
    place = places[users.items]
    found = place >= 0
    return users.owner[found], place[found]


def list_loss(
    rows: Rows,
    users: Lists,
    sample: Tensor,
    temperature: float = 0.15,
    user_weight: float = 0.2,
    gce: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """L_rank, leaving each item of each user out in turn, and user vectors, float[B, d]."""
    user, positive = left_out_scores(rows.past, rows.candidates, users)
    # F.embedding, not indexing: on CPU its backward is many times faster.
    among = F.embedding(sample, rows.candidates)
    unit = F.normalize(user, dim=1)
    rest = log_normalizer(unit, among, seen_among(users, sample), temperature)
    shares, ratio = shares_of(users, user_weight), rows.n_items / len(sample)
    return sampled_softmax(rest, positive, users.owner, shares, ratio, temperature, gce), user


def shares_of(users: Lists, user_weight: float) -> Tensor:
    """float[edges], each item's share as one to recommend.

    A user's c items add up to c^(1 - g), before each is multiplied by its own weight.
    """
    owner, counts = users.owner, users.age ** (-_TARGETS * users.recency)
    total = torch.zeros(len(users.counts)).index_add(0, owner, counts)
    shares = counts * (users.counts.float() ** (1 - user_weight) / total)[owner]
    return shares if users.given is None else shares * users.given


def sampled_softmax(
    rest: Tensor,
    positive: Tensor,
    owner: Tensor,
    shares: Tensor,
    ratio: float,
    temperature: float,
    gce: float = 0.0,
) -> Tensor:
    """Weighted mean of the losses l = softplus(Z + log(n / |S|) - s / τ) of positives.

    Args:
        rest: float[B], the ``log_normalizer`` Z of each user.
        positive: float[P], s of the positives.
        owner: int64[P], the user of each positive.
        shares: float[P], the weight of each positive.
        ratio: n / |S|, the size of the catalogue over that of the sample.
        temperature: τ.
        gce: q of the generalized cross entropy (1 - exp(-q l)) / q (Zhang & Sabuncu, NeurIPS
            2018), which gives less weight to items that are out of reach; 0 is l itself.
    """
    loss = F.softplus((rest + math.log(ratio))[owner] - positive / temperature)
    if gce:
        loss = -torch.expm1(-gce * loss) / gce
    return (loss * (shares / shares.sum())).sum()


def soft_loss(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """L_soft of scores float[B, |S|], less its minimum, which is the teacher's own entropy."""
    target = (teacher / temperature).log_softmax(1)
    found = (student / temperature).log_softmax(1)
    return F.kl_div(found, target, reduction="batchmean", log_target=True)


def ranking_loss(model: TorchModel, batch: Batch, scale: float, temperature: float = 0.1) -> Tensor:
    """Full softmax cross-entropy of the left-out items, over the whole catalogue.

    User vectors are scaled to unit length and rows by ``scale``, so that a temperature
    means the same for every model.
    """
    logits = example_scores(model, batch, scale) / temperature
    return F.cross_entropy(logits, batch.target)


def example_scores(model: TorchModel, batch: Batch, scale: float) -> Tensor:
    """Scores float[B, n] of unit user vectors divided by ``scale``; seen items have -inf."""
    user = F.normalize(model(batch.history, batch.weights, **batch.own), dim=-1)
    scores = model.logits(user) / scale
    seen = torch.zeros_like(scores, dtype=torch.bool)
    seen.scatter_(1, batch.history.clamp(min=0), batch.weights > 0)
    # Padding reads row 0, so only items with a weight count as seen.
    padded = (batch.weights == 0) & (batch.history <= 0)
    row_zero = ((batch.history == 0) & ~padded).any(1)
    seen[:, 0] = row_zero
    seen.scatter_(1, batch.target[:, None], False)
    return scores.masked_fill(seen, float("-inf"))
