"""The layout of each structure, and of rows that have different ones."""

from __future__ import annotations

from edgerec.plugin import Affine, Dense, Lookup, Partition, RunLines, Sparse, Structure
from edgerec_tflite.codewords import Codewords
from edgerec_tflite.lines import Lines
from edgerec_tflite.rows import Floats, Integers
from edgerec_tflite.sparse_rows import SparseRows
from edgerec_tflite.stored import Stored
from edgerec_tflite.tflite_graph import Graph, Tensor

__all__ = ["layout_of"]


def layout_of(graph: Graph, structure: Structure, rows: int, height: int = 0) -> Stored:
    """The layout of a structure; ``height`` is that of the blocks that are read, 0 without any."""
    match structure:
        case Dense() as dense:
            return Floats(graph, dense)
        case Affine() as affine:
            return Integers(graph, affine)
        case Lookup() as lookup:
            return Codewords(graph, lookup, height)
        case RunLines() as lines:
            return Lines(graph, lines, rows)
        case Sparse() as sparse:
            return SparseRows(graph, sparse)
        case Partition() as partition:
            return Parts(graph, partition)


class Parts(Stored):
    """Consecutive rows of different structures."""

    def __init__(self, graph: Graph, partition: Partition) -> None:
        self.graph, self.starts, self.heights = graph, partition.starts, partition.heights
        each = zip(partition.parts, partition.heights, strict=True)
        self.parts = [layout_of(graph, *part) for part in each]

    def read(self, rows: Tensor) -> Tensor:
        """Rows int32[k] as float[k, d]: read in every part, and chosen by where a row is."""
        graph, shape, found = self.graph, rows.shape, []
        for part, start, height in zip(self.parts, self.starts, self.heights, strict=True):
            own = graph.op("SUB", [rows, graph.small([start])], shape, "int32")
            own = graph.op("MAXIMUM", [own, graph.small([0])], shape, "int32")
            own = graph.op("MINIMUM", [own, graph.small([height - 1])], shape, "int32")
            found.append(part.read(own))
        values = found[0]
        for own, start in zip(found[1:], self.starts[1:], strict=True):
            is_before = graph.op("LESS", [rows, graph.small([start])], shape, "bool")
            is_before = graph.reshape(is_before, (*shape, 1))
            values = graph.op("SELECT_V2", [is_before, values, own], values.shape)
        return values

    def scan(self, user: Tensor) -> Tensor:
        """Score all rows: float[1, n]."""
        return self.graph.concatenate([part.scan(user) for part in self.parts], 1)
