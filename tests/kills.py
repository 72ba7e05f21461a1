"""Kill the commands at random moments, run them again, and compare with what nothing interrupted.

    python -m tests.kills [--kills 200] [--seed 0]

After each kill, every file that exists has to be complete, and drafts have to disappear. After a
few kills a command runs to its end, and its files have to be those of an uninterrupted run, to the
byte. It takes about an hour.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgerec.data.dataset_file import load_dataset, save_dataset
from edgerec.files.container import Container
from tests.conftest import make_dataset

DEVICE = """[device]
name = "{name}"
targets = ["numpy", "onnx"]
max_bundle_bytes = {size}
"""

#: The commands, with the folder of inputs and the folder of outputs to be filled in.
COMMANDS = {
    "data": "data {inputs}/ratings.csv -o {out}/a.dataset",
    "train": "train {inputs}/a.dataset -o {out}/a.model --epochs 12 --dim 16",
    "build": "build {inputs}/a.model --data {inputs}/a.dataset -o {out}/dist --users 50 "
    "--target numpy --target onnx --target tflite --compress quantize:codec=int8,epochs=4",
    "sweep": "sweep {inputs}/a.model --data {inputs}/a.dataset -o {out}/all --trials 5 --users 50 "
    "--device {inputs}/small.toml --device {inputs}/large.toml",
}

#: The most kills before a command may run to its end.
PATIENCE = 4


def start(command: str, inputs: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own."""
    arguments = command.format(inputs=inputs, out=out).split()
    return subprocess.Popen(
        [sys.executable, "-m", "edgerec", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(command: str, inputs: Path, out: Path) -> float:
    """Run a command to its end; return its seconds."""
    began = time.monotonic()
    process = start(command, inputs, out)
    _, said = process.communicate()
    if process.returncode:
        sys.exit(f"FAILED: {command}: {said.decode()[-2000:]}")
    return time.monotonic() - began


def digests(folder: Path) -> dict[str, str]:
    """The digest of every container in a folder."""
    kinds = {".dataset", ".model", ".edgerec"}
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.suffix in kinds and not any(part.startswith(".") for part in path.parts)
    }


def drafts(folder: Path) -> list[str]:
    """Hidden files, except the state that a command resumes from."""
    names = [str(p.relative_to(folder)) for p in folder.rglob(".*")]
    return [name for name in names if ".unfinished" not in name and ".training" not in name]


def check(folder: Path, expected: dict[str, str]) -> list[str]:
    """What is wrong after a kill."""
    wrong = []
    for name, digest in digests(folder).items():
        try:
            Container(folder / name).verify()
        except Exception as error:  # noqa: BLE001  # whatever it is, the file is broken
            wrong.append(f"{name} is broken: {error}")
        if digest != expected.get(name):
            wrong.append(f"{name} is not what an uninterrupted run writes")
    deadline = time.monotonic() + 10
    while drafts(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return wrong + [f"{name} is left over" for name in drafts(folder)]


def main() -> int:
    """Run; exit with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)  # noqa: S311  # reproducible, not secret
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        inputs = Path(name) / "inputs"
        make_inputs(inputs)
        for kind, command in COMMANDS.items():
            whole = Path(name) / f"{kind}-whole"
            whole.mkdir()
            seconds = finish(command, inputs, whole)
            expected = digests(whole)
            done = rounds = 0
            while done < given.kills // len(COMMANDS):
                out = Path(name) / f"{kind}-{rounds}"
                out.mkdir()
                rounds += 1
                for _ in range(PATIENCE):
                    process = start(command, inputs, out)
                    try:
                        process.wait(rng.uniform(0.2, 1.05) * seconds)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        done += 1
                    process.communicate()
                    wrong += [f"{kind}, kill {done}: {what}" for what in check(out, expected)]
                finish(command, inputs, out)
                if digests(out) != expected:
                    wrong.append(f"{kind}, round {rounds}: the resumed run wrote something else")
                wrong += [f"{kind}, at the end: {what}" for what in check(out, expected)]
                left = [n for n in ("dist/.unfinished",) if (out / n).exists()]
                wrong += [f"{kind}, at the end: {what} is left over" for what in left]
            print(
                f"{kind}: {done} kills in {rounds} rounds, {len(wrong)} faults so far", flush=True
            )
    print("\n".join(wrong) or "nothing broken, nothing left over, the same bytes")
    return 1 if wrong else 0


def make_inputs(folder: Path) -> None:
    """Interactions as text, a dataset, a model of it, and two devices."""
    folder.mkdir()
    dataset = make_dataset(users=300, items=200)
    rows = zip(dataset.train.users, dataset.train.items, dataset.train.timestamps, strict=True)  # type: ignore[arg-type]  # it has timestamps
    lines = [f"u{user},i{item},{int(time_)}" for user, item, time_ in rows]
    (folder / "ratings.csv").write_text("\n".join(["user,item,timestamp", *lines]) + "\n")
    split = dataset.split_random(0.2).split_random(0.2, part="valid")
    save_dataset(split, folder / "a.dataset")
    assert load_dataset(folder / "a.dataset")
    finish("train {inputs}/a.dataset -o {out}/a.model --epochs 2 --dim 32", folder, folder)
    for name, size in (("small", 22_000), ("large", 60_000)):
        (folder / f"{name}.toml").write_text(DEVICE.format(name=name, size=size))


if __name__ == "__main__":
    sys.exit(main())
