"""GNN families. Each file reads like a lecture note: the equations, then the module."""

from edgerec.models.base import GNN
from edgerec.models.graphsage import GraphSAGE
from edgerec.models.historygcn import HistoryGCN
from edgerec.models.lightgcn import LightGCN

__all__ = ["FAMILIES", "GNN", "GraphSAGE", "HistoryGCN", "LightGCN"]

#: Families by the name that a user types.
FAMILIES: dict[str, type[GNN]] = {
    "historygcn": HistoryGCN,
    "lightgcn": LightGCN,
    "graphsage": GraphSAGE,
}
