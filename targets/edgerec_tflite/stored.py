"""What all tables have in common, however they are stored."""

from __future__ import annotations

import abc

from edgerec_tflite.tflite_graph import Graph, Tensor

__all__ = ["Stored"]


class Stored(abc.ABC):
    """A table of the graph."""

    graph: Graph

    @abc.abstractmethod
    def read(self, rows: Tensor) -> Tensor:
        """Rows int32[k] as float[k, d]."""

    @abc.abstractmethod
    def scan(self, user: Tensor) -> Tensor:
        """The products of all rows with float[1, d], float[1, n], up to a factor that all share."""

    def some(self, rows: Tensor, user: Tensor) -> Tensor:
        """The products of rows int32[k] with float[1, d], float[1, k], in float."""
        return self.graph.fully_connected(user, self.read(rows))

    def of_blocks(self, blocks: Tensor, rows: Tensor, user: Tensor) -> Tensor:
        """The products of the rows int32[k] of whole blocks int32[b] with u, float[1, k].

        In place of rows beyond the last one, the last one is given.
        """
        return self.some(rows, user)
