r"""Training through the codec.

Every row keeps a float latent; the row that is scored is what its codewords give,

    y_i = [C_1[q_i1], …, C_M[q_iM]] + (z_i - sg(z_i)),   row_i = exp(θ_i) y_i,

with sg the stop-gradient: the codewords get their own gradient and the latents get it as if
they had been the row (straight-through; Bengio et al., 2013; van den Oord et al., "Neural
Discrete Representation Learning", NeurIPS 2017). Rows move to the codewords nearest to
their latents now and then, and stay where they are at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.learn import Twin, fine_tune
from edgerec.plugin import Context, DeviceModel, Table, normalize
from edgerec_pq.codec import PQ
from edgerec_pq.kmeans import columns, learn_codebook, lookup, nearest

if TYPE_CHECKING:
    from edgerec_pq import ProductQuantize

__all__ = ["tune"]

#: Steps between assignments.
REASSIGN = 20

#: The part of training after which assignments stay.
SETTLED = 0.8


class CodedTwin(Twin):
    """A model whose wide tables are seen through their codewords.

    Args:
        model: the model, rotated already.
        codecs: the codec of each table; those of one column stay numbers until the end.
    """

    def __init__(self, model: DeviceModel, codecs: Mapping[str, PQ]) -> None:
        super().__init__(model)
        self.codecs = {n: c for n, c in codecs.items() if model.tables[n].shape[1] > 1}
        self.codebooks, self.gains = nn.ParameterDict(), nn.ParameterDict()
        self.codes: dict[str, Tensor] = {}
        for name, table in self.tables.items():
            if name not in self.codecs:
                self.gains["of " + name] = nn.Parameter(torch.zeros_like(table))
        for name, codec in self.codecs.items():
            rows = model.tables[name].decode()
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            if codec.norm:
                rows = normalize(rows)
            codebook = learn_codebook(rows, codec.subspaces, 2**codec.bits)
            codes = nearest(rows, codebook, codec.subspaces)
            if codec.norm:
                found = np.linalg.norm(lookup(codes, codebook), axis=1, keepdims=True)
                gain = np.log(np.maximum(length, 1e-9) / np.maximum(found, 1e-6))
                self.gains["of " + name] = nn.Parameter(torch.from_numpy(gain))
            self.tables[name].data = torch.from_numpy(rows)
            self.codebooks["of " + name] = nn.Parameter(torch.from_numpy(codebook))
            self.codes[name] = torch.from_numpy(codes)

    def table(self, name: str) -> Tensor:
        """Rows as the codewords give them."""
        latent = self.tables[name]
        if name not in self.codecs:
            # By a factor: one step size suits weights of any size, and their sign stays.
            scaled: Tensor = latent.detach() * self.gains["of " + name].exp()
            return scaled
        codebook, codes = self.codebooks["of " + name], self.codes[name]
        parts = codebook.split(self.widths(name), 1)
        looked_up = [F.embedding(codes[:, m], part) for m, part in enumerate(parts)]
        rows = torch.cat(looked_up, 1) + (latent - latent.detach())
        return rows * self.gains["of " + name].exp() if self.codecs[name].norm else rows

    def widths(self, name: str) -> list[int]:
        """Columns of each subspace."""
        d, subspaces = self.model.tables[name].shape[1], self.codecs[name].subspaces
        return [int(width) for width in np.bincount(columns(d, subspaces))]

    def reassign(self) -> None:
        """Move every row to the codewords nearest to its latent."""
        for name, codec in self.codecs.items():
            latent = self.tables[name].detach().numpy()
            codebook = self.codebooks["of " + name].detach().numpy()
            self.codes[name] = torch.from_numpy(nearest(latent, codebook, codec.subspaces))

    def written(self, codecs: Mapping[str, PQ]) -> DeviceModel:
        """The model with its codes, codebooks and lengths as they are now."""
        tables = {}
        for name, codec in codecs.items():
            if name not in self.codecs:
                tables[name] = Table.encode(self.table(name).detach().numpy(), codec)
                continue
            codebook = self.codebooks["of " + name].detach().numpy()
            gain = self.gains["of " + name].detach().exp().numpy()[:, 0] if codec.norm else None
            arrays = codec.write(self.codes[name].numpy(), codebook, gain)
            tables[name] = Table(codec, self.model.tables[name].shape, arrays)
        constants = {name: c.detach().numpy().copy() for name, c in self.constants.items()}
        return self.model.replace(tables=tables, constants=constants)


def tune(
    model: DeviceModel, codecs: Mapping[str, PQ], options: ProductQuantize, context: Context
) -> DeviceModel:
    """Train codewords, assignments, lengths and weights for the ranking; write the model."""
    twin = CodedTwin(model, codecs)
    done = 0

    def reassign(progress: float) -> None:
        nonlocal done
        done += 1
        if done % REASSIGN == 0 and progress < SETTLED:
            twin.reassign()

    fine_tune(
        twin,
        context,
        who="pq",
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        distill=options.distill,
        after_step=reassign,
    )
    return twin.written(codecs)
