r"""HistoryGCN: LightGCN adapted to histories, the default family.

One round of LightGCN's propagation from items to users and back smooths each item's vector over the
items that share its users. Degrees enter with exponents milder than ½. How much an item says about
a user (w) and how readily it is recommended (q) are learned:

    x_i = normalize(c e_i + Σ_{u ∈ N(i)} Σ_{j ∈ N(u)} e_j / (|N(u)|^2a (|N(i)| |N(j)|)^b))
    u = Σ_{i ∈ N(u)} w_i x_i,    w_i = exp(ω_i), started at |N(i)|^-½
    score(u, i) = u · q_i x_i,   q_i = exp(θ_i), started at |N(i)|^γ

There are no user vectors at all. Past and candidate rows are multiples of the same vector, so one
table serves both (``tied``); two tables are slightly better and cost twice the bytes. The
propagation is LightGCN's (He et al., SIGIR 2020), and the free weights are in the spirit of
UltraGCN (Mao et al., CIKM 2021).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import LGConv

from edgerec.learn import GNN, Graph, Lowered, Tables, array, degree_of
from edgerec.plugin import Op

__all__ = ["HistoryGCN"]

#: a, b and c, the weight of an item's own vector, as above. Chosen on a validation split.
_USER_EXPONENT, _ITEM_EXPONENT, _OWN = 0.4, 0.4, 0.1

#: With this exponent, the rows of a history of a few items sum to a length of about one.
_START_EXPONENT = -0.5


class HistoryGCN(GNN):
    """HistoryGCN with one table or two.

    Args:
        n_users: number of users.
        n_items: number of items.
        dim: d, width of the embeddings.
        tied: whether past and candidate rows share their vectors.
    """

    normalization: ClassVar[float] = 0.5

    def __init__(self, n_users: int, n_items: int, dim: int, tied: bool) -> None:
        super().__init__()
        self.n_users, self.n_items, self.dim = n_users, n_items, dim
        self.items = nn.Parameter(torch.randn(n_items, dim) * 0.1)
        self.users = None
        self.past_items = None if tied else nn.Parameter(self.items.detach().clone())
        self.past_weight = nn.Parameter(torch.zeros(n_items))
        self.candidate_weight = nn.Parameter(torch.zeros(n_items))
        self.conv = LGConv(normalize=False)

    def start(self, vectors: Tensor, graph: Graph, popularity: float) -> None:
        """Start from given item vectors, and with weights computed from degrees."""
        with torch.no_grad():
            unit = F.normalize(vectors, dim=1)
            self.items.copy_(unit)
            if self.past_items is not None:
                self.past_items.copy_(unit)
            log = graph.item_degree.log()
            self.past_weight.copy_(_START_EXPONENT * log)
            self.candidate_weight.copy_(popularity * (log - log.mean()))

    def tilt(self, graph: Graph, exponent: float) -> None:
        """Scale candidate rows by degree^exponent; past rows do not change."""
        with torch.no_grad():
            log = graph.item_degree.log()
            self.candidate_weight.add_(exponent * (log - log.mean()))

    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        """User vectors and weighted item vectors of the whole graph."""
        past, candidates = self._weighted(edge_index)
        size = self.n_users + self.n_items
        if isinstance(edge_index, Graph):
            return edge_index.pool(past, self.normalization), candidates
        _, target = edge_index
        scale = torch.bincount(target, minlength=size).clamp(min=1).float() ** -0.5
        state = torch.cat([past.new_zeros(self.n_users, self.dim), past])
        users: Tensor = self.conv(state, edge_index, scale[target])[: self.n_users]
        return users, candidates

    def tables(self, graph: Graph) -> Tables:
        """Weighted past rows and candidate rows."""
        past, candidates = self._weighted(graph)
        return Tables([past], candidates)

    def rows(self, graph: Graph, items: Tensor) -> Tables:
        """Weighted rows of some items; only these are normalized and weighted."""
        vectors = past = _smoothed(self.vectors(), graph, items)
        if self.past_items is not None:
            past = _smoothed(self.past_items, graph, items)
        return Tables(
            [past * self.past_weight[items].exp()[:, None]],
            vectors * self.candidate_weight[items].exp()[:, None],
        )

    def readout(self, candidates: Tensor, degree: Tensor) -> Tensor:
        """Return the rows unchanged, because their lengths were learned."""
        return candidates

    def user(self, pooled: list[Tensor], own: Tensor | None = None) -> Tensor:
        """Sum of the pooled history."""
        return pooled[0]

    def lower(self, graph: Graph) -> Lowered:
        """One table and a number per item, or two tables."""
        weighted = _smoothed(self.vectors(), graph).mul_(self.candidate_weight.exp()[:, None])
        if self.past_items is None:
            ratio = (self.past_weight - self.candidate_weight).exp()[:, None]
            tables = {"items": array(weighted), "past_scale": array(ratio)}
            rows = [
                Op("Gather", ("items", "history"), "rows"),
                Op("Gather", ("past_scale", "history"), "row_scale"),
                Op("Mul", ("row_scale", "weights"), "scale"),
                Op("Mul", ("rows", "scale"), "weighted"),
            ]
        else:
            past = _smoothed(self.past_items, graph).mul_(self.past_weight.exp()[:, None])
            tables = {"past": array(past), "items": array(weighted)}
            rows = [
                Op("Gather", ("past", "history"), "rows"),
                Op("Mul", ("rows", "weights"), "weighted"),
            ]
        return Lowered(tables, {}, (*rows, Op("ReduceSum", ("weighted",), "user")))

    def _weighted(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        candidates = self._smooth(self.vectors(), edge_index)
        past = candidates
        if self.past_items is not None:
            past = self._smooth(self.past_items, edge_index)
        return (
            past * self.past_weight.exp()[:, None],
            candidates * self.candidate_weight.exp()[:, None],
        )

    def _smooth(self, items: Tensor, edge_index: Tensor | Graph) -> Tensor:
        """Propagate items to users and back, add their own vectors, and normalize."""
        if isinstance(edge_index, Graph):
            return _smoothed(items, edge_index)
        by_item = degree_of(edge_index, self.n_users, self.n_items)[:, None] ** -_ITEM_EXPONENT
        degree = torch.bincount(edge_index[1], minlength=self.n_users + self.n_items)
        scale = degree.clamp(min=1).float() ** -_USER_EXPONENT
        state = torch.cat([items.new_zeros(self.n_users, self.dim), items * by_item])
        source, target = edge_index
        users = self.conv(state, edge_index, scale[target])
        users = torch.cat([users[: self.n_users], items.new_zeros(self.n_items, self.dim)])
        back = self.conv(users, edge_index, scale[source])[self.n_users :] * by_item
        return F.normalize(_OWN * items + back, dim=1)


def _smoothed(items: Tensor, graph: Graph, chosen: Tensor | None = None) -> Tensor:
    """Smoothed rows of the chosen items, int64[m], or of all."""
    found: Tensor = _Smoothing.apply(items, graph, chosen)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return found


class _Smoothing(torch.autograd.Function):
    """x = normalize(c e + M e), with M symmetric; it keeps no more than the rows that are read.

    With g the gradient at x, that at e is c g' + M g', where g' = (g - (x · g) x) / |c e + M e|.
    """

    @staticmethod
    def forward(ctx: Any, items: Tensor, graph: Graph, chosen: Tensor | None) -> Tensor:
        found = graph.back_and_forth(items, _USER_EXPONENT, _ITEM_EXPONENT)
        found.add_(items, alpha=_OWN)
        if chosen is not None:
            found = found[chosen]
        length = found.norm(dim=1, keepdim=True).clamp_(min=1e-12)
        found.div_(length)
        ctx.graph, ctx.shape = graph, items.shape
        ctx.save_for_backward(found, length, chosen)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        found, length, chosen = ctx.saved_tensors
        along = (found * gradients[0]).sum(1, keepdim=True)
        inner = torch.addcmul(gradients[0], found, along, value=-1).div_(length)
        every = inner
        if chosen is not None:
            every = inner.new_zeros(ctx.shape).index_add_(0, chosen, inner)
        users = ctx.graph.pool(every, _USER_EXPONENT, _ITEM_EXPONENT)
        del every  # so that two matrices of this size are never held at once
        back: Tensor = ctx.graph.spread(users, _USER_EXPONENT, _ITEM_EXPONENT)
        if chosen is None:
            return back.add_(inner, alpha=_OWN), None, None
        return back.index_add_(0, chosen, inner, alpha=_OWN), None, None
