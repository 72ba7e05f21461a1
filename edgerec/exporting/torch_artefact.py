"""TorchArtefact: a DeviceModel as a torch module to trace or export, shared by torch's runtimes.

They differ in how rows are stored, read and scanned, which each target defines in its own file.
"""

from __future__ import annotations

import abc
import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgerec.exporting.lowering import candidate_factor
from edgerec.model.device_model import DeviceModel
from edgerec.model.table import Table
from edgerec.training.torch_rules import built_in_values, torch_rule

if TYPE_CHECKING:
    from edgerec.contracts.signature import Signature

__all__ = ["TorchArtefact"]


class TorchArtefact(nn.Module, abc.ABC):
    """history int32[H], weights float[H] to ids int32[R], scores float[R].

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
        for name, table in model.tables.items():
            for key, array in table.arrays.items():
                self.register_buffer(f"table_{self._number[name]}_{key}", self.stored(array))
        for name, constant in model.constants.items():
            self.register_buffer(f"small_{self._number[name]}", self.tensor(constant))
        factor = candidate_factor(model)
        self.small_factor: Tensor | None
        self.register_buffer("small_factor", None if factor is None else self.tensor(factor))

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

    def rows(self, name: str, table: Table, rows: Tensor) -> Tensor:
        """Read rows of a table as float[rows, d]."""
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

    def forward(self, history: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Encode, scan, and re-score what an inexact scan proposes."""
        user = self._encode(history, weights)
        if self.model.head.kind == "cosine":
            norm = (user * user).sum(1, keepdim=True).sqrt()
            user = user / norm.clamp(min=1e-12)
        name = self.model.head.table
        table = self.model.tables[name]
        logits = self.scan(name, table, user)
        if self.small_factor is not None:
            logits = logits * self.small_factor
        if table.codec.name in self.inexact:
            _, rows = self.best(logits, self.signature.proposed)
            exact = (self.rows(name, table, rows) @ user.reshape(-1, 1)).reshape(-1)
            if self.small_factor is not None:
                exact = exact * self.small_factor.index_select(0, rows)
            scores, places = torch.topk(exact, self.signature.returned)
            ids = rows.index_select(0, places)
        else:
            scores, ids = self.best(logits, self.signature.returned)
        if self.model.head.kind == "sigmoid":
            scores = 1 / (1 + torch.exp(-scores))  # exact also for small probabilities
        return ids.int(), scores

    def _encode(self, history: Tensor, weights: Tensor) -> Tensor:
        """The user vector float[1, d] of rows int32[H] with weights float[H]."""
        values, rows = built_in_values(history, weights), history.clamp(min=0).long()
        for name in self.model.constants:
            values[name] = self.get_buffer(f"small_{self._number[name]}")
        for op in self.model.encoder:
            if op.kind == "Gather":
                name = op.inputs[0]
                values[op.output] = self.rows(name, self.model.tables[name], rows)
            else:
                values[op.output] = torch_rule(op, [values[i] for i in op.inputs])
        return values["user"]
