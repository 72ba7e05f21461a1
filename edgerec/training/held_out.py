r"""Histories, some items of which are predicted from the others.

An encoder that adds up rows can leave out each item in turn (``left_out.py``). For any other, and
where the order matters, the items to predict are held out of the input. ``in_order`` holds out each
item but the first from those before it, as models of sequences do (Kang & McAuley, ICDM 2018).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from edgerec.training.examples import Lists
from edgerec.training.losses import sampled_softmax, seen_among, shares_of
from edgerec.training.normalizer import log_normalizer

__all__ = ["HeldOut", "at_random", "in_order", "parts_in_order"]

#: About how many edges the histories of ``in_order`` have at a time.
_EDGES = 1 << 20


@dataclass(frozen=True)
class HeldOut:
    """Histories and the items to predict.

    Args:
        whole: the histories, with these items.
        target: bool[edges], true for the items to predict.
        shares: float[P], how much each of them counts.
    """

    whole: Lists
    target: Tensor
    shares: Tensor

    @functools.cached_property
    def kept(self) -> Lists:
        """The histories without the items to predict."""
        whole, kept = self.whole, ~self.target
        counts = torch.bincount(whole.owner[kept], minlength=len(whole.counts))
        given = None if whole.given is None else whole.given[kept]
        return Lists(whole.items[kept], counts, whole.recency, given=given)

    def loss(
        self,
        user: Tensor,
        candidates: Tensor,
        sample: Tensor,
        n_items: int,
        temperature: float,
        gce: float = 0.0,
    ) -> Tensor:
        """L_rank of the items to predict.

        Args:
            user: float[B, d], vectors of ``kept``, of any length.
            candidates: float[m, d], candidate rows.
            sample: int64[|S|], the items to score them against.
            n_items: n, the size of the catalogue.
            temperature: τ.
            gce: q, as ``sampled_softmax`` defines it.
        """
        user, whole = F.normalize(user, dim=1), self.whole
        among = F.embedding(sample, candidates)
        rest = log_normalizer(user, among, seen_among(whole, sample), temperature)
        owner, item = whole.owner[self.target], whole.items[self.target]
        positive = (F.embedding(owner, user) * F.embedding(item, candidates)).sum(1)
        ratio = n_items / len(sample)
        return sampled_softmax(rest, positive, owner, self.shares, ratio, temperature, gce)


def at_random(
    lists: Lists, share: float, user_weight: float, generator: torch.Generator
) -> HeldOut:
    """Hold out a random share of the items of each history."""
    target = torch.rand(len(lists.items), generator=generator) < share
    return HeldOut(lists, target, shares_of(lists, user_weight)[target])


def in_order(lists: Lists, longest: int, user_weight: float = 0.2) -> tuple[HeldOut, Tensor]:
    """Hold out each item that has one before it, which makes a history of those before it.

    Args:
        lists: the histories, without the users' own vectors.
        longest: H, the most items before one; the oldest are left out.
        user_weight: g, as in ``shares_of``.

    Returns:
        These histories, and the edge of each one's item to predict, int64[P].
    """
    device = lists.items.device
    place = torch.arange(len(lists.items), device=device) - lists.ends[lists.owner]
    later = torch.nonzero(place)[:, 0]
    counts = place[later].clamp(max=longest) + 1
    each = torch.repeat_interleave(counts)
    back = counts.cumsum(0)[each] - 1 - torch.arange(len(each), device=device)
    edges = later[each] - back
    given = None if lists.given is None else lists.given[edges]
    whole = Lists(lists.items[edges], counts, lists.recency, given=given)
    shares = shares_of(lists, user_weight)[later]
    return HeldOut(whole, back == 0, shares), later


def parts_in_order(counts: Tensor, longest: int) -> int:
    """How many parts to take users in, at least 1, so that ``in_order`` does not need much memory.

    Args:
        counts: the number of items of each user.
        longest: H, as in ``in_order``.
    """
    edges = int((counts * counts.clamp(max=longest)).sum())
    return max(1, min(len(counts), edges // _EDGES))
