"""GNN families with one fault each, which the contract suite has to find."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from edgerec.learn import GNN, Graph, Lowered, Tables
from edgerec.plugin import Family, Op
from edgerec_families.lightgcn import LightGCN

__all__ = ["FAULTS", "Faulty"]


class _IgnoresARound(LightGCN):
    def lower(self, graph: Graph) -> Lowered:
        self.layers -= 1
        lowered = super().lower(graph)
        self.layers += 1
        return lowered


class _IgnoresARoundOfCandidates(LightGCN):
    def lower(self, graph: Graph) -> Lowered:
        whole = super().lower(graph)
        self.layers -= 2  # without user vectors, an odd round leaves items at zero
        items = super().lower(graph).tables["items"]
        self.layers += 2
        return dataclasses.replace(whole, tables={**whole.tables, "items": items})


class _ForwardDiffers(LightGCN):
    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        users, items = super().forward(edge_index)
        return users * 1.01, items


class _ForwardOnEdgesDiffers(LightGCN):
    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        users, items = super().forward(edge_index)
        return users, items if isinstance(edge_index, Graph) else items * 1.01


class _NoPopularity(LightGCN):
    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        kept, self.popularity = self.popularity, None
        found = super().forward(edge_index)
        self.popularity = kept
        return found


class _OtherWeights(LightGCN):
    normalization: ClassVar[float] = 1.0


class _Unseeded(LightGCN):
    def start(self, vectors: Tensor, graph: Graph, popularity: float) -> None:
        noise = np.random.default_rng().normal(size=tuple(vectors.shape))
        super().start(vectors + torch.from_numpy(noise).float(), graph, popularity)


class _Counts(LightGCN):
    """Scales rows by what no file keeps: the number of training steps."""

    steps = 0

    def tables(self, graph: Graph) -> Tables:
        self.steps += self.training
        return super().tables(graph)

    def readout(self, candidates: Tensor, degree: Tensor) -> Tensor:
        return super().readout(candidates, degree) * (1 + 0.1 * self.steps)


class _Remembers(LightGCN):
    """Scales rows by what no file keeps: a number from the start of training."""

    size = 1.0

    def start(self, vectors: Tensor, graph: Graph, popularity: float) -> None:
        super().start(vectors, graph, popularity)
        self.size = 1.5

    def readout(self, candidates: Tensor, degree: Tensor) -> Tensor:
        return super().readout(candidates, degree) * self.size


class _ReadsItems(LightGCN):
    def vectors(self) -> Tensor:
        return self.items


class _NotLinear(LightGCN):
    def user(self, pooled: list[Tensor], own: Tensor | None = None) -> Tensor:
        return super().user(pooled, own).relu()

    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        users, items = super().forward(edge_index)
        return users.relu(), items

    def lower(self, graph: Graph) -> Lowered:
        lowered = super().lower(graph)
        *ops, last = lowered.encoder
        ops += [dataclasses.replace(last, output="sum"), Op("Relu", ("sum",), "user")]
        return dataclasses.replace(lowered, encoder=tuple(ops))


class _NoTilt(LightGCN):
    def tilt(self, graph: Graph, exponent: float) -> None:
        pass


class _TiltsUsers(LightGCN):
    def tilt(self, graph: Graph, exponent: float) -> None:
        super().tilt(graph, exponent)
        with torch.no_grad():
            self.items.mul_(1 + exponent)


class _LowersADictionary(LightGCN):
    def lower(self, graph: Graph) -> Lowered:
        return vars(super().lower(graph))  # type: ignore[return-value]  # the mistake


class _Raises(LightGCN):
    def tables(self, graph: Graph) -> Tables:
        raise KeyError("lost")


class _RaisesAtTheStart(LightGCN):
    def start(self, vectors: Tensor, graph: Graph, popularity: float) -> None:
        raise KeyError("lost")


class _RaisesForUsers(LightGCN):
    def user(self, pooled: list[Tensor], own: Tensor | None = None) -> Tensor:
        raise KeyError("lost")


class _RaisesWhenMade(LightGCN):
    def __init__(self, *arguments: Any) -> None:
        raise KeyError("lost")


class _ForwardLacksAParameter(LightGCN):
    """A number, 1 at first, is learned by ``tables`` and unknown to ``forward``."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.size = nn.Parameter(torch.ones(self.dim))

    def tables(self, graph: Graph) -> Tables:
        tables = super().tables(graph)
        return Tables(tables.past, tables.candidates * self.size)


