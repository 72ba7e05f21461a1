"""Build for every device of the catalogue, and verify each bundle independently.

    python -m benchmarks.sweep [--gowalla FOLDER] [--trials 30]

The data set is MovieLens-100K by default. After ``edgerec sweep``, ``edgerec verify`` opens and
measures every bundle again, in a separate process. The result is ``benchmarks/results/sweep.md``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import edgerec
from benchmarks.quality import RESULTS, console, one_of
from edgerec.data.dataset_file import save_dataset
from edgerec.files.atomic import write_text
from edgerec.model.model_file import save_model


def main() -> None:
    """Run the sweep, verify its bundles, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gowalla", help="folder with train.txt and test.txt")
    parser.add_argument("--trials", type=int, default=30)
    arguments = parser.parse_args()
    data = one_of(arguments.gowalla).split_random(0.1, part="valid")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_dataset(data, folder / "x.dataset")
        save_model(edgerec.train(data, seed=0).to_device_model(), folder / "x.model")
        files = [str(folder / "x.model"), "--data", str(folder / "x.dataset")]
        edgerec_command = [sys.executable, "-m", "edgerec"]
        subprocess.run(
            [
                *edgerec_command,
                "sweep",
                *files,
                *("-o", str(folder / "dist"), "--trials", str(arguments.trials)),
            ],
            check=False,  # the table reports a device without a bundle
        )
        checked = []
        for bundle in sorted((folder / "dist").glob("*/*.edgerec")):
            done = subprocess.run(
                [
                    *edgerec_command,
                    "verify",
                    str(bundle),
                    *(
                        "--trust",
                        "--device",
                        bundle.parent.name,
                        "--data",
                        files[2],
                        "--model",
                        files[0],
                    ),
                ],
                check=False,
                capture_output=True,
                text=True,
            )
            verdict = "kept" if done.returncode == 0 else done.stdout.strip().splitlines()[-1]
            checked.append(f"| {bundle.parent.name} | {bundle.stem} | {verdict} |")
            console.print(checked[-1], markup=False)
        text = [
            f"Made by `python -m benchmarks.sweep`, {data.name}, on the machine that builds.",
            "",
            (folder / "dist" / "sweep.md").read_text("utf-8").strip(),
            "",
            "Measured again by `edgerec verify`:",
            "",
            "| device | target | budget |",
            "|---|---|---|",
            *checked,
        ]
        write_text(RESULTS / "sweep.md", "\n".join(text) + "\n")


if __name__ == "__main__":
    main()
