"""A signed graph network: what traders say about each other, as rows of tables.

Trust and warnings travel along edges of their own, for two rounds, as in balance theory (signed
graph networks: Derr, Ma & Tang, ICDM 2018). Message passing has no parameters, and dense layers
follow it (SIGN: Frasca et al., 2020), so a moment's graph is passed over once. There are no vectors
per trader, only what ``facts`` knows, so tomorrow's graph needs no new training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import SimpleConv

from examples.risk.ratings import Ratings, facts

__all__ = ["Network", "Rater", "State"]


class State:
    """The graph at a moment: facts float[n, c], and what two rounds of messages know."""

    def __init__(self, past: Ratings) -> None:
        self.facts = torch.from_numpy(facts(past))
        ends = torch.from_numpy(past.raters), torch.from_numpy(past.traders)
        both = torch.stack([torch.cat(ends), torch.cat(ends[::-1])])
        warned = torch.from_numpy(past.warnings).repeat(2)
        conv, signs = SimpleConv(aggr="mean"), (both[:, ~warned], both[:, warned])
        near = [conv(self.facts, edges) for edges in signs]
        far = [conv(one, edges) for one in near for edges in signs]
        self.known = torch.cat([self.facts, *near, *far], 1)
        self.n = len(past.names)
        # What a rater has said: places among 2n past items, trusted traders and warned ones.
        self.said: dict[int, Tensor] = {}
        items = torch.from_numpy(past.traders + self.n * past.warnings)
        for rater, places in past.by_rater():
            self.said[rater] = items[torch.from_numpy(places)][-Network.history :]


class Rater(nn.Module):
    """The part that a device runs: a rater's own ratings and facts in, a vector out."""

    def __init__(self, columns: int, width: int) -> None:
        super().__init__()
        inner, out = width + columns, width + columns + 1
        self.dense = nn.Sequential(nn.Linear(inner, 32), nn.ReLU(), nn.Linear(32, out))
        # It starts as a logistic regression on the trader's facts alone.
        nn.init.zeros_(self.dense[-1].weight)
        nn.init.zeros_(self.dense[-1].bias)

    def forward(self, past: Tensor, weights: Tensor, context: Tensor) -> Tensor:
        """The mean of the rows of what was said, float[H, width], beside facts, float[1, c]."""
        said = (past * weights).sum(0, keepdim=True)
        return self.dense(torch.cat([said, context], 1))


class Network(nn.Module):
    """Scores u · q of a rater's vector and a trader's row, the log-odds of a warning."""

    history, width = 50, 16

    def __init__(self, state: State, dropout: float) -> None:
        super().__init__()
        columns, known, width = state.facts.shape[1], state.known.shape[1], self.width
        self.dropout = nn.Dropout(dropout)
        self.trader = nn.Sequential(nn.Linear(known, 64), nn.ReLU(), nn.Linear(64, width))
        self.trusted, self.warned = nn.Linear(known, width), nn.Linear(known, width)
        self.rater = Rater(columns, width)

    def tables(self, state: State) -> tuple[Tensor, Tensor]:
        """Rows of traders float[n, width + c + 1], the last column 1, and of what was said."""
        x = self.dropout(state.known)
        ones = torch.ones(state.n, 1)
        rows = torch.cat([self.trader(x), state.facts, ones], 1)
        return rows, torch.cat([self.trusted(x), self.warned(x)])

    def forward(self, state: State, asked: Ratings) -> Tensor:
        """The log-odds that each rating is a warning, given what was known before."""
        rows, past = self.tables(state)
        raters, place = torch.from_numpy(asked.raters).unique(return_inverse=True)
        said = [state.said.get(int(one), torch.zeros(0, dtype=torch.int64)) for one in raters]
        counts = torch.tensor([len(one) for one in said])
        owner = torch.repeat_interleave(counts)
        pooled = past.new_zeros(len(raters), past.shape[1])
        pooled = pooled.index_add(0, owner, past[torch.cat(said)])
        pooled = pooled / counts.clamp(min=1)[:, None]
        users = self.rater.dense(torch.cat([pooled, state.facts[raters]], 1))
        return (users[place] * rows[torch.from_numpy(asked.traders)]).sum(1)
