"""The layout of each structure, and of rows that have different ones."""

from __future__ import annotations

from edgerec.plugin import F32, Affine, Dense, Lookup, Partition, RunLines, Sparse, Structure
from edgerec_onnx.codewords import Codewords
from edgerec_onnx.exact import Exact
from edgerec_onnx.floats import Floats
from edgerec_onnx.integers import Integers
from edgerec_onnx.lines import Lines
from edgerec_onnx.onnx_graph import Graph
from edgerec_onnx.sparse_rows import SparseRows

__all__ = ["layout_of"]


def layout_of(
    graph: Graph,
    name: str,
    structure: Structure,
    rows: int,
    factor: F32 | None = None,
    height: int = 0,
) -> Exact:
    """Store the rows of a structure in the layout whose scan is exact.

    They are read in blocks of ``height`` rows; 0 if they are not.
    """
    match structure:
        case Dense() as dense:
            return Floats(graph, name, dense, factor)
        case Affine() as affine:
            return Integers(graph, name, affine, factor)
        case Lookup() as lookup:
            return Codewords(graph, name, lookup, factor, height)
        case RunLines() as lines:
            return Lines(graph, name, lines, rows, factor)
        case Sparse() as sparse:
            return SparseRows(graph, name, sparse, factor)
        case Partition() as partition:
            return Parts(graph, name, partition, factor)


class Parts(Exact):
    """Consecutive rows of different structures."""

    def __init__(self, graph: Graph, name: str, partition: Partition, factor: F32 | None) -> None:
        super().__init__(graph, sum(partition.heights), factor)
        self.starts, self.heights = partition.starts, partition.heights
        each = enumerate(zip(partition.parts, partition.heights, strict=True))
        self.parts = [layout_of(graph, f"{name}.{place}", *part) for place, part in each]

    def read(self, rows: str) -> str:
        """Rows int64[k] as float[k, d]: read in every part, and chosen by where a row is."""
        graph, values = self.graph, ""
        for part, start, height in zip(self.parts, self.starts, self.heights, strict=True):
            first = graph.constant([start])
            own = graph.add("Max", graph.add("Sub", rows, first), graph.constant([0]))
            own = part.read(graph.add("Min", own, graph.constant([height - 1])))
            if not values:
                values = own
                continue
            is_before = graph.add("Less", rows, first)
            is_before = graph.add("Reshape", is_before, graph.constant([-1, 1]))
            values = graph.add("Where", is_before, values, own)
        return values

    def scores(self, user: str) -> str:
        """The products of all rows with float[1, d], float[n]."""
        return str(self.graph.add("Concat", *(part.scores(user) for part in self.parts), axis=0))
