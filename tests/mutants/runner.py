"""Run the tests of a mutant in a copy of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import Mutant

__all__ = ["Copy", "Result"]

ROOT = Path(__file__).parents[2]

#: Seconds after which tests count as failed, because a fault may keep them from ending.
SECONDS = 600


@dataclass(frozen=True)
class Result:
    """What came of a mutant: ``killed``, ``survived``, or why it could not be tried."""

    mutant: Mutant
    verdict: str
    seconds: float


class Copy:
    """A copy of the checkout that is mutated instead of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)

    def passes(self, tests: tuple[str, ...]) -> bool:
        """Whether tests pass here, with the packages of this copy."""
        places = [self.folder, self.folder / "plugins", self.folder / "targets"]
        variables = {"PYTHONPATH": os.pathsep.join(map(str, places)), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=os.environ | variables,
                capture_output=True,
                check=False,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def imports_itself(self) -> bool:
        """Whether the tests of this copy test this copy."""
        probe = self.folder / "tests" / "test_probe.py"
        probe.write_text(
            "import edgerec, edgerec_pq, edgerec_numpy\n"
            "def test_it():\n"
            "    for module in (edgerec, edgerec_pq, edgerec_numpy):\n"
            f"        assert module.__file__.startswith({str(self.folder)!r})\n"
        )
        found = self.passes(("tests/test_probe.py",))
        probe.unlink()
        return found

    def try_mutant(self, mutant: Mutant) -> Result:
        """Introduce a fault, run its tests, and take it back."""
        path = self.folder / mutant.path
        text = path.read_text("utf-8")
        if text.count(mutant.old) != 1:
            return Result(mutant, f"its text occurs {text.count(mutant.old)} times", 0)
        start = time.monotonic()
        path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
        try:
            verdict = "survived" if self.passes(mutant.tests) else "killed"
        finally:
            path.write_text(text, "utf-8")
        return Result(mutant, verdict, time.monotonic() - start)
