"""The networks of RecBole's models, with the parameters of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import LGConv

from edgerec.plugin import ModelError
from edgerec_recbole.checkpoint import Checkpoint

__all__ = ["NETWORKS"]

#: The names of both linear layers of NGCF, in RecBole and in RecBole-GNN.
_NGCF = (("linear", "interActTransform"), ("lin1", "lin2"))


class LightGCN(nn.Module):
    """LightGCN and SGL: the mean of the rows of all layers, each D^-1/2 A D^-1/2 of the last."""

    def __init__(self, saved: Checkpoint, rows: Tensor) -> None:
        super().__init__()
        count = saved.config.get("n_layers")
        if not isinstance(count, int) or count < 1:
            raise ModelError(
                f"{saved.path}: config: expected n_layers to be at least 1, got {count!r}"
            )
        self.rows = nn.Parameter(rows)
        self.convs = nn.ModuleList(LGConv() for _ in range(count))

    def forward(self, edge_index: Tensor) -> Tensor:
        """The rows of all nodes."""
        return torch.stack(self.layers(edge_index)).mean(0)

    def layers(self, edge_index: Tensor) -> list[Tensor]:
        """The rows of each layer, the embeddings first."""
        found: list[Tensor] = [self.rows]
        for conv in self.convs:
            found.append(conv(found[-1], edge_index))
        return found


class SimGCL(LightGCN):
    """SimGCL: the mean without the embeddings."""

    def forward(self, edge_index: Tensor) -> Tensor:
        """The rows of all nodes."""
        return torch.stack(self.layers(edge_index)[1:]).mean(0)


class NGCF(nn.Module):
    """NGCF: all layers side by side, each (L + I) E W + (L E ⊙ E) W' before a leaky ReLU."""

    def __init__(self, saved: Checkpoint, rows: Tensor) -> None:
        super().__init__()
        self.rows, self.conv = nn.Parameter(rows), LGConv()
        names = _NGCF[any(".lin1." in name for name in saved.state)]
        count = len({name.split(".")[1] for name in saved.state if name.startswith("GNNlayers.")})
        self.pairs = nn.ModuleList(
            nn.ModuleList(_linear(saved, f"GNNlayers.{layer}.{name}") for name in names)
            for layer in range(count)
        )

    def forward(self, edge_index: Tensor) -> Tensor:
        """The rows of all nodes."""
        found: list[Tensor] = [self.rows]
        for pair in self.pairs:
            first, second = pair.children()
            last, heard = found[-1], self.conv(found[-1], edge_index)
            mixed = first(last + heard) + second(heard * last)
            found.append(F.normalize(F.leaky_relu(mixed, 0.2)))
        return torch.cat(found, 1)


def _linear(saved: Checkpoint, name: str) -> nn.Linear:
    """A linear layer of a checkpoint."""
    weight, bias = (
        torch.from_numpy(saved.parameter(f"{name}.{part}")) for part in ("weight", "bias")
    )
    found = nn.Linear(weight.shape[1], weight.shape[0])
    found.weight, found.bias = nn.Parameter(weight), nn.Parameter(bias)
    return found


#: The network of each model that passes messages.
NETWORKS: Mapping[str, Callable[[Checkpoint, Tensor], nn.Module]] = {
    "LightGCN": LightGCN,
    "NGCF": NGCF,
    "SGL": LightGCN,
    "SimGCL": SimGCL,
}
