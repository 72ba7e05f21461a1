"""Faults drawn by a library: Cosmic Ray's operators, applied to the core."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from tests.mutants.mutant import Mutant

__all__ = ["draw"]

#: What is mutated, each with the tests that mirror it.
PLACES = {
    "edgerec/model": (
        *("tests/model", "tests/device", "tests/contracts"),
        "tests/exporting/test_targets.py",
    ),
    "edgerec/files": ("tests/files", "tests/contracts"),
    "edgerec/device/scorer.py": ("tests/device",),
    "edgerec/device/arguments.py": ("tests/device",),
    "edgerec/exporting/proof.py": ("tests/exporting", "tests/test_bad_plugins.py"),
    "edgerec/data/metrics.py": ("tests/data/test_metrics.py", "tests/building"),
    "targets/edgerec_numpy": ("tests/exporting/test_targets.py", "tests/plugins/test_pq.py"),
}

#: How lines start that do not run, or say what a message says.
IGNORED = ("#", "def ", "class ", "from ", "import ", "raise ", "__all__", "@", '"', 'f"', "r'")


def draw(root: Path, count: int, seed: int) -> Iterator[Mutant]:
    """Draw faults, each a change of one line that runs."""
    rng = random.Random(seed)  # noqa: S311  # reproducible, not secret
    files = [
        (path, tests)
        for place, tests in PLACES.items()
        for path in sorted((root / place).rglob("*.py")) or [root / place]
    ]
    # An operator on types, as in `int | None`, changes nothing that runs; one on variables has to
    # be told which of them.
    names = sorted(n for n in operator_names() if "BitOr" not in n and "Variable" not in n)
    found: set[str] = set()
    while len(found) < count:
        path, tests = rng.choice(files)
        text = path.read_text("utf-8")
        name = rng.choice(names)
        changed = mutate_code(text, get_operator(name)(), rng.randrange(40))
        if changed is None or changed in found:
            continue
        lines = zip(text.splitlines(), changed.splitlines(), strict=False)
        old, new = next(pair for pair in lines if pair[0] != pair[1])
        if old.strip().startswith(IGNORED) or "->" in old or ": " in old.partition("=")[0]:
            continue
        found.add(changed)
        where = path.relative_to(root)
        what = f"{where}: {old.strip()} → {new.strip()}"
        yield Mutant(what, str(where), text, changed, tests)
