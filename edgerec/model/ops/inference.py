"""Infer the shape of every value of an encoder, and whether padding takes part."""

from __future__ import annotations

from collections.abc import Mapping

from edgerec.errors import ModelError
from edgerec.model.ops.op import BUILT_IN, Op
from edgerec.model.ops.rule import Padding, Shape

__all__ = ["counts_padding", "infer_shapes"]

#: What a device computes for one history at most: ops, numbers in all values, and products in all
#: matrix products.
_MOST_OPS, _MOST_NUMBERS, _MOST_PRODUCTS = 1000, 2**24, 2**31


def infer_shapes(
    ops: tuple[Op, ...],
    tables: Mapping[str, Shape],
    constants: Mapping[str, Shape],
    history_length: int,
    inputs: Mapping[str, int],
) -> dict[str, Shape]:
    """Infer the shape of every value, outputs and built-in values included.

    Args:
        ops: the encoder.
        tables: the shape of each table.
        constants: the shape of each constant.
        history_length: H.
        inputs: the widths of ``user_vector`` and of ``context``; 0 for none.

    Raises:
        ModelError: an input is unknown, a name is used twice, or shapes do not fit.
    """
    builtin: dict[str, Shape] = dict.fromkeys(BUILT_IN, (history_length, 1))
    builtin |= {"count": (1, 1)} | {name: (1, width) for name, width in inputs.items()}
    builtin = {name: shape for name, shape in builtin.items() if shape[1]}
    shapes: dict[str, Shape] = {**builtin, **constants}
    if len(ops) > _MOST_OPS:
        raise ModelError(f"encoder: expected at most {_MOST_OPS:,} ops, got {len(ops):,}")
    numbers = products = 0
    for clash in sorted((set(builtin) | {"history"}) & (set(constants) | set(tables))):
        raise ModelError(
            f"encoder: {clash!r} is a built-in value; choose another name for the constant"
        )
    for op in ops:
        if op.output in shapes or op.output in tables:
            raise ModelError(f"encoder: the name {op.output!r} is used twice")
        if op.kind == "Gather":
            table, index = op.inputs
            if table not in tables or index != "history":
                raise ModelError(f"encoder: Gather reads (table, history), got {op.inputs}")
            shapes[op.output] = (history_length, tables[table][1])
        else:
            for name in op.inputs:
                if name not in shapes:
                    raise ModelError(
                        f"encoder: {op.kind} reads {name!r}, which no earlier op computes"
                    )
            read = [shapes[name] for name in op.inputs]
            try:
                shapes[op.output] = op.rule.shape(op.given, read)
            except ModelError as error:
                raise ModelError(f"encoder: {op.output} = {error}") from None
            products += op.rule.products(op.given, read)
        height, wide = shapes[op.output]
        numbers += height * wide
        if numbers > _MOST_NUMBERS or products > _MOST_PRODUCTS:
            raise ModelError(
                f"encoder: up to {op.output!r} it computes {numbers:,} numbers and {products:,} "
                f"products, at most {_MOST_NUMBERS:,} and {_MOST_PRODUCTS:,} are run on a device; "
                "use a shorter history or narrower tables"
            )
    return shapes


def counts_padding(ops: tuple[Op, ...]) -> bool:
    """Whether padding takes part in a sum, a maximum or a Softmax over the history.

    It does not if every sum is over values that are zero there, such as products with ``weights``,
    and every maximum or Softmax over values that ``mask`` was added to. Anything that cannot be
    shown to be harmless counts.
    """
    padding: dict[str, Padding] = dict(BUILT_IN)
    for op in ops:
        found = op.rule.padding(op.given, [padding.get(n, Padding.NONE) for n in op.inputs])
        if found is None:
            return True
        padding[op.output] = found
    return False
