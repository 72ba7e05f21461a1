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
from dataclasses import dataclass
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

    Films have titles, and their genres as ``item_features``; ``user_features`` are the users' age,
    gender and occupation.

    It is fetched from GroupLens or, if that cannot be reached, taken from RecBole's wheel on the
    package index. It is not redistributed here, because GroupLens's license asks everyone to
    fetch it.

    Raises:
        DataError: neither source can be reached, or a download is not the data set.
    """
    folder = cache_folder() / "ml-100k"
    ratings, films, users = (folder / f"{name}.tsv" for name in ("ratings", "films", "users"))
    if not (ratings.exists() and films.exists() and users.exists()):
        try:
            found = _fetch(folder)
        except DataError:
            if not (ratings.exists() and films.exists()):
                raise
        else:
            for path, head, lines in (
                (users, "user_id\tage\tgender\toccupation", found.users),
                (films, "item_id\ttitle\tgenres", found.films),
                (ratings, "user_id\titem_id\trating\ttimestamp", found.ratings),
            ):
                write_text(path, "".join(f"{line}\n" for line in (head, *lines)))
    dataset = dataclasses.replace(read_dataset(ratings, titles=films), name="ml-100k")
    # Without a network, files of an earlier version have no genres, and there is none of users.
    if "genres" in films.read_text("utf-8").partition("\n")[0]:
        dataset = dataset.with_features(read_features(films, {"genres": "categories"}))
    if not users.exists():
        return dataset
    columns = {"age": "numbers", "gender": "categories", "occupation": "categories"}
    return dataset.with_user_features(read_features(users, columns, of="user"))


#: Public data sets by name.
NAMES: Mapping[str, Callable[[], Dataset]] = {"ml-100k": movielens_100k}


@dataclass(frozen=True)
class _Lines:
    """Lines of ratings, of films (id, title, genres) and of users (id, age, gender, occupation)."""

    ratings: list[str]
    films: list[str]
    users: list[str]


def _fetch(folder: Path) -> _Lines:
    """The lines of the first source that answers."""
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
            found: _Lines = read(pack)
        Path(archive).unlink()  # only what was read from it is kept
        return found
    raise DataError(
        f"ml-100k: {'; '.join(reasons)}. Connect to the network, or put ratings.tsv, films.tsv and "
        f"users.tsv into {folder}"
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


def _grouplens(pack: zipfile.ZipFile) -> _Lines:
    named = pack.read("ml-100k/u.genre").decode("ascii").splitlines()
    genres = [line.partition("|")[0] for line in named if line]
    films = []
    for line in pack.read("ml-100k/u.item").decode("latin-1").splitlines():
        fields = line.split("|")
        flags = fields[-len(genres) :]
        own = "|".join(name for name, flag in zip(genres, flags, strict=True) if flag == "1")
        films.append(f"{fields[0]}\t{fields[1]}\t{own}")
    users = pack.read("ml-100k/u.user").decode("ascii").splitlines()
    return _Lines(
        pack.read("ml-100k/u.data").decode("ascii").splitlines(),
        films,
        ["\t".join(line.split("|")[:4]) for line in users],
    )


def _recbole(pack: zipfile.ZipFile) -> _Lines:
    def lines(name: str) -> list[str]:
        path = f"recbole/dataset_example/ml-100k/ml-100k.{name}"
        return pack.read(path).decode("utf-8").splitlines()[1:]

    films = []
    for line in lines("item"):
        item, title, year, genres = line.split("\t")[:4]
        named = f"{title} ({year})" if year else title
        films.append(f"{item}\t{named}\t{'|'.join(genres.split())}")
    users = ["\t".join(line.split("\t")[:4]) for line in lines("user")]
    return _Lines(lines("inter"), films, users)
