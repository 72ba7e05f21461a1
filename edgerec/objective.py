r"""What training minimizes, step by step.

All items of a user are targets at once, each left out of its own history (u − w_ui p_i, or
the encoder would learn to find what it was given), the j-th most recent with a share of j^(-ρ/3):
what is popular drifts, and it is the future that will be recommended. For user u with history
N(u) and a sample S of the items outside it,

    l_ui = log(1 + n / |S| Σ_{j ∈ S} exp((s_uj − s_ui) / τ))

with s_ui the product of the unit user vector and the candidate row: a sampled softmax (Wu
et al., TOIS 2024) with the negatives shared by a step's users. ``ranking.sampled_softmax``
says how they add up. With a teacher, ``distill`` times

    H(softmax(t_u / T), softmax(s_u / T)),  over S

is added, t its scores of the same users: what it ranks high among items that a user has not
seen is what there is to be recommended (Hinton et al., 2015; Tang & Wang, KDD 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.data import Dataset
from edgerec.device_model import DeviceModel
from edgerec.errors import OptionError
from edgerec.graph import Graph, bag
from edgerec.models import GNN
from edgerec.ranking import (
    NEVER,
    Lists,
    Rows,
    list_loss,
    sampled_softmax,
    scores_of,
    seen_among,
    shares_of,
    soft_loss,
)
from edgerec.teacher import Teachers

if TYPE_CHECKING:
    from edgerec.training import TrainOptions

__all__ = ["Objective"]

#: Share of a history that is held out of a dense encoder's input at a time.
HELD_OUT = 0.3

#: T of the teacher's order: low, for the top of the list is what is shown.
TEACHER_TEMPERATURE = 0.07

#: Weight of the teacher's order where the options name none.
DISTILL = 5.0


class Objective:
    """The loss of some users, a number to minimize.

    Args:
        gnn: what is trained.
        graph: the training interactions.
        dataset: whose catalogue a teacher must have.
        options: temperature, negatives, weights.
        teacher: a model of the same catalogue, or several, or none.

    Raises:
        OptionError: the teacher is of another catalogue, or ``distill`` is given without one.
    """

    def __init__(
        self,
        gnn: GNN,
        graph: Graph,
        dataset: Dataset,
        options: TrainOptions,
        teacher: DeviceModel | Sequence[DeviceModel] | None = None,
    ) -> None:
        self.gnn, self.graph, self.options = gnn, graph, options
        if teacher is None and options.distill is not None:
            raise OptionError("distill: has no effect without a teacher; give both")
        self.teachers = None if teacher is None else Teachers.of(teacher, dataset.items)

    def __call__(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """Loss of all items of some users, int64[B]."""
        tables = self.gnn.tables(self.graph)
        candidates = self.gnn.readout(tables.candidates, self.graph.item_degree)
        if self.gnn.linear:
            loss, scores, sample, given = self._left_out(users, tables.past, candidates, generator)
        else:
            loss, scores, sample, given = self._held_out(users, tables.past, candidates, generator)
        if self.teachers is None:
            return loss
        taught = self.teachers.scores(given, sample).masked_fill(scores <= NEVER, NEVER)
        length = candidates.detach().norm(dim=1).median()
        weight = DISTILL if self.options.distill is None else self.options.distill
        scaled = (scores / length).masked_fill(scores <= NEVER, NEVER)
        return loss + weight * soft_loss(taught, scaled, TEACHER_TEMPERATURE)

    def _left_out(
        self, users: Tensor, past: list[Tensor], candidates: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Lists]:
        """Of an encoder that adds up rows: each item in turn left out, at the cost of none."""
        item, _, offsets = self.graph.histories(users)
        counts, own = offsets.diff(), None
        if self.gnn.users is not None:
            own = F.embedding(users, self.gnn.users)
            # Beside a sum, not a sum over n ** normalization: the direction is the same.
            own = self.gnn.user([torch.zeros_like(own)], own)
            own = own * counts[:, None] ** self.gnn.normalization
        lists = Lists(item, counts, self.options.recency, own)
        rows = Rows(self.gnn.user(past), candidates)
        sample = self._sample(generator)
        user, scores = scores_of(rows, lists, sample)
        o = self.options
        loss = list_loss(rows, lists, user, scores, o.temperature, o.user_weight, o.gce)
        return loss, scores, sample, lists

    def _held_out(
        self, users: Tensor, past: list[Tensor], candidates: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Lists]:
        """Of a dense encoder, where leaving an item out is a new encoding for each.

        So a random part is taken out at once: the rest is the history, the part the targets.
        """
        item, place, offsets = self.graph.histories(users)
        whole = Lists(item, offsets.diff(), self.options.recency)
        target = torch.rand(len(item), generator=generator) < HELD_OUT
        counts = torch.bincount(place[~target], minlength=len(users))
        kept = Lists(item[~target], counts, self.options.recency)
        weight = kept.weights * (counts.float() ** -self.gnn.normalization)[kept.owner]
        ends = F.pad(counts.cumsum(0), (1, 0))
        user = F.normalize(self.gnn.user([bag(x, kept.items, ends, weight) for x in past]), dim=1)
        sample = self._sample(generator)
        seen = seen_among(whole, sample, self.graph.n_items)
        scores = (user @ F.embedding(sample, candidates).T).masked_fill(seen, NEVER)
        owner, o = place[target], self.options
        positive = (F.embedding(owner, user) * F.embedding(item[target], candidates)).sum(1)
        shares = shares_of(whole, o.user_weight)[target]
        n = self.graph.n_items
        loss = sampled_softmax(scores, positive, owner, shares, n, o.temperature, o.gce)
        return loss, scores, sample, kept

    def _sample(self, generator: torch.Generator) -> Tensor:
        order = torch.randperm(self.graph.n_items, generator=generator)
        return order[: self.options.negatives]
