r"""TorchModel: the torch interpreter of a DeviceModel, differentiable where the oracle is not.

Gradient pruning and distillation train it. Its parameters are the model's own tables and
constants, under the same names. ``EncodedTorchModel`` presents a table of parameters x as its
codec c encodes it, so that what is trained is what ships:

    table = decode_c(encode_c(x)) + (x - sg(x))

with sg the stop-gradient, so x gets the gradient as if nothing had been rounded
(straight-through; Bengio, Léonard & Courville, 2013; Jacob et al., CVPR 2018).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.errors import ModelError
from edgerec.model.device_model import DeviceModel
from edgerec.training.torch_rules import built_in_values, torch_rule

__all__ = ["EncodedTorchModel", "TorchModel"]


class TorchModel(nn.Module):
    """A DeviceModel as a torch module.

    Args:
        model: the model; tables are decoded to float32 parameters.
    """

    def __init__(self, model: DeviceModel) -> None:
        super().__init__()
        self.model = model
        # Plain dictionaries, registered below: a ParameterDict refuses names like "items".
        self.tables = {
            name: nn.Parameter(torch.as_tensor(table.decode().copy()))
            for name, table in model.tables.items()
        }
        self.constants = {
            name: nn.Parameter(torch.as_tensor(c.copy())) for name, c in model.constants.items()
        }
        for kind, parameters in (("table", self.tables), ("constant", self.constants)):
            for name, parameter in parameters.items():
                self.register_parameter(f"{kind}:{name}", parameter)

    def forward(
        self,
        history: Tensor,
        weights: Tensor,
        user_vector: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """User vectors float[B, d] of histories int64[B, H] with weights float[B, H]."""
        values: dict[str, Tensor] = {**self.constants, **built_in_values(history, weights)}
        for name, given in (("user_vector", user_vector), ("context", context)):
            if given is not None:
                values[name] = given[:, None, :]
            elif name in self.model.inputs:
                raise ModelError(f"this model reads a {name}; pass one")
        for op in self.model.encoder:
            if op.kind == "Gather":
                values[op.output] = self.rows(op.inputs[0], history.clamp(min=0))
            else:
                values[op.output] = torch_rule(op, [values[name] for name in op.inputs])
        return values["user"][:, 0, :]

    def table(self, name: str) -> Tensor:
        """Return a table as the encoder and the head see it. A subclass may quantize it."""
        parameter: Tensor = self.tables[name]
        return parameter

    def rows(self, name: str, rows: Tensor) -> Tensor:
        """Return rows of a table, float[..., d] for int64[...]."""
        return F.embedding(rows, self.table(name))

    def logits(self, user: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scores float[B, n] of all items, or float[B, len(rows)] of some, before a sigmoid."""
        name = self.model.head.table
        candidates = self.table(name) if rows is None else self.rows(name, rows)
        if self.model.head.kind == "cosine":
            user, candidates = F.normalize(user, dim=-1), F.normalize(candidates, dim=-1)
        return user @ candidates.transpose(-1, -2)

    def to_device_model(self) -> DeviceModel:
        """Return a DeviceModel of the parameters, with each table encoded by its codec."""
        values = {name: p.numpy(force=True).copy() for name, p in self.constants.items()}
        return self.model.replace(
            tables={
                name: table.replace(self.tables[name].numpy(force=True))
                for name, table in self.model.tables.items()
            },
            constants={name: np.asarray(value, np.float32) for name, value in values.items()},
        )


class EncodedTorchModel(TorchModel):
    """A TorchModel that sees every table as the codec of the model's table encodes it.

    ``to_device_model`` encodes the same parameters once more, so the tables that it writes equal
    the last ones seen, to the bit.

    Args:
        model: the model whose codecs to train for.
        start: the model whose numbers to start from, by default ``model`` itself. The model
            before quantization has the precision that rounding lost.
    """

    def __init__(self, model: DeviceModel, start: DeviceModel | None = None) -> None:
        super().__init__(model if start is None else start)
        self.model = model
        # Zeros that are omitted stay zero, so they get no gradient.
        for name, table in model.tables.items():
            if table.codec.leaves_zeros_out:
                mask = self.tables[name].detach() != 0
                self.register_buffer(f"mask:{name}", mask, persistent=False)
        self._written: dict[str, tuple[tuple[int, int], Tensor]] = {}

    def table(self, name: str) -> Tensor:
        """Rows as they will be decoded."""
        latent = self.tables[name]
        # An in-place step raises a parameter's version, so each table is encoded once per step.
        state = latent._version, latent.data_ptr()
        if name not in self._written or self._written[name][0] != state:
            coded = self.model.tables[name].replace(latent.numpy(force=True))
            # A codec may return a view of the table, which is read-only.
            decoded = np.require(coded.decode(), requirements="W")
            self._written[name] = state, torch.as_tensor(decoded)
        written = self._written[name][1]
        through = latent - latent.detach()
        mask = self._buffers.get(f"mask:{name}")
        return written + (through if mask is None else through * mask)
