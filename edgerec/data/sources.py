"""Public data sets by name, fetched from their source, checked by SHA-256, and cached."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pooch

from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import load_dataset
from edgerec.data.feature_files import read_features
from edgerec.data.readers import read_dataset
from edgerec.errors import DataError
from edgerec.files.atomic import write_text

__all__ = ["NAMES", "cache_folder", "load", "movielens_100k"]

_GROUPLENS = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
_GROUPLENS_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"

#: RecBole's wheel contains the same 100,000 ratings, byte for byte, under another header.
_RECBOLE = "recbole==1.2.1"
_RECBOLE_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"


def load(source: str | Path, **options: Any) -> Dataset:
    """Load a dataset by name (``ml-100k``) or from a file.

    Args:
        source: a name in ``NAMES``; a file that ``edgerec data`` saved; or any file that
            ``read_dataset`` reads.
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
    """The folder for data sets: $EDGEREC_CACHE, or edgerec in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("EDGEREC_CACHE") or Path(base) / "edgerec")


def movielens_100k() -> Dataset:
    """MovieLens-100K: 943 users, 1,682 films, 100,000 ratings; Harper & Konstan, 2015.

    Films have titles, and their genres as ``item_features``.

    It is fetched from GroupLens or, if that cannot be reached, taken from RecBole's wheel on the
    package index. It is not redistributed here, because GroupLens's license asks everyone to
    fetch it.

    Raises:
        DataError: neither source can be reached, or a download is not the data set.
    """
    folder = cache_folder() / "ml-100k"
    ratings, films = folder / "ratings.tsv", folder / "films.tsv"
    if not (ratings.exists() and films.exists()):
        data, lines = _fetch(folder)
        write_text(films, "item_id\ttitle\tgenres\n" + "".join("\t".join(f) + "\n" for f in lines))
        write_text(ratings, "user_id\titem_id\trating\ttimestamp\n" + data)
    dataset = dataclasses.replace(read_dataset(ratings, titles=films), name="ml-100k")
    # Files of an earlier version have no genres.
    if "genres" not in films.read_text("utf-8").partition("\n")[0]:
        return dataset
    return dataset.with_features(read_features(films, {"genres": "categories"}))


#: Public data sets by name.
NAMES: Mapping[str, Callable[[], Dataset]] = {"ml-100k": movielens_100k}


def _fetch(folder: Path) -> tuple[str, list[tuple[str, str, str]]]:
    """Lines of ratings, and (id, title, genres) of films, from the first source that answers."""
    pooch.get_logger().setLevel("WARNING")
    from_web = pooch.HTTPDownloader(timeout=20, progressbar=sys.stderr.isatty())
    sources: list[tuple[str, str, Callable[..., Any], Callable[..., Any]]] = [
        (_GROUPLENS, _GROUPLENS_SHA256, from_web, _grouplens),
        (_RECBOLE, _RECBOLE_SHA256, _from_package_index, _recbole),
    ]
    reasons = []
    for source, digest, downloader, read in sources:
        try:
            archive = pooch.retrieve(source, f"sha256:{digest}", path=folder, downloader=downloader)
        except ValueError:
            raise DataError(
                f"{source}: the download does not match its SHA-256; try again later"
            ) from None
        except OSError as error:
            reasons.append(f"{source} cannot be reached ({error})")
            continue
        with zipfile.ZipFile(archive) as pack:
            found: tuple[str, list[tuple[str, str, str]]] = read(pack)
        Path(archive).unlink()  # only what was read from it is kept
        return found
    raise DataError(
        f"ml-100k: {'; '.join(reasons)}. Connect to the network, or put ratings.tsv and films.tsv "
        f"into {folder}"
    )


def _from_package_index(requirement: str, output: Any, _: pooch.Pooch) -> None:
    """A downloader for pooch that asks pip, and so uses whichever package index is set up."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, folder, requirement], capture_output=True, text=True, check=False
        )
        wheels = sorted(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            said = done.stderr.strip().splitlines()
            raise OSError(said[-1] if said else f"pip ended with {done.returncode}")
        shutil.copyfile(wheels[0], output)


def _grouplens(pack: zipfile.ZipFile) -> tuple[str, list[tuple[str, str, str]]]:
    named = pack.read("ml-100k/u.genre").decode("ascii").splitlines()
    genres = [line.partition("|")[0] for line in named if line]
    films = pack.read("ml-100k/u.item").decode("latin-1").splitlines()
    found = []
    for fields in (line.split("|") for line in films):
        flags = fields[-len(genres) :]
        own = "|".join(name for name, flag in zip(genres, flags, strict=True) if flag == "1")
        found.append((fields[0], fields[1], own))
    return pack.read("ml-100k/u.data").decode("ascii"), found


def _recbole(pack: zipfile.ZipFile) -> tuple[str, list[tuple[str, str, str]]]:
    folder = "recbole/dataset_example/ml-100k/ml-100k"
    films = pack.read(f"{folder}.item").decode("utf-8").splitlines()[1:]
    fields = [line.split("\t") for line in films]
    found = [(f[0], f"{f[1]} ({f[2]})" if f[2] else f[1], "|".join(f[3].split())) for f in fields]
    return pack.read(f"{folder}.inter").decode("utf-8").partition("\n")[2], found
