"""A number per row, read off lines over runs of rows."""

from __future__ import annotations

import numpy as np

from edgerec.plugin import RunLines
from edgerec_tflite.stored import Stored
from edgerec_tflite.tflite_graph import Graph, Tensor

__all__ = ["Lines"]


class Lines(Stored):
    """The numbers r of all rows.

    A run is stored as its first row and the numbers at both ends. Runs without rows are left out.
    """

    def __init__(self, graph: Graph, lines: RunLines, rows: int) -> None:
        held = np.flatnonzero(lines.ends > lines.starts)
        self.graph, self.rows, self.runs = graph, rows, len(held)
        self.even = lines.even
        self.starts = graph.constant(lines.starts[held].astype(np.int32), key=(id(lines.levels), 0))
        levels = graph.constant(lines.levels[held], key=(id(lines.levels), 1))
        if levels.dtype != "float32":
            levels = graph.op("DEQUANTIZE", [levels], levels.shape)
        self.first, last = (
            graph.reshape(
                graph.op(
                    "SLICE", [levels, graph.small([0, side]), graph.small([-1, 1])], (self.runs, 1)
                ),
                (self.runs,),
            )
            for side in (0, 1)
        )
        shape = (self.runs,)
        ends = graph.small([rows])
        if self.runs > 1:
            from_second = graph.small([1]), graph.small([-1])
            nexts = graph.op("SLICE", [self.starts, *from_second], (self.runs - 1,), "int32")
            ends = graph.op("CONCATENATION", [nexts, ends], shape, "int32", axis=0)
        ends = graph.op("SUB", [ends, graph.small([1])], shape, "int32")
        length = graph.op("SUB", [ends, self.starts], shape, "int32")
        steps = graph.op("CAST", [length], shape)
        steps = graph.op("MAXIMUM", [steps, graph.small(1.0)], shape)
        rise = graph.op("SUB", [last, self.first], shape)
        self.slope = graph.op("DIV", [rise, steps], shape)

    def read(self, rows: Tensor) -> Tensor:
        """The numbers of rows int32[k], float[k, 1]."""
        graph, count = self.graph, rows.shape[0]
        if self.even:
            height = graph.small([self.even])
            run = graph.op("FLOOR_DIV", [rows, height], (count,), "int32")
            return graph.reshape(self._along(run, rows), (count, 1))
        wide = (count, self.runs)
        column = graph.reshape(rows, (count, 1))
        # A row is in the last run that starts at or before it.
        after = graph.op("LESS", [column, graph.reshape(self.starts, (1, self.runs))], wide, "bool")
        after = graph.op("CAST", [after], wide, "int32")
        later = graph.op("SUM", [after, graph.small([1])], (count,), "int32")
        run = graph.op("SUB", [graph.small([self.runs - 1]), later], (count,), "int32")
        return graph.reshape(self._along(run, rows), (count, 1))

    def scan(self, user: Tensor) -> Tensor:
        """The products of all rows with u, float[1, n]."""
        shape = (1, self.rows)
        return self.graph.op("MUL", [self.graph.reshape(self.all(), shape), user], shape)

    def all(self) -> Tensor:
        """The numbers of all rows, float[n]."""
        graph, shape = self.graph, (self.rows,)
        ones = graph.op("FILL", [graph.small([self.runs]), graph.scalar(1)], (self.runs,), "int32")
        places = graph.reshape(self.starts, (self.runs, 1))
        marks = graph.op("SCATTER_ND", [places, ones, graph.small([self.rows])], shape, "int32")
        run = graph.op("CUMSUM", [marks, graph.scalar(0)], shape, "int32")
        run = graph.op("SUB", [run, graph.small([1])], shape, "int32")
        every = graph.op("FILL", [graph.small([self.rows]), graph.scalar(1)], shape, "int32")
        every = graph.op("CUMSUM", [every, graph.scalar(0)], shape, "int32", exclusive=True)
        return self._along(run, every)

    def _along(self, run: Tensor, rows: Tensor) -> Tensor:
        """The numbers of rows int32[k] that are in the given runs, float[k]."""
        graph, shape = self.graph, rows.shape
        start = graph.gather(self.starts, run)
        along = graph.op("CAST", [graph.op("SUB", [rows, start], shape, "int32")], shape)
        rise = graph.op("MUL", [along, graph.gather(self.slope, run)], shape)
        return graph.op("ADD", [rise, graph.gather(self.first, run)], shape)
