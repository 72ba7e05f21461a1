"""TorchArtefact: a DeviceModel as a torch module to trace or export, shared by torch's runtimes.

They differ in how rows are stored, read and scanned, which each target defines in its own file.
"""

from __future__ import annotations

import abc
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgerec.exporting.lowering import candidate_centroids, candidate_factor
from edgerec.exporting.torch_history import Past, list_unseen, read_history
from edgerec.exporting.torch_structures import Structured, structured
from edgerec.model.blocks import OPTIMISM, Blocks
from edgerec.model.device_model import DeviceModel
from edgerec.model.table import Table
from edgerec.training.torch_rules import built_in_values, torch_rule

if TYPE_CHECKING:
    from edgerec.contracts.signature import Signature

__all__ = ["TorchArtefact"]

#: Codecs whose arrays are read as they are; others declare a structure.
CODECS = ("fp32", "fp16", "int8", "int4")

#: The score of what is no row, less than any real score.
_LOWEST = -3.4e38


class TorchArtefact(nn.Module, abc.ABC):
    """A model as a module with the functions of signature 2: ``forward`` and ``score``.

    Buffers are numbered, ``table_{i}_{array}`` for tables and ``small_{i}`` otherwise, because
    names in the model need not be valid names in torch.

    Args:
        model: the model to lower.
        signature: the shape of a call.
        inexact: codecs whose scan only proposes rows, which are then scored again in float.
    """

    def __init__(self, model: DeviceModel, signature: Signature, inexact: Collection[str]) -> None:
        super().__init__()
        self.model, self.signature, self.inexact = model, signature, inexact
        self._number = {name: i for i, name in enumerate([*model.tables, *model.constants])}
        self._structured: dict[str, Structured] = {}
        for name, table in model.tables.items():
            if table.codec.name not in CODECS:
                structure = table.codec.structure(table.arrays)
                assert structure is not None  # noqa: S101  # a target refuses any other codec
                module = structured(structure, table.shape[0])
                self._structured[name] = module
                self.add_module(f"table_{self._number[name]}", module)
                continue
            for key, array in table.arrays.items():
                self.register_buffer(f"table_{self._number[name]}_{key}", self.stored(array))
        for name, constant in model.constants.items():
            self.register_buffer(f"small_{self._number[name]}", self.tensor(constant))
        factor = candidate_factor(model)
        seen = model.seen_rows if model.leaves_out_seen else None
        self.small_factor: Tensor | None = None
        self.small_seen: Tensor | None = None
        for name, numbers in (("small_factor", factor), ("small_seen", seen)):
            if numbers is not None:  # torch.export miscounts buffers that are None
                delattr(self, name)
                self.register_buffer(name, self.tensor(numbers))
        if (centroids := candidate_centroids(model)) is not None:
            self.register_buffer("small_centroids", self.tensor(centroids.codes))
            self.register_buffer("small_centroid_scale", self.tensor(centroids.scale))

    @staticmethod
    def tensor(array: NDArray[Any]) -> Tensor:
        """Return a tensor that shares the array's memory if the array is contiguous."""
        with warnings.catch_warnings():
            # The array is read-only, and nothing writes to it.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(np.ascontiguousarray(array))

    @abc.abstractmethod
    def stored(self, array: NDArray[Any]) -> Tensor:
        """An array of a table as the runtime reads it, with the same number of bytes."""

    @abc.abstractmethod
    def halves(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """The codes in the low and the high halves of packed bytes."""

    @abc.abstractmethod
    def scan(self, name: str, table: Table, user: Tensor) -> Tensor:
        """Score all rows for float[1, d]: float[n], up to a positive factor that all share."""

    @abc.abstractmethod
    def best(self, logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Scores float[k] and rows int64[k] of the k highest of float[n]."""

    def array(self, table: str, key: str) -> Tensor:
        """An array of a table, as it is stored."""
        return self.get_buffer(f"table_{self._number[table]}_{key}")

    def structure_of(self, table: str) -> Structured | None:
        """The module of a table whose codec declares a structure."""
        return self._structured.get(table)

    def rows(self, name: str, table: Table, rows: Tensor) -> Tensor:
        """Read rows of a table as float[rows, d]."""
        module = self.structure_of(name)
        if module is not None:
            return module.rows(rows)
        first = "codes" if "codes" in table.arrays else "values"
        values = self.array(name, first).index_select(0, rows)
        if table.codec.name == "int4":
            values = torch.stack(self.halves(values), 2).flatten(1)
        values = values.float()
        for key in ("scale", "offset"):
            if key in table.arrays:
                part = self.array(name, key).index_select(0, rows).float()[:, None]
                values = values * part if key == "scale" else values + part
        return values

    @staticmethod
    def shrunk(user: Tensor) -> Tensor:
        """U / Σ|u| in half precision, whose products with half-precision rows cannot overflow."""
        return (user / user.abs().sum().clamp(min=1e-30)).half()

    def forward(self, history: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Recommend: encode, scan, re-score what an inexact scan proposes, leave out seen rows."""
        past, user = self._user(history, inputs)
        unit = self._scored(user)
        if self.model.head.blocks is not None:
            scores, ids = self._nearest(unit, self.model.head.blocks)
        else:
            scores, ids = self._all(unit)
        if not self.model.leaves_out_seen:
            return ids.int(), self._finish(scores), user.reshape(-1)
        seen = past.given
        if self.small_seen is not None:
            rows = self.small_seen.index_select(0, seen.clamp(min=0)).long()
            seen = torch.where(seen < 0, torch.full_like(seen, -1), rows)
        ids, scores, left_over = list_unseen(ids, scores, seen)
        ids = torch.where(left_over, torch.full_like(ids, -1), ids)
        scores = torch.where(left_over, torch.zeros_like(scores), self._finish(scores))
        return ids.int(), scores, user.reshape(-1)

    def _all(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Scores float[R] and rows int64[R] of the best of all rows."""
        name = self.model.head.table
        table = self.model.tables[name]
        module = self.structure_of(name)
        logits = self.scan(name, table, unit) if module is None else module.scan(unit)
        if self.small_factor is not None:
            logits = logits * self.small_factor
        if table.codec.name in self.inexact:
            _, rows = self.best(logits, self.signature.proposed)
            exact = self._exact(rows, unit)
            scores, places = torch.topk(exact, self.signature.returned)
            return scores, rows.index_select(0, places)
        return self.best(logits, self.signature.returned)

    def _nearest(self, unit: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:
        """Scores float[R] and rows int64[R] of the best rows in the blocks that suit the user."""
        length = (unit * unit).sum(1, keepdim=True).sqrt() * OPTIMISM
        both = torch.cat([unit, length], 1) * self.get_buffer("small_centroid_scale")
        expected = self.get_buffer("small_centroids").float() @ both.reshape(-1, 1)
        near = torch.topk(expected.reshape(-1), blocks.read)[1]
        n = self.signature.items
        rows = (near[:, None] * blocks.height + torch.arange(blocks.height)).reshape(-1)
        scores = self._exact(rows.clamp(max=n - 1), unit)
        if n % blocks.height:
            # The last block is shorter.
            scores = torch.where(rows < n, scores, torch.full_like(scores, _LOWEST))
        scores, places = torch.topk(scores, self.signature.returned)
        return scores, rows.index_select(0, places)

    def score(self, history: Tensor, *inputs_and_rows: Tensor) -> Tensor:
        """Score the rows int32[C] that follow the inputs: float[C], 0 for a row of -1."""
        *inputs, given = inputs_and_rows
        _, user = self._user(history, inputs)
        rows = given.long().clamp(min=0)
        scores = self._finish(self._exact(rows, self._scored(user)))
        return torch.where(given < 0, torch.zeros_like(scores), scores)

    def examples(self) -> tuple[Tensor, ...]:
        """Inputs of the right types and shapes, by which to trace or export the module."""
        history = torch.zeros(self.model.history_length, dtype=torch.int32)
        return history, *(torch.ones(length) for length in self.model.inputs.values())

    def _user(self, history: Tensor, inputs: Sequence[Tensor]) -> tuple[Past, Tensor]:
        """The history as it is read, and the user vector float[1, d]."""
        given = dict(zip(self.model.inputs, inputs, strict=True))
        past = read_history(self.model, history, given.pop("weights", None))
        return past, self._encode(past, given)

    def _exact(self, rows: Tensor, user: Tensor) -> Tensor:
        """Scores float[k] of rows int64[k], in float."""
        name = self.model.head.table
        values = self.rows(name, self.model.tables[name], rows)
        scores = (values @ user.reshape(-1, 1)).reshape(-1)
        if self.small_factor is not None:
            scores = scores * self.small_factor.index_select(0, rows)
        return scores

    def _scored(self, user: Tensor) -> Tensor:
        """The user vector by which candidates are multiplied."""
        if self.model.head.kind != "cosine":
            return user
        return user / (user * user).sum(1, keepdim=True).sqrt().clamp(min=1e-12)

    def _finish(self, scores: Tensor) -> Tensor:
        """Turn logits into probabilities for a sigmoid head, exactly also for small ones."""
        return 1 / (1 + torch.exp(-scores)) if self.model.head.kind == "sigmoid" else scores

    def _encode(self, past: Past, given: Mapping[str, Tensor]) -> Tensor:
        """The user vector float[1, d]."""
        values = built_in_values(past.history, past.weights)
        values |= {name: value.reshape(1, -1) for name, value in given.items()}
        rows = past.history.clamp(min=0)
        for name in self.model.constants:
            values[name] = self.get_buffer(f"small_{self._number[name]}")
        for op in self.model.encoder:
            if op.kind == "Gather":
                name = op.inputs[0]
                values[op.output] = self.rows(name, self.model.tables[name], rows)
            else:
                values[op.output] = torch_rule(op, [values[i] for i in op.inputs])
        return values["user"]
