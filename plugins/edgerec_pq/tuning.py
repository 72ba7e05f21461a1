r"""Fine-tuning through the codec.

A row is the sum of its codewords, rounded as they will be stored,

    row_i = r_i Σ_s [C̃_s1[q_is1], …],     C̃ = C + sg(round(C) - C),

with r_i on the line of its run, whose two ends are trained, and sg the stop-gradient, so that words
get the gradient as if they were not rounded (straight-through; Bengio et al., 2013). The codes of
each row are fixed: letting rows move between words by their gradients was tried, and lost more than
it gained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.learn import TorchModel, fine_tune
from edgerec.plugin import F32, Context, DeviceModel, FineTuningCompressor, Table, normalize
from edgerec_pq.codec import PQ, fitted, rounded
from edgerec_pq.kmeans import columns, lookup
from edgerec_pq.order import in_blocks, in_runs
from edgerec_pq.popular import codec_of, joined
from edgerec_pq.runs import Runs, fit, places

__all__ = ["coded"]


#: Items that users are scored against, per step.
SAMPLE = 4096


@dataclass
class Start:
    """A table before training.

    Args:
        codes: int64[n, S G], or None for a table of one column.
        words: float32[S, k, d], or None for a table of one column.
        lengths: float32[n], one per row; or float32[runs, 2] after sorting.
    """

    codes: NDArray[np.int64] | None
    words: F32 | None
    lengths: F32

    def ordered(self, order: NDArray[np.int64], ends: NDArray[np.int64], weight: F32) -> Start:
        """Return the rows in another order, with lines fitted to the lengths of each run."""
        codes = None if self.codes is None else self.codes[order]
        return Start(codes, self.words, fit(self.lengths[order], ends, weight[order]))


def coded(
    model: DeviceModel,
    codecs: Mapping[str, PQ | Runs],
    weight: F32,
    options: FineTuningCompressor,
    temperature: float,
    context: Context,
    popular: int = 0,
) -> DeviceModel:
    """Learn codewords, sort rows into runs, train, and encode the model.

    Args:
        model: the model, with fp32 tables, already rotated.
        codecs: the codec of each table, all with the same number of runs.
        weight: the weight of each row, float32[n].
        options: how to train.
        temperature: the temperature of the loss that preserves the original ranking.
        context: the interactions to train on.
        popular: the number of rows with the largest weight that are integers instead.
    """
    chosen = np.argsort(-weight, kind="stable")
    first, rest = chosen[:popular], np.sort(chosen[popular:])
    # A candidate's length scales its score, whereas a past item's is one of many in a sum.
    names = sorted(codecs, key=lambda name: name != model.head.table)
    found = {
        name: _start(model.tables[name].decode(rest), codecs[name], weight[rest]) for name in names
    }
    narrow = [start.codes is None for start in found.values()]
    runs = next(iter(codecs.values())).runs
    lengths, blocks = [start.lengths for start in found.values()], model.head.blocks
    order, ends = (
        in_runs(lengths, narrow, runs, weight[rest])
        if blocks is None
        else in_blocks(lengths, blocks.height)
    )
    starts = {name: start.ordered(order, ends, weight[rest]) for name, start in found.items()}
    # Rows in blocks stay in theirs.
    free = model.with_blocks(None)
    model = free.take(np.concatenate([first, rest[order]])).with_blocks(blocks)
    torch_model = CodewordModel(model, codecs, starts, ends)
    if options.epochs:
        fine_tune(
            torch_model,
            context,
            who="pq",
            epochs=options.epochs,
            learning_rate=options.learning_rate,
            distill=options.distill,
            temperature=temperature,
            sample=SAMPLE,
            parameters=torch_model.trained(),
            key=repr((codecs, popular) if popular else codecs),
        )
    return torch_model.written()


class CodewordModel(TorchModel):
    """A torch model whose tables are computed from codewords and runs.

    Args:
        model: the model, already rotated and sorted into runs; rows before those are popular.
        codecs: the codec of each table.
        starts: the contents of each table.
        ends: int64[runs], one past the last row of each run, not counting popular rows.
    """

    run: Tensor
    along: Tensor

    def __init__(
        self,
        model: DeviceModel,
        codecs: Mapping[str, PQ | Runs],
        starts: Mapping[str, Start],
        ends: NDArray[np.int64],
    ) -> None:
        super().__init__(model)
        self.codecs, self.starts, self.ends = codecs, starts, ends
        self.popular = len(model.items) - int(ends[-1])
        self.first = {
            name: Table.encode(table.decode(slice(self.popular)), codec_of(table.shape[1]))
            for name, table in model.tables.items()
            if self.popular
        }
        run, along = places(ends, np.arange(ends[-1]))
        fixed = {"run": torch.as_tensor(run), "along": torch.as_tensor(along)[:, None]}
        for name, table in self.first.items():
            fixed["first rows of " + name] = torch.as_tensor(table.decode().copy())
        # Buffers, so that they are where the parameters are.
        for name, values in fixed.items():
            self.register_buffer(name, values, persistent=False)
        self.words, self.gains = nn.ParameterDict(), nn.ParameterDict()
        for name, start in starts.items():
            # Lengths are trained by a factor: one step size suits all sizes, and signs are kept.
            self.gains["of " + name] = nn.Parameter(torch.zeros(start.lengths.shape))
            if start.words is not None:
                self.words["of " + name] = nn.Parameter(torch.as_tensor(start.words))

    def trained(self) -> list[nn.Parameter]:
        """Codewords, lengths and the encoder's constants, but not the tables that they replace."""
        return [*self.words.values(), *self.gains.values(), *self.constants.values()]

    def table(self, name: str) -> Tensor:
        """All rows, computed from the codewords."""
        return self.rows(name, torch.arange(len(self.model.items)))

    def rows(self, name: str, rows: Tensor) -> Tensor:
        """Rows computed from the codewords; popular ones are constant."""
        if not self.popular:
            return self._words(name, rows)
        first = self.get_buffer("first rows of " + name)[rows.clamp(max=self.popular - 1)]
        rest = self._words(name, (rows - self.popular).clamp(min=0))
        return torch.where((rows < self.popular)[..., None], first, rest)

    def _words(self, name: str, rows: Tensor) -> Tensor:
        ends, along = F.embedding(self.run[rows], self.levels(name)), self.along[rows]
        values = (1 - along) * ends[..., :1] + along * ends[..., 1:]
        codec, codes = self.codecs[name], self.starts[name].codes
        if isinstance(codec, PQ) and codes is not None:
            taken = torch.as_tensor(codes)[rows]
            words = summed(taken.reshape(-1, taken.shape[-1]), self.rounded(name))
            values = values * words.reshape(*rows.shape, -1)
        return values

    def levels(self, name: str) -> Tensor:
        """Numbers at the ends of each run, float[runs, 2]."""
        start = torch.as_tensor(self.starts[name].lengths)
        return start * self.gains["of " + name].exp()

    def rounded(self, name: str) -> Tensor:
        """Codewords as they will be stored, with the gradient of unrounded ones."""
        words, codec = self.words["of " + name], self.codecs[name]
        bits = codec.word_bits if isinstance(codec, PQ) else 8
        return words + (torch.as_tensor(rounded(words.numpy(force=True), bits)[2]) - words.detach())

    def written(self) -> DeviceModel:
        """Return the model with its current codes, codewords and lengths."""
        tables = {}
        for name, codec in self.codecs.items():
            levels, codes = self.levels(name).numpy(force=True), self.starts[name].codes
            if isinstance(codec, PQ) and codes is not None:
                words = self.words["of " + name].numpy(force=True)
                arrays = codec.write(codes, words, self.ends, levels)
            elif isinstance(codec, Runs):
                arrays = codec.write(self.ends, levels)
            table = Table(codec, (int(self.ends[-1]), self.model.tables[name].shape[1]), arrays)
            tables[name] = joined(self.first[name], table) if self.popular else table
        constants = {name: c.numpy(force=True).copy() for name, c in self.constants.items()}
        return self.model.replace(tables=tables, constants=constants)


def summed(codes: Tensor, words: Tensor) -> Tensor:
    """``kmeans.lookup`` with a gradient: float[n, d] of codes int64[n, S G] and words[S, k, d]."""
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
    """Codewords of directions by k-means, and the best-fitting length of each row."""
    if not isinstance(codec, PQ):
        return Start(None, None, matrix[:, 0])
    codes, words = codec.learn(normalize(matrix), weight)
    return Start(codes, words, fitted(matrix, lookup(codes, rounded(words, codec.word_bits)[2]))[0])
