"""GNN families: each file gives the equations first, then the module."""

from edgerec.training.families.base import GNN
from edgerec.training.families.graphsage import GraphSAGE
from edgerec.training.families.historygcn import HistoryGCN
from edgerec.training.families.lightgcn import LightGCN

__all__ = ["FAMILIES", "GNN", "GraphSAGE", "HistoryGCN", "LightGCN"]

#: The families, by the name of the ``model`` option.
FAMILIES: dict[str, type[GNN]] = {
    "historygcn": HistoryGCN,
    "lightgcn": LightGCN,
    "graphsage": GraphSAGE,
}
