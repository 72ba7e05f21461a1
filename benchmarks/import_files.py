"""How close models of RecBole and of implicit come to the originals, over all their users.

    python -m benchmarks.import_files FOLDER [--targets numpy onnx tflite]

FOLDER is what ``benchmarks/elsewhere.py`` wrote: a folder per model with the model's file, its
training interactions, and the library's own lists. Each is imported as on the command line, with
the latest 200 past items and with all of them, and written for each target. The results are
``benchmarks/results/import_files.md``: the lowest overlap of top 20 lists of any target.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console

import edgerec
from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.files.atomic import write_text
from edgerec.model.codecs import Int8
from edgerec.model.device_model import DeviceModel

RESULTS = Path(__file__).parent / "results"

#: The numbers of past items that are read.
LENGTHS = (200, 800)

console = Console(stderr=True)


def imported(folder: Path, length: int, data: edgerec.Dataset) -> DeviceModel:
    """A model of a folder."""
    recbole = folder / "model.pth"
    options = {"items": str(folder / "items.txt"), "history_length": length}
    if folder.name != "SRGNN":
        options["users"] = str(folder / "users.txt")
    name, file = ("recbole", recbole) if recbole.exists() else ("implicit", folder / "model.npz")
    return Host.installed().importer(name, **options).read(file, Context(data))


def overlaps(model: DeviceModel, folder: Path, data: edgerec.Dataset, targets: list[str]) -> str:
    """The lowest overlap of any target with the library's lists, at fp32 and at int8."""
    found = []
    for coded in (model, model.with_codec(Int8())):
        low = 1.0
        for target in targets:
            with tempfile.TemporaryDirectory() as place:
                path = Path(place) / "x.edgerec"
                edgerec.export(coded, target, path, top_k=20)
                low = min(low, edgerec.agree(path, folder / "lists.csv", data).overlap.value)
        found.append(f"{low:.3f}")
    return " | ".join(found)


def main() -> None:
    """Compare all folders, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--targets", nargs="+", default=["numpy", "onnx", "tflite"])
    given = parser.parse_args()
    lines = ["| model | H | overlap, fp32 | int8 |", "|---|---|---|---|"]
    for folder in sorted(path.parent for path in given.folder.glob("*/lists.csv")):
        data = edgerec.load(folder / "train.inter")
        for length in LENGTHS if folder.name != "SRGNN" else (50,):
            model = imported(folder, length, data)
            lines.append(
                f"| {folder.name} | {length} | {overlaps(model, folder, data, given.targets)} |"
            )
            console.print(lines[-1])
    write_text(RESULTS / "import_files.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
