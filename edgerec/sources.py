"""Public data sets by name, fetched from their source, checked by SHA-256, and cached."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgerec.atomic import write_text
from edgerec.data import Dataset
from edgerec.dataset_store import load_dataset
from edgerec.errors import DataError
from edgerec.readers import read_dataset

__all__ = ["NAMES", "cache_folder", "load", "movielens_100k"]

GROUPLENS = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
GROUPLENS_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"

#: RecBole's wheel carries the same 100,000 ratings, byte for byte, under another header.
RECBOLE = "recbole==1.2.1"
RECBOLE_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"


def load(source: str | Path, **options: Any) -> Dataset:
    """Load a dataset by name (``ml-100k``) or from a file.

    Args:
        source: a name in ``NAMES``, or a file: one that ``edgerec data`` saved, or any
            that ``read_dataset`` reads.
        options: passed to ``read_dataset``.

    Raises:
        DataError: the source cannot be read; the message says why.
    """
    if str(source) in NAMES:
        if options:
            raise DataError(f"{source}: takes no {', '.join(sorted(options))}")
        return NAMES[str(source)]()
    if Path(source).suffix == ".dataset":
        if options:
            raise DataError(f"{source}: is prepared already; {', '.join(options)} has no effect")
        return load_dataset(source)
    if not Path(source).suffix and not Path(source).exists():
        raise DataError(f"unknown dataset {str(source)!r}; known: {', '.join(NAMES)}, or a file")
    return read_dataset(source, **options)


def cache_folder() -> Path:
    """Where data sets are kept: $EDGEREC_CACHE, or edgerec under the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("EDGEREC_CACHE") or Path(base) / "edgerec")


def movielens_100k() -> Dataset:
    """MovieLens-100K: 943 users, 1,682 films, 100,000 ratings; Harper & Konstan, 2015.

    Fetched from GroupLens; where that cannot be reached, from the copy in RecBole's wheel
    on PyPI. Not redistributed: GroupLens's licence asks that everybody fetch it.

    Raises:
        DataError: neither source can be reached, or what came is not the data set.
    """
    folder = cache_folder() / "ml-100k"
    ratings, films = folder / "ratings.tsv", folder / "films.tsv"
    if not (ratings.exists() and films.exists()):
        _fetch(ratings, films)
    dataset = read_dataset(ratings, titles=films)
    return Dataset("ml-100k", dataset.users, dataset.items, dataset.train, merged=dataset.merged)


#: Public data sets by name.
NAMES: dict[str, Callable[[], Dataset]] = {"ml-100k": movielens_100k}


def _fetch(ratings: Path, films: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "ml-100k.zip"
        try:
            with urllib.request.urlopen(GROUPLENS, timeout=20) as response:
                archive.write_bytes(response.read())
            source, digest = GROUPLENS, GROUPLENS_SHA256
        except (urllib.error.URLError, OSError) as error:
            archive = _fetch_wheel(Path(folder), str(error))
            source, digest = RECBOLE, RECBOLE_SHA256
        content = archive.read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise DataError(f"{source}: the download does not match its SHA-256; try again later")
        with zipfile.ZipFile(archive) as pack:
            data, titles = _grouplens(pack) if digest == GROUPLENS_SHA256 else _recbole(pack)
    write_text(films, "item_id\ttitle\n" + "".join(f"{i}\t{t}\n" for i, t in titles))
    write_text(ratings, "user_id\titem_id\trating\ttimestamp\n" + data)


def _fetch_wheel(folder: Path, reason: str) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    done = subprocess.run(
        [*command, str(folder), RECBOLE], capture_output=True, text=True, check=False
    )
    wheels = sorted(folder.glob("recbole-*.whl"))
    if done.returncode or not wheels:
        raise DataError(
            f"ml-100k: {GROUPLENS} cannot be reached ({reason}), nor {RECBOLE} on PyPI "
            f"({done.stderr.strip().splitlines()[-1:]}); connect, or put ratings.tsv and "
            f"films.tsv into {cache_folder() / 'ml-100k'}"
        )
    return wheels[0]


def _grouplens(pack: zipfile.ZipFile) -> tuple[str, list[tuple[str, str]]]:
    films = pack.read("ml-100k/u.item").decode("latin-1").splitlines()
    titles = [(fields[0], fields[1]) for fields in (line.split("|") for line in films)]
    return pack.read("ml-100k/u.data").decode("ascii"), titles


def _recbole(pack: zipfile.ZipFile) -> tuple[str, list[tuple[str, str]]]:
    folder = "recbole/dataset_example/ml-100k/ml-100k"
    films = pack.read(f"{folder}.item").decode("utf-8").splitlines()[1:]
    fields = [line.split("\t") for line in films]
    titles = [(f[0], f"{f[1]} ({f[2]})" if f[2] else f[1]) for f in fields]
    return pack.read(f"{folder}.inter").decode("utf-8").partition("\n")[2], titles
