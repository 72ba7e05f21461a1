"""Run scenarios, and write their tables into their READMEs and the summary of all.

    python -m examples.run NAME|--all [--data FOLDER] [--seeds 0 1 2] [--out FOLDER]

FOLDER has one folder of data per scenario, as the READMEs describe. Each table is the mean over
seeds ± half the range.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import time
from pathlib import Path

from examples.summary import NAMES, summarize
from examples.table import table

HERE = Path(__file__).parent

_TABLE = re.compile(r"(<!-- table -->\n)(.*?)<!-- end -->", re.DOTALL)


def run(name: str, data: Path, seeds: list[int], out: Path) -> str:
    """Run a scenario for each seed; return its table."""
    module = importlib.import_module(f"examples.{name}.scenario")
    out.mkdir(parents=True, exist_ok=True)
    start = time.process_time()
    runs = []
    for seed in seeds:
        runs.append(module.run(data, seed, out))
        print(f"{name}, seed {seed}:\n{table(runs[-1:])}", flush=True)
    spent = time.process_time() - start
    return f"{table(runs)}\n\n{len(seeds)} seeds, {spent:.0f} s of CPU time."


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES, help="the scenario")
    parser.add_argument("--all", action="store_true", help="every scenario")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("examples-out"), help="folder to write")
    arguments = parser.parse_args()
    if (arguments.name is None) != arguments.all:
        parser.error("name a scenario, or pass --all")
    for name in NAMES if arguments.all else (arguments.name,):
        found = run(name, arguments.data, arguments.seeds, arguments.out)
        print(f"{name}\n\n{found}\n")
        readme = HERE / name / "README.md"
        text = readme.read_text("utf-8")
        start, end = _TABLE.search(text).span(2)  # type: ignore[union-attr]  # a test checks it
        readme.write_text(f"{text[:start]}\n{found}\n\n{text[end:]}", "utf-8")
        for picture in arguments.out.glob(f"{name}-*.png"):
            shutil.copyfile(picture, HERE / name / picture.name)
        known = [one for one in NAMES if (HERE / one / "README.md").exists()]
        (HERE / "README.md").write_text(summarize(known, HERE), "utf-8")


if __name__ == "__main__":
    main()
