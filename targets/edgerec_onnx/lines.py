"""A number per row, read off lines over runs of rows."""

from __future__ import annotations

import numpy as np

from edgerec.plugin import F32, RunLines
from edgerec_onnx.exact import Exact
from edgerec_onnx.onnx_graph import Graph

__all__ = ["Lines"]

#: Numbers of the types of ONNX.
FLOAT, INT64, INT32 = 1, 7, 6


class Lines(Exact):
    """The numbers r of all rows.

    A run is stored as its first row and the numbers at both ends. Runs without rows are left out.
    """

    def __init__(
        self, graph: Graph, name: str, lines: RunLines, rows: int, factor: F32 | None = None
    ) -> None:
        super().__init__(graph, rows, factor)
        held = np.flatnonzero(lines.ends > lines.starts)
        self.runs, self.even, self.step = len(held), lines.even, lines.step
        self.starts = graph.table(lines.starts[held].astype(np.int32), f"{name}.starts")
        self.levels = graph.table(lines.levels[held], f"{name}.levels")

    def read(self, rows: str) -> str:
        """The numbers of rows int64[k], float[k, 1]."""
        return str(self.graph.add("Reshape", self.of(rows), self.graph.constant([-1, 1])))

    def of(self, rows: str) -> str:
        """The numbers of rows int64[k], float[k]."""
        graph, flat = self.graph, self.graph.constant([-1])
        places = graph.add("Cast", rows, to=INT32)
        if self.even:
            height = graph.constant(np.array(self.even), f"by_{self.even}")
            return self._along(graph.add("Div", rows, height), places)
        column = graph.add("Reshape", places, graph.constant([-1, 1]))
        # A row is in the last run that starts at or before it.
        before = graph.add("Not", graph.add("Less", column, self.starts))
        count = graph.add("Cast", before, to=FLOAT)
        count = graph.add("ReduceSum", count, graph.constant([1]), keepdims=0)
        run = graph.add("Sub", graph.add("Cast", count, to=INT64), graph.constant([1]))
        return self._along(graph.add("Reshape", run, flat), places)

    def all(self) -> str:
        """The numbers of all rows, float[n], computed once, on loading.

        Where runs start at multiples of a step, the rows in between are computed together.
        """
        graph, step, flat = self.graph, self.step, self.graph.constant([-1])
        count = -(-self.rows // step)
        zero, end, by = (
            graph.constant(np.array(value, np.int32), f"int32_{value}")
            for value in (0, count * step, step)
        )
        zeros = graph.add("Expand", zero, graph.constant([count]))
        ones = graph.add("Expand", self._one(), graph.constant([self.runs]))
        starts = graph.add("Div", self.starts, by) if step > 1 else self.starts
        marks = graph.add("ScatterElements", zeros, starts, ones, axis=0)
        run = graph.add("Sub", graph.add("CumSum", marks, zero), self._one())
        rows = graph.add("Reshape", graph.add("Range", zero, end, by), flat)
        if step == 1:
            return self._along(run, rows)
        first, slope = self._line(run, rows)
        first, slope = (graph.add("Reshape", x, graph.constant([-1, 1])) for x in (first, slope))
        along = graph.constant(np.arange(step, dtype=np.float32), f"along_{step}")
        values = graph.add("Add", graph.add("Mul", slope, along), first)
        values = graph.add("Reshape", values, flat)
        if self.rows % step:
            values = graph.add("Slice", values, graph.constant([0]), graph.constant([self.rows]))
        return str(values)

    def scores(self, user: str) -> str:
        """The products of all rows with float[1, 1], float[n]."""
        column = self.graph.add("Reshape", user, self.graph.constant([-1]))
        return str(self.graph.add("Mul", self.all(), column))

    def _along(self, run: str, rows: str) -> str:
        """The numbers of rows int32[k] that are in the given runs, float[k]."""
        return self._line(run, rows)[0]

    def _line(self, run: str, rows: str) -> tuple[str, str]:
        """The numbers of rows int32[k] that are in the given runs, and their rise, float[k]."""
        graph, flat = self.graph, self.graph.constant([-1])
        start = graph.add("Gather", self.starts, run, axis=0)
        ends = graph.add("Gather", self._slopes(), run, axis=0)
        zero, one, two = (graph.constant([place]) for place in (0, 1, 2))
        first = graph.add("Reshape", graph.add("Slice", ends, zero, one, one), flat)
        slope = graph.add("Reshape", graph.add("Slice", ends, one, two, one), flat)
        along = graph.add("Cast", graph.add("Sub", rows, start), to=FLOAT)
        return graph.add("Add", graph.add("Mul", along, slope), first), slope

    def _slopes(self) -> str:
        """The first number of each run, and its rise per row, float[runs, 2]."""
        graph = self.graph
        zero, one, two = (graph.constant([place]) for place in (0, 1, 2))
        levels = graph.add("Cast", self.levels, to=FLOAT)
        first = graph.add("Slice", levels, zero, one, one)
        last = graph.add("Slice", levels, one, two, one)
        ends = graph.constant(np.array([self.rows], np.int32), "height")
        nexts = graph.add("Slice", self.starts, one, graph.constant([self.rows]), zero)
        length = graph.add("Sub", graph.add("Concat", nexts, ends, axis=0), self.starts)
        steps = graph.add("Cast", graph.add("Sub", length, self._one()), to=FLOAT)
        steps = graph.add("Max", steps, graph.constant(1.0))
        steps = graph.add("Reshape", steps, graph.constant([-1, 1]))
        slope = graph.add("Div", graph.add("Sub", last, first), steps)
        return str(graph.add("Concat", first, slope, axis=1))

    def _one(self) -> str:
        return self.graph.constant(np.ones(1, np.int32), "some")
