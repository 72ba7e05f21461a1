"""What artefacts answer on a device: the raw lists and scores, to be compared here.

``ask`` sends bundles, histories and this file to a device, where it runs as a program with numpy
and the runtimes. ``edgerec.exporting.proof`` then tells whether the answers are right.
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

from edgerec.errors import EdgerecError
from edgerec.model.codecs import F32

if TYPE_CHECKING:
    from edgerec.remote.connection import Connection

__all__ = ["Answers", "ask"]

#: For each (bundle's file name, runtime), ids int32[R] and scores float32[R] per history.
Answers = dict[tuple[str, str], list[tuple[NDArray[np.int32], F32]]]

FILE = "histories.npz"


def ask(
    connection: Connection,
    bundles: Mapping[Path, tuple[NDArray[np.int32], F32]],
    timeout: float = 600,
) -> Answers:
    """Run bundles in each runtime that a device has for them.

    Args:
        connection: the device.
        bundles: bundle to its histories int32[B, H] and weights float32[B, H].
        timeout: seconds after which to give up.

    Raises:
        RemoteError: the device cannot be reached, lacks something, or the run failed.
    """
    from edgerec.remote.archive import FILES

    given: dict[str, NDArray[np.generic]] = {}
    for path, (histories, weights) in bundles.items():
        given |= {f"{path.name}|histories": histories, f"{path.name}|weights": weights}
    program = Path(__file__)
    files = {FILE: _packed(given), program.name: program.read_bytes()}
    module = f"{FILES}.{program.stem}"
    printed = connection.run(module, [FILES], list(bundles), files, timeout=timeout)
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
    from edgerec.contracts.bundle import Bundle
    from edgerec.contracts.host import Host

    answers: dict[str, NDArray[np.generic]] = {}
    with np.load(folder / FILE, allow_pickle=False) as given:
        names = [key.rpartition("|")[0] for key in given if key.endswith("|histories")]
        for name in names:
            bundle = Bundle.open(folder / name)
            target = Host.installed().target(bundle.target)
            histories, weights = given[f"{name}|histories"], given[f"{name}|weights"]
            for runtime in target.runtimes():
                run = target.load(bundle, runtime)
                found = [run(h, w) for h, w in zip(histories, weights, strict=True)]
                # Lists differ in length, so they are joined, with the end of each.
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
