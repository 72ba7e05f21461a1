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

All of this ignores what came first. With ``predict="next"``, an item is predicted from those before
it alone, as in models of sequences (Kang & McAuley, ICDM 2018). S then lacks only these and the
item itself: what the user takes later is not next.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.training.examples import Lists
from edgerec.training.gnn import GNN, Tables
from edgerec.training.graph import Graph, bag
from edgerec.training.held_out import HeldOut, at_random, in_order, parts_in_order
from edgerec.training.losses import (
    Rows,
    list_loss,
    scores_of,
    seen_among,
    soft_loss,
)
from edgerec.training.normalizer import NEVER
from edgerec.training.teacher import Teachers

if TYPE_CHECKING:
    from edgerec.training.options import TrainOptions

__all__ = ["Objective"]

#: The most users that are scored against the same sample of items.
_GROUP = 400

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
        options: temperature, negatives, weights.
        teachers: what is learned from besides the interactions, or none.
    """

    def __init__(
        self, gnn: GNN, graph: Graph, options: TrainOptions, teachers: Teachers | None = None
    ) -> None:
        self.gnn, self.graph, self.options, self.teachers = gnn, graph, options, teachers

    def __call__(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """The loss over all items of some users, int64[B].

        The graph is propagated once. Large batches are divided into groups, each with a sample of
        its own, so that as many items are seen per user in a large catalogue as in a small one.
        """
        count = -(-len(users) // _GROUP)
        if self.options.predict == "next":
            past = self.graph.degree[users]
            count = max(count, parts_in_order(past, self.options.history_length))
        groups = users.tensor_split(count)
        parts = [
            self._histories(group).within(sample)
            for group, sample in zip(groups, self._samples(len(groups), generator), strict=True)
        ]
        sizes = [len(needed) for needed, _, _ in parts]
        tables = self.gnn.rows(self.graph, torch.cat([needed for needed, _, _ in parts]))
        split = [torch.split(table, sizes) for table in (*tables.past, tables.candidates)]
        losses = [
            self._loss(group, part, Tables(past, candidates), generator)
            for group, part, (*past, candidates) in zip(
                groups, parts, zip(*split, strict=True), strict=True
            )
        ]
        return torch.stack(losses).mean()

    def _loss(
        self,
        users: Tensor,
        part: tuple[Tensor, Lists, Tensor],
        tables: Tables,
        generator: torch.Generator,
    ) -> Tensor:
        """The loss of a group, from what ``Lists.within`` returned and the rows that it needs."""
        needed, local, among = part
        if self.options.predict == "next":
            kept, loss = local, self._in_order(users, local, among, tables)
            if self.teachers is not None:
                user = self._encoded(users, local, tables)
        elif self.gnn.linear:
            kept, (loss, user) = local, self._left_out(users, local, among, tables)
        else:
            # Leaving out each item in turn would be a new encoding every time.
            held = at_random(local, _HELD_OUT, self.options.user_weight, generator)
            kept, user = held.kept, self._encoded(users, held.kept, tables)
            loss = self._held_out_loss(held, user, among, tables)
        if self.teachers is None:
            return loss
        kept = dataclasses.replace(kept, items=needed[kept.items])
        taught = self.teachers.scores(kept, needed[among], users)
        length = F.embedding(among, tables.candidates.detach()).norm(dim=1).median()
        found = scores_of(tables.candidates, user, among) / length
        seen = seen_among(local, among)
        taught[seen] = found[seen] = NEVER
        weight = _DISTILL if self.options.distill is None else self.options.distill
        return loss + weight * soft_loss(taught, found, _TEACHER_TEMPERATURE)

    def _left_out(
        self, users: Tensor, lists: Lists, sample: Tensor, tables: Tables
    ) -> tuple[Tensor, Tensor]:
        """The loss of an encoder that adds up rows: leaving each item out in turn costs nothing.

        Returns:
            The loss, and the user vectors.
        """
        own = self.gnn.situated(users)
        if self.gnn.users is not None:
            vectors = F.embedding(users, self.gnn.users)
            vectors = self.gnn.user([torch.zeros_like(vectors)], vectors)
            own = vectors if own is None else vectors + own
        if own is not None:
            # Pooled rows are summed here, not divided by n ** normalization, so what is added to
            # them is scaled up instead; the direction is the same.
            own = own * lists.counts[:, None] ** self.gnn.normalization
            lists = dataclasses.replace(lists, own=own)
        rows = Rows(self.gnn.user(tables.past), tables.candidates, self.graph.n_items)
        o = self.options
        return list_loss(rows, lists, sample, o.temperature, o.user_weight, o.gce)

    def _in_order(self, users: Tensor, lists: Lists, sample: Tensor, tables: Tables) -> Tensor:
        """The loss of predicting each item but the first from those before it."""
        held, later = in_order(lists, self.options.history_length, self.options.user_weight)
        edges, owner, _ = self.graph.edges(users)
        user = self._encoded(users[owner[later]], held.kept, tables, edges[later])
        return self._held_out_loss(held, user, sample, tables)

    def _held_out_loss(self, held: HeldOut, user: Tensor, sample: Tensor, tables: Tables) -> Tensor:
        o = self.options
        return held.loss(user, tables.candidates, sample, self.graph.n_items, o.temperature, o.gce)

    def _encoded(
        self, users: Tensor, lists: Lists, tables: Tables, edges: Tensor | None = None
    ) -> Tensor:
        """Vectors float[B, d] of users, int64[B], from some histories of theirs.

        ``edges`` are the interactions to predict, int64[B], if there is one of each.
        """
        own = None if self.gnn.users is None else F.embedding(users, self.gnn.users)
        weight = lists.weights * lists.counts.float()[lists.owner] ** -self.gnn.normalization
        pooled = [bag(past, lists.items, lists.ends, weight) for past in tables.past]
        user, added = self.gnn.user(pooled, own), self.gnn.situated(users, edges)
        return user if added is None else user + added

    def _histories(self, users: Tensor) -> Lists:
        item, _, offsets, given = self.graph.histories(users)
        return Lists(item, offsets.diff(), self.options.recency, given=given)

    def _samples(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """Random samples of the items, which have none in common as long as the items suffice."""
        n = self.graph.n_items
        size = min(n, self.options.negatives)
        found: list[Tensor] = []
        while len(found) < count:
            found += torch.randperm(n, generator=generator)[: n // size * size].tensor_split(
                n // size
            )
        return found[:count]
