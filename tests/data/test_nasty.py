"""Files as people have them: each is read right, or refused for the right reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerec.data.readers import read_dataset
from edgerec.errors import DataError
from tests.data.nasty import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nasty_files(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.file
    path.write_bytes(case.content)
    if case.message is not None:
        with pytest.raises(DataError, match=case.message) as caught:
            read_dataset(path, **case.options)
        assert "\n" not in str(caught.value)
        return
    dataset = read_dataset(path, **case.options)
    ids = dataset.items.ids
    found = [
        f"{user}:{ids[int(row)]}".replace(" ", "_")
        for user, rows in zip(dataset.users, dataset.train.lists(), strict=True)
        for row in rows
    ]
    assert found == [pair for pair in (case.expected or "").split(" ") if pair]
    assert case.notes is None or dataset.notes == case.notes


def test_there_are_enough() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 120


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_a_folder_is_not_read_as_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "x.csv"
    folder.mkdir()
    write(folder / "a.csv", "user,item\na,x\nb,y\n")
    with pytest.raises(DataError, match=r"x\.csv: is a folder; name a file"):
        read_dataset(folder)


def test_a_pattern_is_a_name(tmp_path: Path) -> None:
    write(tmp_path / "r1.csv", "user,item\na,x\nb,y\n")
    with pytest.raises(DataError, match=r"r\[1\]\.csv: no such file"):
        read_dataset(tmp_path / "r[1].csv")


def test_what_the_test_file_repeats_is_dropped(tmp_path: Path) -> None:
    train = write(tmp_path / "train.txt", "a x y\nb x\n")
    test = write(tmp_path / "test.txt", "a y z\nb y\n")
    dataset = read_dataset(train, test=test)
    assert dataset.test is not None
    assert [rows.tolist() for rows in dataset.test.lists()] == [[2], [1]]
    assert dataset.notes == {"held-out pairs dropped as seen": 1}
    with pytest.raises(DataError, match="every pair that it holds out is in the other file, too"):
        read_dataset(train, test=write(tmp_path / "same.txt", "a y\nb x\n"))


def test_titles_are_counted_and_must_agree(tmp_path: Path) -> None:
    data = write(tmp_path / "x.csv", "user,item\n1,5801.0\n1,7.0\n2,7.0\n")
    titles = write(tmp_path / "t.csv", "item,title\n5801,Nail\n5801,Nail\n99,Saw\n")
    dataset = read_dataset(data, titles=titles)
    assert dataset.notes == {"items without a title": 1}
    assert sorted(dataset.items.title(row) for row in range(2)) == ["7", "Nail"]
    write(titles, "item,title\n5801,Nail\n5801,Screw\n")
    with pytest.raises(DataError, match="item '5801' has two titles, 'Nail' and 'Screw'"):
        read_dataset(data, titles=titles)


def test_the_k_core_says_what_it_dropped(tmp_path: Path) -> None:
    data = write(tmp_path / "x.csv", "user,item\na,x\na,y\nb,x\nb,y\nb,z\nc,x\n")
    assert read_dataset(data).k_core(2).notes == {"interactions dropped by the k-core": 2}


@pytest.mark.parametrize("separator", ["\n", '"', "\x1f"])
def test_what_cannot_separate(separator: str, tmp_path: Path) -> None:
    data = write(tmp_path / "x.csv", "user,item\na,x\nb,y\n")
    with pytest.raises(DataError, match="cannot separate fields"):
        read_dataset(data, separator=separator)
    with pytest.raises(DataError, match="separator: expected at least one character"):
        read_dataset(data, separator="")
