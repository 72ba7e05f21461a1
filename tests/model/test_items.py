"""The catalogue: unique ids, in an order that is what it says, and text that is text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.errors import ModelError
from edgerec.model.items import Items, Strings


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=24), min_size=1))
def test_ids_are_unique_and_in_order(ids: list[str]) -> None:
    in_order = sorted(set(ids), key=lambda text: text.encode())
    assert len(Items(Strings.of(in_order))) == len(in_order)
    if len(in_order) > 1:
        with pytest.raises(ModelError, match="occurs twice or is out of order"):
            Items(Strings.of(in_order[::-1]))
        with pytest.raises(ModelError, match="occurs twice or is out of order"):
            Items(Strings.of([in_order[0], *in_order]))


def test_a_late_repetition_is_found() -> None:
    ids = [f"{number:09d}-with-a-long-common-tail" for number in range(40_000)]
    Items(Strings.of(ids))
    ids[30_001] = ids[30_000]
    with pytest.raises(ModelError, match=r"id '000030000-with-a-long-common-tail' occurs twice"):
        Items(Strings.of(ids))
    mixed = np.random.default_rng(0).permutation(40_000).tolist()
    shuffled = Items.of([f"{number:09d}" for number in mixed])
    assert shuffled.find("000000007") == mixed.index(7)


def test_an_order_is_a_permutation() -> None:
    ids = Strings.of(["b", "a", "c"])
    assert Items(ids, None, np.array([1, 0, 2], np.uint32)).find("a") == 1
    for order, message in (
        ([1, 1, 2], "occurs twice or is out of order"),
        ([0, 1, 2], "occurs twice or is out of order"),
        ([1, 0], "3 ids but order has 2"),
        ([1, 0, 3], "a row outside the catalogue"),
    ):
        with pytest.raises(ModelError, match=message):
            Items(ids, None, np.array(order, np.uint32))
    for wrong in (np.array([[1, 0, 2]] * 3, np.uint32), np.array([1, 0, -1], np.int32)):
        with pytest.raises(ModelError, match=r"order: expected uint32\[3\]"):
            Items(ids, None, wrong)  # type: ignore[arg-type]  # the mistake


def test_text_is_utf_8() -> None:
    for text, offsets in (
        (b"\xff\xfe", [0, 1, 2]),  # not UTF-8 at all
        ("é".encode(), [0, 1, 2]),  # a string starts within a character
        ("é".encode()[:1], [0, 1]),  # cut off
    ):
        with pytest.raises(ModelError, match=r"not UTF-8|within a character"):
            Strings(np.array(offsets, np.uint32), np.frombuffer(text, np.uint8))


@pytest.mark.parametrize("odd", [b"a", bytearray(b"a"), None, "\udcff"])
def test_ids_that_are_no_ids(odd: object) -> None:
    with pytest.raises(ModelError, match="items: expected ids as text"):
        Items.of(["x", odd])


def test_offsets_are_checked() -> None:
    text = np.frombuffer(b"abc", np.uint8)
    for offsets, dtype in (([0, 4], np.uint32), ([1, 3], np.uint32), ([0, 2, 1, 3], np.uint32)):
        with pytest.raises(ModelError, match="offsets"):
            Strings(np.array(offsets, dtype), text)
    with pytest.raises(ModelError, match=r"offsets: expected uint32\[…\], got int64\[2\]"):
        Strings(np.array([0, 3], np.int64), text)  # type: ignore[arg-type]  # the mistake
