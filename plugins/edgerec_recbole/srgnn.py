r"""SR-GNN: a gated graph network over the items of a session.

Wu et al., "Session-based Recommendation with Graph Neural Networks", AAAI 2019. A session s_1 … s_L
is a graph of its different items with an edge from each item to the next. With A_in and A_out its
edges divided by in- and out-degrees, each step is

    i = A_in (h W_in + b_in) + b_iah,  o = A_out (h W_out + b_out) + b_ioh,
    h' = GRU([i, o], h),

and the user is W_3 [Σ_t α_t h_t, h_L], α_t = q · σ(W_1 h_L + W_2 h_t).

Here, a node is every place of the history: places of equal items have equal states throughout. An
edge that occurs m times is divided by m, so that it counts once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgerec_recbole.checkpoint import Checkpoint

__all__ = ["SRGNN"]


class SRGNN(nn.Module):
    """The user side, from the rows of a history to the user vector."""

    gnn_linear_edge_in_weight: Tensor
    gnn_linear_edge_in_bias: Tensor
    gnn_linear_edge_out_weight: Tensor
    gnn_linear_edge_out_bias: Tensor
    gnn_b_iah: Tensor
    gnn_b_ioh: Tensor
    gnn_w_ih: Tensor
    gnn_w_hh: Tensor
    gnn_b_ih: Tensor
    gnn_b_hh: Tensor
    linear_one_weight: Tensor
    linear_one_bias: Tensor
    linear_two_weight: Tensor
    linear_two_bias: Tensor
    linear_three_weight: Tensor
    linear_transform_weight: Tensor
    linear_transform_bias: Tensor

    def __init__(self, saved: Checkpoint) -> None:
        super().__init__()
        known = {name.replace(".", "_"): name for name in saved.state}
        for own in SRGNN.__annotations__:
            value = torch.from_numpy(saved.parameter(known.get(own, own)))
            self.register_buffer(own, value)
        self.steps = int(saved.config.get("step") or 1)

    def forward(self, items: Tensor, present: Tensor, row_number: Tensor) -> Tensor:
        """The user vector, [1, d].

        Args:
            items: the rows of past items, [H, d].
            present: 1 for a past item and 0 for padding, [H, 1].
            row_number: which item it is, [H, 1].
        """
        # s: a place with a next one; t: any place. equal[t, s]: whether they have the same item.
        nothing = torch.zeros(1, 1)
        following = torch.cat([present[1:], nothing])
        equal = (row_number == row_number.T) * present
        to_next = torch.cat([row_number[1:], nothing])
        same_next = (to_next == to_next.T) * following
        times = (equal * same_next).sum(1, keepdim=True)  # how often the edge from s occurs
        share = following / torch.where(times == 0, 1.0, times)
        # The place after s is t's item, or s is t's item.
        into = (row_number == to_next.T) * share.T
        out = equal * share.T
        h = items
        for _ in range(self.steps):
            entering = h @ self.gnn_linear_edge_in_weight.T + self.gnn_linear_edge_in_bias
            leaving = h @ self.gnn_linear_edge_out_weight.T + self.gnn_linear_edge_out_bias
            after = torch.cat([leaving[1:], torch.zeros(1, leaving.shape[1])])
            i = into @ entering / _safe(into.sum(1, keepdim=True)) + self.gnn_b_iah
            o = out @ after / _safe(out.sum(1, keepdim=True)) + self.gnn_b_ioh
            h = self._gated(torch.cat([i, o], 1), h)
        last = ((present - following) * h).sum(0, keepdim=True)
        shown = last @ self.linear_one_weight.T + self.linear_one_bias
        shown = shown + h @ self.linear_two_weight.T + self.linear_two_bias
        alpha = torch.sigmoid(shown) @ self.linear_three_weight.T
        pooled = (alpha * h * present).sum(0, keepdim=True)
        both = torch.cat([pooled, last], 1)
        user: Tensor = both @ self.linear_transform_weight.T + self.linear_transform_bias
        return user

    def _gated(self, x: Tensor, h: Tensor) -> Tensor:
        """A gated recurrent unit (Cho et al., EMNLP 2014)."""
        width = h.shape[1]
        given = x @ self.gnn_w_ih.T + self.gnn_b_ih
        own = h @ self.gnn_w_hh.T + self.gnn_b_hh
        reset, update = (
            torch.sigmoid(given[:, a : a + width] + own[:, a : a + width]) for a in (0, width)
        )
        new = torch.tanh(given[:, 2 * width :] + reset * own[:, 2 * width :])
        return (1 - update) * h + update * new


def _safe(degree: Tensor) -> Tensor:
    """Degrees, with 1 for 0."""
    return torch.where(degree == 0, 1.0, degree)
