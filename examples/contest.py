"""Train and compress a model, and compare the file on the device with baselines.

Every method that has settings gets the same number of them. They are chosen on interactions held
out from training; the test is measured once, after training with everything else.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import edgerec
from edgerec import Dataset
from edgerec.building.measured import quality_of_file
from edgerec.data.quality import Quality, evaluation_users, quality_of
from edgerec.data.ranking import rank, top_k_of_each
from examples import rankers
from examples.bundles import ship
from examples.rankers import Ranker
from examples.table import Row, kept_share

__all__ = ["Baseline", "Contest", "held_out", "lightgcn", "usual"]

#: From users to their lists, int32[B, k].
Lists = Callable[[NDArray[np.int64]], NDArray[np.int32]]

#: Rows of baselines, which do not depend on the seed, by all that they depend on.
_MEASURED: dict[tuple[Any, ...], Row] = {}

#: The number of users that are ranked at a time.
_BLOCK = 512


@dataclass(frozen=True)
class Baseline:
    """A method by name: what makes it of a dataset and a setting, and the settings to try."""

    name: str
    make: Callable[[Dataset, Any], Ranker]
    settings: Sequence[Any] = (None,)


@dataclass(frozen=True)
class Contest:
    """What all methods are measured on.

    Args:
        data: to train on, and the test.
        held: the data to choose settings on, with interactions of training in place of the test.
        k: the length of lists.
        seed: the seed of training.
        out: where bundles are written.
        trials: the most settings that are tried per method.
    """

    data: Dataset
    held: Dataset
    k: int
    seed: int
    out: Path
    trials: int = 4

    def enter(
        self, name: str, label: str, settings: Sequence[Mapping[str, Any]]
    ) -> tuple[list[Row], Mapping[str, Any]]:
        """Rows of our own model, in the compressed bundle and uncompressed, and its setting."""
        start = time.process_time()
        best = self._choose(self._network, settings)
        trained = edgerec.train(self.data, seed=self.seed, **best)
        spent = time.process_time() - start
        print(f"{label}: {best}", flush=True)
        whole, bundle = ship(trained.to_device_model(), name, self.out, "quantize:codec=int8")
        found = [
            self._row(
                f"{label}, {kind}",
                quality_of_file(one.path, self.data, k=self.k, user_vectors=trained.user_vectors),
                spent,
                one.nbytes,
            )
            for kind, one in (("int8 bundle", bundle), ("uncompressed", whole))
        ]
        found[0]["kept"] = kept_share(found[0], found[1], f"N@{self.k}")
        return found, best

    def compare(self, label: str, settings: Sequence[Mapping[str, Any]]) -> Row:
        """The row of a GNN that is not shipped."""
        return self._best(label, self._network, settings)

    def against(self, baseline: Baseline) -> Row:
        """The row of a baseline."""

        def make(data: Dataset, setting: Any) -> Lists:
            ranker = baseline.make(data, setting)
            return lambda users: _listed(ranker, data, users, self.k)

        part, held = self.data, self.held
        digests = (one.digest for one in (part.train, part.test, held.train, held.test) if one)
        key = (baseline, self.k, self.trials, *digests)
        if key not in _MEASURED:
            _MEASURED[key] = self._best(baseline.name, make, baseline.settings)
        return _MEASURED[key]

    def _network(self, data: Dataset, options: Mapping[str, Any]) -> Lists:
        """The lists of a network that is trained with these options."""
        trained = edgerec.train(data, seed=self.seed, **options)
        model, own = trained.to_device_model(), trained.user_vectors
        return lambda users: rank(model, data, users, self.k, own)

    def _best(
        self, name: str, make: Callable[[Dataset, Any], Lists], settings: Sequence[Any]
    ) -> Row:
        start = time.process_time()
        best = self._choose(make, settings)
        if best is not None:
            print(f"{name}: {best}", flush=True)
        lists, users = make(self.data, best), evaluation_users(self.data)
        spent = time.process_time() - start
        return self._row(name, quality_of(lists(users), self.data, users, self.k), spent)

    def _choose(self, make: Callable[[Dataset, Any], Lists], settings: Sequence[Any]) -> Any:
        """The setting whose lists are best on interactions held out from training."""
        settings = settings[: self.trials]
        if len(settings) == 1:
            return settings[0]
        users = evaluation_users(self.held)

        def quality(setting: Any) -> float:
            return quality_of(make(self.held, setting)(users), self.held, users, self.k).ndcg

        return max(settings, key=quality)

    def _row(self, name: str, found: Quality, spent: float, size: int | None = None) -> Row:
        return {
            "method": name,
            f"R@{self.k}": found.recall,
            f"N@{self.k}": found.ndcg,
            "bytes": size,
            "kept": None,
            "CPU s": spent,
        }


def lightgcn(*epochs: int, **options: Any) -> list[dict[str, Any]]:
    """Settings of edgerec's LightGCN: one layer or two, and some numbers of epochs."""
    return [
        {"model": f"lightgcn:layers={layers}", "epochs": one, **options}
        for layers in (1, 2)
        for one in epochs
    ]


def usual(als: Sequence[tuple[int, float, float]], *, k: Sequence[int]) -> tuple[Baseline, ...]:
    """Popularity, item-kNN with k neighbors, and ALS, with settings as ``rankers`` has them."""
    return (
        Baseline("popularity", rankers.popularity),
        Baseline("item-kNN (implicit)", rankers.neighbors, k),
        Baseline("ALS (implicit)", rankers.als, als),
    )


def held_out(data: Dataset) -> Dataset:
    """The data without its test."""
    return dataclasses.replace(data, test=None)


def _listed(ranker: Ranker, data: Dataset, users: NDArray[np.int64], k: int) -> NDArray[np.int32]:
    """The k unseen items with the highest scores."""
    found = []
    for start in range(0, len(users), _BLOCK):
        block = users[start : start + _BLOCK]
        scores = np.ascontiguousarray(ranker(block), np.float32)
        for row, user in enumerate(block.tolist()):
            scores[row, data.histories.of(user)] = -np.inf
        found.append(top_k_of_each(scores, k)[0])
    return np.concatenate(found)
