"""Small models for tests: every op, and tables on which shortcuts go wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerec.model.blocks import Blocks
from edgerec.model.codecs import F32, Fp32
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.items import Items
from edgerec.model.ops import Op
from edgerec.model.table import Table

__all__ = ["adverse_models", "example_models"]


def example_models(items: int = 600, width: int = 16, seed: int = 0) -> dict[str, DeviceModel]:
    """Small models that together use every op, head and arrangement of tables.

    ``sum`` is LightGCN with one tied table and a weight per item. ``two-tables`` has a past table
    in addition to the candidate table. ``dense`` is like GraphSAGE, with dense layers and a cosine
    head. ``attention`` has softmax weights over the history and a sigmoid head. ``transformer`` has
    attention among past items and what the other models do not use.
    """
    rng = np.random.default_rng(seed)

    def matrix(*shape: int) -> F32:
        return rng.normal(size=shape).astype(np.float32) / np.float32(np.sqrt(shape[-1]))

    catalogue = Items.of(f"i{n:05d}" for n in range(items))
    popular = np.arange(min(items, 100), dtype=np.int32)

    def table(*shape: int) -> Table:
        return Table.encode(matrix(*shape), Fp32())

    def make(
        tables: dict[str, Table], ops: list[Op], head: Head, constants: dict[str, F32] | None = None
    ) -> DeviceModel:
        return DeviceModel(
            catalogue, tables, tuple(ops), head, 30, constants or {}, popular=popular
        )

    d = width
    degree = Table.encode(rng.uniform(0.1, 1, (items, 1)).astype(np.float32), Fp32())
    pooled = [Op("Mul", ("rows", "weights"), "weighted"), Op("ReduceSum", ("weighted",), "pooled")]
    return {
        "sum": make(
            {"items": table(items, d), "degree": degree},
            [
                Op("Gather", ("items", "history"), "rows"),
                Op("Gather", ("degree", "history"), "by_degree"),
                Op("Mul", ("rows", "by_degree"), "scaled"),
                Op("Mul", ("scaled", "weights"), "weighted"),
                Op("ReduceSum", ("weighted",), "user"),
            ],
            Head("items"),
        ).replace(weighted=True),
        "two-tables": make(
            {"past": table(items, d), "items": table(items, d)},
            [
                Op("Gather", ("past", "history"), "rows"),
                pooled[0],
                Op("ReduceSum", ("weighted",), "user"),
            ],
            Head("items"),
        ),
        "dense": make(
            {"past": table(items, 2 * d), "items": table(items, d)},
            [
                Op("Gather", ("past", "history"), "rows"),
                *pooled,
                Op("Gemm", ("pooled", "w1", "b1"), "h1"),
                Op("Relu", ("h1",), "a1"),
                Op("MatMul", ("pooled", "w2"), "h2"),
                Op("Tanh", ("h2",), "a2"),
                Op("Concat", ("a1", "a2"), "both"),
                Op("Gemm", ("both", "w3", "b3"), "h3"),
                Op("Sigmoid", ("h3",), "gate"),
                Op("Add", ("h3", "gate"), "h4"),
                Op("LpNormalization", ("h4",), "user"),
            ],
            Head("items", "cosine"),
            {
                "w1": matrix(2 * d, d),
                "b1": matrix(1, d),
                "w2": matrix(2 * d, d),
                "w3": matrix(2 * d, d),
                "b3": matrix(1, d),
            },
        ),
        "attention": make(
            {"items": table(items, d)},
            [
                Op("Gather", ("items", "history"), "rows"),
                Op("MatMul", ("rows", "query"), "raw"),
                Op("LeakyRelu", ("raw",), "logits", {"alpha": 0.2}),
                Op("Add", ("logits", "mask"), "masked"),
                Op("Softmax", ("masked",), "attention"),
                Op("Mul", ("rows", "attention"), "weighted"),
                Op("ReduceSum", ("weighted",), "user"),
            ],
            Head("items", "sigmoid"),
            {"query": matrix(d, 1)},
        ),
        "transformer": make(
            {"items": table(items, d)},
            _transformer(d),
            Head("items"),
            {
                "wq": matrix(d, d),
                "wk": matrix(d, d),
                "gain": matrix(1, d),
                "shift": matrix(1, d),
                "query": matrix(d, 1),
                "zero": np.zeros((1, 1), np.float32),
                "one": np.ones((1, 1), np.float32),
            },
        ),
    }


def _transformer(d: int) -> list[Op]:
    """Every past item attends to every other; then the user attends to all and to itself."""
    width = {"axis": 1}
    return [
        Op("Gather", ("items", "history"), "rows"),
        Op("MatMul", ("rows", "wq"), "q"),
        Op("MatMul", ("rows", "wk"), "k"),
        Op("Transpose", ("k",), "k_wide"),
        Op("MatMul", ("q", "k_wide"), "raw"),
        Op("Transpose", ("mask",), "mask_wide"),
        Op("Add", ("raw", "mask_wide"), "masked"),
        Op("Softmax", ("masked",), "share", width),
        Op("MatMul", ("share", "rows"), "mixed"),
        Op("LayerNormalization", ("mixed", "gain", "shift"), "normed"),
        Op("Gelu", ("normed",), "states"),
        # The mean over the past items, padding excluded, and their greatest.
        Op("Mul", ("states", "present"), "kept"),
        Op("ReduceSum", ("kept",), "total"),
        Op("Div", ("total", "count"), "mean"),
        Op("Add", ("states", "mask"), "low"),
        Op("ReduceMax", ("low",), "greatest"),
        Op("Slice", ("greatest",), "left", {"start": 0, "end": d // 2}),
        Op("Slice", ("mean",), "right", {"start": d // 2, "end": d}),
        Op("Concat", ("left", "right"), "both"),
        Op("Elu", ("both",), "bent", {"alpha": 0.7}),
        Op("Sub", ("bent", "mean"), "rest"),
        Op("Mul", ("rest", "rest"), "square"),
        Op("ReduceMean", ("square",), "variance", width),
        Op("Add", ("variance", "one"), "safe"),
        Op("Sqrt", ("safe",), "root"),
        Op("Div", ("rest", "root"), "own"),
        Op("Concat", ("own", "states"), "all", {"axis": 0}),
        Op("Concat", ("zero", "mask"), "all_mask", {"axis": 0}),
        Op("MatMul", ("all", "query"), "interest"),
        Op("Add", ("interest", "all_mask"), "seen_interest"),
        Op("Softmax", ("seen_interest",), "attention"),
        Op("Mul", ("all", "attention"), "weighted"),
        Op("ReduceSum", ("weighted",), "pooled"),
        Op("Exp", ("pooled",), "grown"),
        Op("Equal", ("count", "one"), "is_alone"),
        Op("Where", ("is_alone", "pooled", "grown"), "user"),
    ]


def adverse_models(width: int = 16, seed: int = 0) -> dict[str, DeviceModel]:
    """Models on which an inexact scan, or one that is built for few rows, goes wrong.

    ``session`` finds repeated items, ``recency`` weighs the latest items most, ``buys`` counts
    every past item and recommends them again, ``herbs`` recommends other items than those of
    histories, but for a few that are both, and ``situated`` reads all inputs that a model can
    declare. In ``column``, one column dwarfs all others. ``clusters`` are rows that are almost
    equal, and ``ties`` are rows that are equal. ``large`` has more rows than a block of any scan.
    ``blocks`` reads some of its rows, and a target that reads all of them finds better ones.
    """
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> F32:
        return rng.standard_normal(shape, np.float32)

    def of(matrix: F32, **changes: Any) -> DeviceModel:
        model = example_models(len(matrix), width, seed)["two-tables"]
        table = Table.encode(matrix, Fp32())
        return model.replace(tables={"past": table, "items": table}, **changes)

    column = normal(5000, width)
    column[:, 0] = 20 + np.float32(0.1) * column[:, 0]
    near = normal(5000, width) * np.float32(0.01)
    return {
        "session": _session(of(normal(300, width), repeats="keep", drop_seen=False)),
        "recency": of(normal(5000, width), recency=1.5, normalization=0.0),
        "buys": of(normal(300, width), repeats="keep", drop_seen=False, recency=0.5),
        "herbs": _herbs(of(normal(300, width)), Table.encode(normal(120, width), Fp32())),
        "situated": _situated(of(normal(300, width)), normal(3, width)),
        "column": of(column),
        "clusters": of(normal(50, width)[rng.integers(0, 50, 5000)] + near),
        "ties": of(normal(700, width)[rng.integers(0, 700, 5000)]),
        "large": of(normal(70_001, width)),
        "blocks": of(normal(5000, width), head=Head("items", blocks=Blocks(64, 9))),
    }


def _session(model: DeviceModel) -> DeviceModel:
    """A model that divides each past item by how often it occurs, and once more."""
    return model.replace(
        encoder=(
            *(op for op in model.encoder if op.kind == "Gather"),
            Op("Transpose", ("row_number",), "numbers"),
            Op("Equal", ("row_number", "numbers"), "equal"),
            Op("Transpose", ("present",), "real"),
            Op("Mul", ("equal", "real"), "same"),
            Op("ReduceSum", ("same",), "times", {"axis": 1}),
            Op("Add", ("times", "one"), "more"),
            Op("Div", ("rows", "more"), "shared"),
            Op("Mul", ("shared", "weights"), "weighted"),
            Op("ReduceSum", ("weighted",), "user"),
        ),
        constants={"one": np.ones((1, 1), np.float32)},
    )


def _situated(model: DeviceModel, matrix: F32) -> DeviceModel:
    """A model whose encoder reads weights, the user's own vector, and a context of three values."""
    return model.replace(
        encoder=(
            *model.encoder[:-1],
            Op("ReduceSum", ("weighted",), "pooled"),
            Op("Add", ("pooled", "user_vector"), "own"),
            Op("MatMul", ("context", "by_context"), "situation"),
            Op("Add", ("own", "situation"), "user"),
        ),
        constants={"by_context": matrix},
        weighted=True,
        context_width=len(matrix),
        recency=0.5,
    )


def _herbs(model: DeviceModel, past: Table) -> DeviceModel:
    """A model of other past items; every tenth of them is also a candidate, in another row."""
    rows = range(past.shape[0])
    ids = (f"i{299 - row:05d}" if row % 10 == 0 else f"symptom {row}" for row in rows)
    return model.replace(tables={**model.tables, "past": past}, past=Items.of(ids))
