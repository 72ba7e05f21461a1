"""What artefacts answer on a device: the raw lists and scores, to be compared here.

``ask`` carries bundles and histories to a place; ``python -m edgerec.remote.answers`` runs
there, with numpy and the runtimes, and ``edgerec.parity`` tells whether the answers are right.
"""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgerec.codecs import F32
from edgerec.errors import EdgerecError

if TYPE_CHECKING:
    from edgerec.remote.place import Place

__all__ = ["Answers", "ask"]

#: For each (bundle's file name, runtime), a history each: ids int32[R] and scores float32[R].
Answers = dict[tuple[str, str], list[tuple[NDArray[np.int32], F32]]]

FILE = "histories.npz"


def ask(
    place: Place,
    bundles: Mapping[Path, tuple[NDArray[np.int32], F32]],
    timeout: float = 600,
) -> Answers:
    """Run bundles in each runtime that a device has for them.

    Args:
        place: the device.
        bundles: bundle to its histories int32[B, H] and weights float32[B, H].
        timeout: seconds after which to give up.

    Raises:
        RemoteError: the device cannot be reached, lacks something, or the run failed.
    """
    from edgerec.remote.carry import FILES

    given: dict[str, NDArray[np.generic]] = {}
    for path, (histories, weights) in bundles.items():
        given |= {f"{path.name}|histories": histories, f"{path.name}|weights": weights}
    files = {FILE: _packed(given)}
    printed = place.run("edgerec.remote.answers", [FILES], list(bundles), files, timeout=timeout)
    with np.load(io.BytesIO(base64.b85decode(printed)), allow_pickle=False) as found:
        answers: Answers = {}
        for key in (key.removesuffix("|ends") for key in found if key.endswith("|ends")):
            name, _, runtime = key.rpartition("|")
            ends = found[f"{key}|ends"][:-1]
            ids, scores = (np.split(found[f"{key}|{part}"], ends) for part in ("ids", "scores"))
            answers[name, runtime] = list(zip(ids, scores, strict=True))
        return answers


def answer(folder: Path) -> dict[str, NDArray[np.generic]]:
    """Run each bundle in a folder, in each runtime that is installed, on its histories."""
    from edgerec.bundle import Bundle
    from edgerec.host import host

    answers: dict[str, NDArray[np.generic]] = {}
    with np.load(folder / FILE, allow_pickle=False) as given:
        names = [key.rpartition("|")[0] for key in given if key.endswith("|histories")]
        for name in names:
            bundle = Bundle.open(folder / name)
            target = host().target(bundle.target)
            histories, weights = given[f"{name}|histories"], given[f"{name}|weights"]
            for runtime in target.runtimes():
                run = target.load(bundle, runtime)
                found = [run(h, w) for h, w in zip(histories, weights, strict=True)]
                # Lists may be of different lengths: end to end, and where each ends.
                answers[f"{name}|{runtime}|ids"] = np.concatenate([ids for ids, _ in found])
                answers[f"{name}|{runtime}|scores"] = np.concatenate([s for _, s in found])
                answers[f"{name}|{runtime}|ends"] = np.cumsum([len(ids) for ids, _ in found])
    return answers


def _packed(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def main(arguments: Sequence[str]) -> int:
    """Print the answers as one line: base 85 of an .npz."""
    try:
        answers = answer(Path(arguments[0]))
    except EdgerecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(base64.b85encode(_packed(answers)).decode("ascii"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
