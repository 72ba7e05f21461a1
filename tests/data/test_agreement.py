"""Agreement of lists against figures worked out by hand, and files of lists."""

from __future__ import annotations

import json
import math
from pathlib import Path

import polars as pl
import pytest

from edgerec.data.agreement import Listed, agreement_of
from edgerec.data.lists import is_list_file, read_list_file
from edgerec.errors import DataError


def listed(text: str, *scores: float) -> Listed:
    return Listed(list(text), list(scores) or None)


def test_agreement_by_hand() -> None:
    a = [listed("abcd"), listed("abcd"), listed("abcd")]
    b = [listed("abcd"), listed("dcba"), listed("abxy")]
    found = agreement_of(a, b, 4, left_out=2)
    assert found.overlap.value == pytest.approx((1 + 1 + 0.5) / 3)
    assert found.overlap.half == pytest.approx(1.96 * math.sqrt(1 / 12) / math.sqrt(3))
    assert found.identical == pytest.approx(1 / 3)
    assert found.correlation == pytest.approx((1 - 1 + 1) / 3)
    assert found.score_difference is None
    assert (found.users, found.left_out, found.top) == (3, 2, 4)
    # One pair of six is the other way round.
    assert agreement_of(a[:1], [listed("abdc")], 4).correlation == pytest.approx(4 / 6)


def test_only_the_first_items_count() -> None:
    found = agreement_of([listed("abcd")], [listed("abdc")], 2)
    assert (found.overlap.value, found.identical, found.correlation) == (1, 1, 1)
    found = agreement_of([listed("abcd")], [listed("bacd")], 2)
    assert (found.overlap.value, found.identical, found.correlation) == (1, 0, -1)


def test_a_shorter_list_lacks_items() -> None:
    for one, other in (("abcd", "a"), ("a", "abcd")):
        found = agreement_of([listed(one)], [listed(other)], 4)
        assert (found.overlap.value, found.identical, found.correlation) == (0.25, 0, None)
    assert agreement_of([listed("")], [listed("")], 4).overlap.value == 1
    assert agreement_of([listed("")], [listed("a")], 4).overlap.value == 0


def test_differences_of_scores() -> None:
    a, b = listed("abcd", 9, 5, 3, 1), listed("bacx", 5, 8.5, 3, 100)
    # Those of items in both lists reach from 3 to 9.
    assert agreement_of([a], [b], 4).score_difference == pytest.approx(0.5 / 6)
    assert agreement_of([a], [listed("bacx")], 4).score_difference is None
    unknown = listed("abcd", math.nan, 5, 4, 1)
    assert agreement_of([a], [unknown], 4).score_difference == pytest.approx(1 / 4)
    assert agreement_of([listed("a", 2)], [listed("a", 2)], 4).score_difference == 0


def test_a_summary_is_json() -> None:
    found = agreement_of([listed("ab", 2, 1)], [listed("ab", 2, 1)], 2).summary()
    assert json.loads(json.dumps(found)) == {
        **{"users": 1, "left_out": 0, "top": 2, "overlap": 1, "overlap_half": None},
        **{"identical": 1, "correlation": 1, "score_difference": 0},
    }
    found = agreement_of([listed("ab")] * 2, [listed("ab"), listed("xy")], 2).summary()
    assert found["overlap_half"] == pytest.approx(1.96 * 0.5)


def test_nobody_to_compare() -> None:
    with pytest.raises(DataError, match="expected the lists of at least one user"):
        agreement_of([], [], 4)


FRAME = pl.DataFrame(
    {
        "user_id": [1, 2, 1, 2, 1],
        "Item": ["a", "b", "c", "a", "b"],
        "rank": [2, 0, 3, 1, 1],
        "Score": [0.9, 0.1, 0.5, 0.2, 0.7],
    }
)

ORDERS = {
    ("rank", "Score"): {"1": "bac", "2": "ba"},
    ("rank",): {"1": "bac", "2": "ba"},
    ("Score",): {"1": "abc", "2": "ab"},
    (): {"1": "acb", "2": "ba"},
}


@pytest.mark.parametrize("columns", ORDERS)
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl"])
def test_each_order_in_each_format(columns: tuple[str, ...], suffix: str, tmp_path: Path) -> None:
    frame, path = FRAME.select("user_id", "Item", *columns), tmp_path / f"x{suffix}"
    if suffix == ".parquet":
        frame.write_parquet(path)
    elif suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator="," if suffix == ".csv" else "\t")
    assert is_list_file(path)
    found = read_list_file(path)
    assert {user: "".join(one.items) for user, one in found.items()} == ORDERS[columns]
    if "Score" in columns:
        scores = dict(zip(found["1"].items, found["1"].scores or (), strict=True))
        assert scores == pytest.approx({"a": 0.9, "b": 0.7, "c": 0.5})
    else:
        assert found["1"].scores is None


def test_which_files_are_lists() -> None:
    assert is_list_file(Path("X.CSV.gz"))
    assert not any(is_list_file(Path(name)) for name in ("x.model", "x.pth", "csv", "x.json"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "who,item\n1,a\n", "no user column; columns: who, item. Lists have the columns"),
        ("x.csv", "user,what\n1,a\n", "no item column"),
        ("x.csv", "user,item\n", "the file has no lists"),
        ("x.csv", "user,item,rank\n1,a,x\n", "'rank', line 2: expected a number, got 'x'"),
        ("x.csv", "user,item\n1,a\n2,a\n1,a\n", "line 2: user '1' has an item twice, got 'a'"),
        ("x.csv", "user,item,rank,RANK\n1,a,1,1\n", "two columns could be the rank: rank, RANK"),
        ("x.jsonl", '{"user": 1, "item": "a"}\n{"user"', "expected a JSON object per line"),
        ("x.jsonl", '{"user": 1, "item": "a"}\n{"user": 1}\n', "rows have no item.* is line 2"),
        ("x.csv", None, "no such file"),
        ("x.jsonl", None, "no such file"),
    ],
)
def test_bad_files(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_list_file(tmp_path / name)