class _ForwardLacksTitles(LightGCN):
    def forward(self, edge_index: Tensor | Graph) -> tuple[Tensor, Tensor]:
        features = self._modules.pop("item_features", None)
        found = super().forward(edge_index)
        if features is not None:
            self.add_module("item_features", features)
        return found


class _Narrow(LightGCN):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.items = nn.Parameter(self.items[:, :3].detach())


#: Networks by their fault, and what the suite says.
FAULTS: dict[str, tuple[type[nn.Module], str]] = {
    "a round": (_IgnoresARound, r"lower\(\) differs from user\(\) by"),
    "a round of candidates": (
        _IgnoresARoundOfCandidates,
        r"before training, γ None, the scores of the lowered model differ by .* from forward",
    ),
    "forward": (
        _ForwardDiffers,
        r"before training, γ None, the user vectors of the lowered model differ by 0.0099 from",
    ),
    "forward on edges": (
        _ForwardOnEdgesDiffers,
        r"the item vectors of forward\(edge_index\) differ by 0.01 from forward\(graph\)",
    ),
    "popularity": (_NoPopularity, "before training, γ 0.1, the scores of the lowered model differ"),
    "normalization": (_OtherWeights, "the user vectors of the lowered model differ by"),
    "seed": (_Unseeded, "two trainings from one seed differ"),
    "resuming": (_Counts, "a training that resumes differs from a whole one"),
    "saving": (_Remembers, "saved and loaded, the network differs"),
    "titles": (_ReadsItems, r"no word is trained; read vectors\(\) in place of items"),
    "linear": (_NotLinear, r"user\(\) of a sum differ by .*; set linear = False"),
    "tilt": (_NoTilt, "after tilt, the scores differ by"),
    "tilt of users": (_TiltsUsers, "after tilt, the user vectors differ by"),
    "lower": (_LowersADictionary, "lower: expected an edgerec.learn.Lowered, got dict"),
    "an exception": (_Raises, "^family faulty: KeyError: 'lost'"),
    "an exception at the start": (
        _RaisesAtTheStart,
        "^training: family faulty: KeyError: 'lost'",
    ),
    "an exception for users": (_RaisesForUsers, "^family faulty: KeyError: 'lost'"),
    "an exception in make": (_RaisesWhenMade, "^family faulty: KeyError: 'lost'"),
    "a parameter": (
        _ForwardLacksAParameter,
        "after training, the scores of the lowered model differ by",
    ),
    "titles in forward": (
        _ForwardLacksTitles,
        "with features=titles, the user vectors of the lowered model differ by",
    ),
    "no GNN": (nn.Linear, "make: expected an edgerec.learn.GNN, got Linear"),
    "width": (_Narrow, r"make: expected items of shape \[80, 8\], got \[80, 3\]"),
}


@dataclass(frozen=True)
class Faulty(Family):
    """LightGCN with three rounds, and a fault."""

    name: ClassVar[str] = "faulty"
    fault: str = ""
    marks: tuple[int, ...] = (1, 2)  # what no network reads
    limit: int | None = 5

    def make(self, n_users: int, n_items: int, dim: int) -> GNN | nn.Module:
        """Make an untrained network."""
        if self.fault == "no GNN":
            return nn.Linear(dim, dim)
        network = FAULTS[self.fault][0] if self.fault else LightGCN
        return network(n_users, n_items, dim, 3, False)
