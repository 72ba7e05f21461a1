r"""Training through the codec.

A row is what its codewords give, rounded as they will be written,

    row_i = exp(θ_run(i)) Σ_s [C̃_s1[q_is1], …],     C̃ = C + sg(round(C) - C),

with sg the stop-gradient, so that words feel the gradient as if they were not rounded
(straight-through; Bengio et al., 2013). What each row's codes are is settled before: letting
rows move among words by their gradients was tried and lost more than it won.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.learn import Twin, fine_tune
from edgerec.plugin import F32, Context, DeviceModel, Table, normalize
from edgerec_pq.codec import PQ, Runs, rounded
from edgerec_pq.kmeans import columns, learn, lookup
from edgerec_pq.order import in_runs

if TYPE_CHECKING:
    from edgerec_pq import ProductQuantize

__all__ = ["coded"]


#: Items a step that users are scored against.
SAMPLE = 4096


@dataclass
class Start:
    """A table before training.

    Args:
        codes: int64[n, S G], or none for a table of one column.
        words: float32[S, k, d], or none.
        lengths: float32, of each row, or of each run once rows are in order.
    """

    codes: NDArray[np.int64] | None
    words: F32 | None
    lengths: F32

    def ordered(
        self, order: NDArray[np.int64], owner: NDArray[np.int64], runs: int, weight: F32
    ) -> Start:
        """Rows in another order, with the mean length of each run."""
        codes = None if self.codes is None else self.codes[order]
        total = np.maximum(np.bincount(owner, weight, runs), 1e-12)
        mean = np.bincount(owner, weight * self.lengths[order], runs) / total
        return Start(codes, self.words, mean.astype(np.float32))


def coded(
    model: DeviceModel,
    codecs: Mapping[str, PQ | Runs],
    weight: F32,
    options: ProductQuantize,
    context: Context,
) -> DeviceModel:
    """Learn codewords, put rows in runs, train, and write the model.

    Args:
        model: the model, with fp32 tables, rotated already.
        codecs: the codec of each table; all have as many runs.
        weight: how much each row matters, float32[n].
        options: how to train.
        context: what to train on.
    """
    found = {name: _start(model.tables[name].decode(), codecs[name], weight) for name in codecs}
    narrow = [start.codes is None for start in found.values()]
    runs = next(iter(codecs.values())).runs
    order, ends = in_runs([start.lengths for start in found.values()], narrow, runs, weight)
    model, weight = model.take(order), weight[order]
    owner = np.searchsorted(ends, np.arange(len(order)), side="right")
    starts = {name: start.ordered(order, owner, runs, weight) for name, start in found.items()}
    twin = CodedTwin(model, codecs, starts, owner)
    if options.epochs:
        fine_tune(
            twin,
            context,
            who="pq",
            epochs=options.epochs,
            learning_rate=options.learning_rate,
            distill=options.distill,
            temperature=options.temperature,
            sample=SAMPLE,
            parameters=twin.trained(),
            after_step=lambda done: twin.forget(),
        )
    return twin.written(ends)


class CodedTwin(Twin):
    """A model whose tables are seen through their codewords and runs.

    Args:
        model: the model, rotated and in runs already.
        codecs: the codec of each table.
        starts: what they hold.
        owner: int64[n], the run of each row.
    """

    def __init__(
        self,
        model: DeviceModel,
        codecs: Mapping[str, PQ | Runs],
        starts: Mapping[str, Start],
        owner: NDArray[np.int64],
    ) -> None:
        super().__init__(model)
        self.codecs, self.starts, self.owner = codecs, starts, torch.from_numpy(owner)
        self.words, self.gains = nn.ParameterDict(), nn.ParameterDict()
        self._seen: dict[str, Tensor] = {}
        for name, start in starts.items():
            # By a factor: one step size suits numbers of any size, and their sign stays.
            self.gains["of " + name] = nn.Parameter(torch.zeros(len(start.lengths), 1))
            if start.words is not None:
                self.words["of " + name] = nn.Parameter(torch.from_numpy(start.words))

    def trained(self) -> list[nn.Parameter]:
        """Codewords, lengths and the encoder's constants, not the tables that they replace."""
        return [*self.words.values(), *self.gains.values(), *self.constants.values()]

    def table(self, name: str) -> Tensor:
        """Rows as the codewords give them; made once a step."""
        if name not in self._seen:
            rows = F.embedding(self.owner, self.levels(name))
            codec, codes = self.codecs[name], self.starts[name].codes
            if isinstance(codec, PQ) and codes is not None:
                rows = rows * summed(torch.from_numpy(codes), self.rounded(name))
            self._seen[name] = rows
        return self._seen[name]

    def forget(self) -> None:
        """Make rows anew: the parameters have changed."""
        self._seen.clear()

    def levels(self, name: str) -> Tensor:
        """Number of each run, float[runs, 1]."""
        start = torch.from_numpy(self.starts[name].lengths)[:, None]
        return start * self.gains["of " + name].exp()

    def rounded(self, name: str) -> Tensor:
        """Codewords as they are written, with the gradient of those that are not."""
        words, codec = self.words["of " + name], self.codecs[name]
        bits = codec.word_bits if isinstance(codec, PQ) else 8
        return words + (torch.from_numpy(rounded(words.detach().numpy(), bits)[2]) - words.detach())

    def written(self, ends: NDArray[np.int64]) -> DeviceModel:
        """The model with its codes, codewords and lengths as they are now."""
        tables = {}
        for name, codec in self.codecs.items():
            levels, codes = self.levels(name).detach().numpy()[:, 0], self.starts[name].codes
            if isinstance(codec, PQ) and codes is not None:
                arrays = codec.write(codes, self.words["of " + name].detach().numpy(), ends, levels)
            elif isinstance(codec, Runs):
                arrays = codec.write(ends, levels)
            tables[name] = Table(codec, self.model.tables[name].shape, arrays)
        constants = {name: c.detach().numpy().copy() for name, c in self.constants.items()}
        return self.model.replace(tables=tables, constants=constants)


def summed(codes: Tensor, words: Tensor) -> Tensor:
    """``kmeans.lookup`` with a gradient: float[n, d] of codes int64[n, S G], float[S, k, d]."""
    stages, size, d = words.shape
    subspaces = codes.shape[1] // stages
    widths = np.bincount(columns(d, subspaces)).tolist()
    first = torch.arange(stages) * size
    parts = []
    for g, part in enumerate(torch.split(words, widths, 2)):
        flat = part.reshape(stages * size, -1)
        parts.append(F.embedding_bag(codes[:, g::subspaces] + first, flat, mode="sum"))
    return torch.cat(parts, 1)


def _start(matrix: F32, codec: PQ | Runs, weight: F32) -> Start:
    """Codewords of directions by k-means, and the length of each row that fits best."""
    if not isinstance(codec, PQ):
        return Start(None, None, matrix[:, 0])
    codes, words = learn(normalize(matrix), codec.shape, weight)
    found = lookup(codes, rounded(words, codec.word_bits)[2])
    squares = np.maximum(np.square(found).sum(1), 1e-6)
    return Start(codes, words, np.maximum((matrix * found).sum(1), 0) / squares)
