"""The torch side of the door: what plugins that use torch import besides ``edgerec.plugin``.

A compressor imports this inside ``compress``, a target inside ``lower`` and a family inside
``make``, never at module level, so that listing plugins does not load torch.
"""

from edgerec.compression.fine_tuning import fine_tune, fine_tune_result
from edgerec.contracts.opening import load_model
from edgerec.data.ranking import rank
from edgerec.exporting.torch_artefact import TorchArtefact
from edgerec.importing.embeddings import from_embeddings
from edgerec.importing.fold_in import fold_in
from edgerec.importing.ids import read_ids
from edgerec.importing.pyg import from_pyg
from edgerec.importing.state import read_state
from edgerec.importing.torch_module import from_torch
from edgerec.training.accelerator import on_accelerator
from edgerec.training.examples import Batch, batches
from edgerec.training.feature_coding import weigh_by_rarity
from edgerec.training.gnn import GNN, Lowered, Tables, array, degree_of
from edgerec.training.graph import Graph, bag
from edgerec.training.losses import ranking_loss, scale_of
from edgerec.training.torch_model import EncodedTorchModel, TorchModel
from edgerec.training.torch_rules import torch_rule

__all__ = [
    "GNN",
    "Batch",
    "EncodedTorchModel",
    "Graph",
    "Lowered",
    "Tables",
    "TorchArtefact",
    "TorchModel",
    "array",
    "bag",
    "batches",
    "degree_of",
    "fine_tune",
    "fine_tune_result",
    "fold_in",
    "from_embeddings",
    "from_pyg",
    "from_torch",
    "load_model",
    "on_accelerator",
    "rank",
    "ranking_loss",
    "read_ids",
    "read_state",
    "scale_of",
    "torch_rule",
    "weigh_by_rarity",
]
