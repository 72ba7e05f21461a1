r"""The objective: what a training step minimizes.

All items of a user are targets at once, and each is left out of its own history (u − w_ui p_i);
otherwise the encoder would learn to find its own input. The j-th most recent item has a share of
j^(-ρ/3), because popularity drifts and recommendations are about the future. For user u with
history N(u) and a sample S of the items outside it,

    l_ui = log(1 + n / |S| Σ_{j ∈ S} exp((s_uj − s_ui) / τ))

with s_ui the product of the unit user vector and the candidate row. This is a sampled softmax (Wu
et al., TOIS 2024) whose negatives are shared by the users of a step; ``losses.sampled_softmax``
defines the sum. With a teacher, ``distill`` times

    H(softmax(t_u / T), softmax(s_u / T)),  over S

is added, where t are the teacher's scores for the same users. What it ranks high among the items
that a user has not seen is worth recommending (Hinton et al., 2015; Tang & Wang, KDD 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.data.dataset import Dataset
from edgerec.errors import OptionError
from edgerec.model.device_model import DeviceModel
from edgerec.training.examples import Lists
from edgerec.training.gnn import GNN
from edgerec.training.graph import Graph, bag
from edgerec.training.losses import (
    NEVER,
    Rows,
    list_loss,
    sampled_softmax,
    scores_of,
    seen_among,
    shares_of,
    soft_loss,
)
from edgerec.training.teacher import Teachers

if TYPE_CHECKING:
    from edgerec.training.options import TrainOptions

__all__ = ["Objective"]

#: The share of a history that is held out of a dense encoder's input at a time.
_HELD_OUT = 0.3

#: T of the teacher's ranking; it is low because only the top of a list is shown.
_TEACHER_TEMPERATURE = 0.07

#: The default weight of the teacher's ranking.
_DISTILL = 5.0


class Objective:
    """The loss of a batch of users.

    Args:
        gnn: the model to train.
        graph: the training interactions.
        dataset: the dataset, whose catalogue a teacher must have.
        options: temperature, negatives, weights.
        teacher: a model of the same catalogue, several, or none.

    Raises:
        OptionError: the teacher has another catalogue, or ``distill`` is set without a teacher.
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
            raise OptionError("distill: has no effect without a teacher; set both")
        self.teachers = None if teacher is None else Teachers.of(teacher, dataset.items)

    def __call__(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """The loss over all items of some users, int64[B]."""
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
        weight = _DISTILL if self.options.distill is None else self.options.distill
        scaled = (scores / length).masked_fill(scores <= NEVER, NEVER)
        return loss + weight * soft_loss(taught, scaled, _TEACHER_TEMPERATURE)

    def _left_out(
        self, users: Tensor, past: list[Tensor], candidates: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Lists]:
        """The loss of an encoder that adds up rows: leaving each item out in turn costs nothing."""
        item, _, offsets, given = self.graph.histories(users)
        counts, own = offsets.diff(), None
        if self.gnn.users is not None:
            own = F.embedding(users, self.gnn.users)
            # Pooled rows are summed here, not divided by n ** normalization, so the user's own
            # vector is scaled up instead; the direction is the same.
            own = self.gnn.user([torch.zeros_like(own)], own)
            own = own * counts[:, None] ** self.gnn.normalization
        lists = Lists(item, counts, self.options.recency, own, given)
        rows = Rows(self.gnn.user(past), candidates, self.graph.n_items)
        sample = self._sample(generator)
        user, scores = scores_of(rows, lists, sample)
        o = self.options
        loss = list_loss(rows, lists, user, scores, o.temperature, o.user_weight, o.gce)
        return loss, scores, sample, lists

    def _held_out(
        self, users: Tensor, past: list[Tensor], candidates: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Lists]:
        """The loss of a dense encoder, where leaving out each item would be a new encoding.

        So a random part of each history is taken out at once as targets; the rest is the history.
        """
        item, place, offsets, given = self.graph.histories(users)
        whole = Lists(item, offsets.diff(), self.options.recency, given=given)
        target = torch.rand(len(item), generator=generator) < _HELD_OUT
        counts = torch.bincount(place[~target], minlength=len(users))
        rest = None if given is None else given[~target]
        kept = Lists(item[~target], counts, self.options.recency, given=rest)
        weight = kept.weights * counts.float()[kept.owner] ** -self.gnn.normalization
        ends = F.pad(counts.cumsum(0), (1, 0))
        user = F.normalize(self.gnn.user([bag(x, kept.items, ends, weight) for x in past]), dim=1)
        sample = self._sample(generator)
        seen = seen_among(whole, sample)
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
