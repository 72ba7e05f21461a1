"""Popular rows, which are integers of 8 bits and come before those that are codewords."""

from __future__ import annotations

from edgerec.plugin import Codec, Fp16, Int8, Mixed, Table

__all__ = ["codec_of", "joined"]


def codec_of(width: int) -> Codec:
    """The codec of popular rows: a scale per number would cost more than a number of one column."""
    return Int8() if width > 1 else Fp16()


def joined(first: Table, rest: Table) -> Table:
    """A table with the rows of one, followed by those of another."""
    heights = first.shape[0], rest.shape[0]
    codec = Mixed(first.codec, rest.codec, heights[0] / sum(heights), heights)
    return Table(codec, (sum(heights), rest.shape[1]), codec.named(first.arrays, rest.arrays))
