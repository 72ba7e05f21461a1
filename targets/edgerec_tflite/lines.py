"""A number per row, read off lines over runs of rows."""

from __future__ import annotations

import numpy as np

from edgerec.plugin import RunLines
from edgerec_tflite.stored import Stored
from edgerec_tflite.tflite_graph import Graph, Shape, Tensor

__all__ = ["Lines"]

#: Rows whose numbers are computed together where runs start anywhere. Runs that start at multiples
#: of 16 or more set the height themselves. Where runs are shorter than this, it is a single row.
HEIGHT = 32


class Lines(Stored):
    """The numbers r of all rows.

    A run is stored as its first row and the numbers at both ends. Runs without rows are left out.
    """

    def __init__(self, graph: Graph, lines: RunLines, rows: int) -> None:
        held = np.flatnonzero(lines.ends > lines.starts)
        self.graph, self.rows, self.runs = graph, rows, len(held)
        self.even, self.step = lines.even, lines.step
        few = HEIGHT * self.runs <= rows
        self.height = self.step if 2 * self.step >= HEIGHT else HEIGHT if few else 1
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
        """The numbers of all rows, float[n].

        Rows are split into groups of a fixed height, and the numbers of a group are on the line of
        its first row. Where a run starts inside a group, what changes from there on is added.
        """
        graph = self.graph
        groups = -(-self.rows // self.height)
        tall, wide, shape = (groups, 1), (1, self.height), (groups, self.height)
        run, rows = self._run_of_groups(groups)
        steps = graph.constant(np.arange(self.height, dtype=np.float32).reshape(wide))
        slope = graph.reshape(graph.gather(self.slope, run), tall)
        values = graph.op("MUL", [slope, steps], shape)
        first = graph.reshape(self._along(run, rows), tall)
        values = graph.op("ADD", [values, first], shape)
        if self.step < self.height and self.runs > 1:
            values = graph.op("ADD", [values, self._changes(steps, shape)], shape)
        values = graph.reshape(values, (groups * self.height,))
        return graph.slice(values, 0, self.rows)

    def _run_of_groups(self, groups: int) -> tuple[Tensor, Tensor]:
        """The run of the first row of each group, and that row, int32[groups] each."""
        graph, shape, more = self.graph, (groups,), (groups + 1,)
        ones = graph.op("FILL", [graph.small([self.runs]), graph.scalar(1)], (self.runs,), "int32")
        last = graph.op("ADD", [self.starts, graph.small([self.height - 1])], (self.runs,), "int32")
        later = graph.op("FLOOR_DIV", [last, graph.small([self.height])], (self.runs,), "int32")
        places = [graph.reshape(later, (self.runs, 1)), ones, graph.small([groups + 1])]
        marks = graph.op("SCATTER_ND", places, more, "int32")
        run = graph.slice(graph.op("CUMSUM", [marks, graph.scalar(0)], more, "int32"), 0, groups)
        run = graph.op("SUB", [run, graph.small([1])], shape, "int32")
        heights = graph.op(
            "FILL", [graph.small([groups]), graph.scalar(self.height)], shape, "int32"
        )
        rows = graph.op("CUMSUM", [heights, graph.scalar(0)], shape, "int32", exclusive=True)
        return run, rows

    def _changes(self, steps: Tensor, shape: Shape) -> Tensor:
        """By how much the lines of runs that start inside a group change its numbers.

        Several changes of a group add up, each to the line before it.
        """
        graph, count = self.graph, self.runs - 1
        tall, wide = (count, 1), (count, self.height)

        def column(values: Tensor, start: int) -> Tensor:
            part = [values, graph.small([start]), graph.small([count])]
            return graph.reshape(graph.op("SLICE", part, (count,), values.dtype), tall)

        starts = column(self.starts, 1)
        group = graph.op("FLOOR_DIV", [starts, graph.small([self.height])], tall, "int32")
        row = graph.op("MUL", [group, graph.small([self.height])], tall, "int32")

        def line(run: int) -> Tensor:
            """The numbers of the group's rows on the lines of all runs but one, from a run on."""
            along = graph.op("SUB", [row, column(self.starts, run)], tall, "int32")
            along = graph.op("ADD", [graph.op("CAST", [along], tall), steps], wide)
            rise = graph.op("MUL", [along, column(self.slope, run)], wide)
            return graph.op("ADD", [rise, column(self.first, run)], wide)

        change = graph.op("SUB", [line(1), line(0)], wide)
        # A run that starts with its group is already the run of the group.
        inside = graph.op("CAST", [graph.op("SUB", [starts, row], tall, "int32")], tall)
        before = graph.op("LESS", [steps, inside], wide, "bool")
        change = graph.op("SELECT_V2", [before, graph.small(0.0), change], wide)
        starts_inside = graph.op("GREATER", [inside, graph.small(0.0)], tall, "bool")
        change = graph.op("SELECT_V2", [starts_inside, change, graph.small(0.0)], wide)
        return graph.op("SCATTER_ND", [group, change, graph.small([*shape])], shape)

    def _along(self, run: Tensor, rows: Tensor) -> Tensor:
        """The numbers of rows int32[k] that are in the given runs, float[k]."""
        graph, shape = self.graph, rows.shape
        start = graph.gather(self.starts, run)
        along = graph.op("CAST", [graph.op("SUB", [rows, start], shape, "int32")], shape)
        rise = graph.op("MUL", [along, graph.gather(self.slope, run)], shape)
        return graph.op("ADD", [rise, graph.gather(self.first, run)], shape)
