"""Introduce small faults, one at a time, and see whether the suite notices.

    python -m tests.mutants [--only TEXT ...] [--drawn 40] [--seed 0] [--list]

It takes an hour. A fault that survives needs a test, or a reason in ``catalogue.REASONS``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.mutants.catalogue import CATALOGUE, REASONS
from tests.mutants.runner import ROOT, Copy, Result


def main() -> int:
    """Run; exit with 1 if a fault survives without a reason."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="faults whose name has a text")
    parser.add_argument("--drawn", type=int, default=40, help="the number that a library draws")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    mutants = list(CATALOGUE)
    if given.drawn:
        from tests.mutants.drawn import draw

        mutants += draw(ROOT, given.drawn, given.seed)
    if given.only:
        mutants = [m for m in mutants if any(text in m.name for text in given.only)]
    if given.list:
        print("\n".join(m.name for m in mutants))
        return 0
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        if not copy.imports_itself():
            sys.exit("the copy imports another edgerec")
        for tests in sorted({m.tests for m in mutants}):
            if not copy.passes(tests):
                sys.exit(f"these fail without a fault: {' '.join(tests)}")
        for number, mutant in enumerate(mutants, 1):
            results.append(result := copy.try_mutant(mutant))
            print(
                f"{number}/{len(mutants)} {result.verdict} ({result.seconds:.0f} s): {mutant.name}",
                flush=True,
            )
    left = [r for r in results if r.verdict != "killed"]
    print(f"\n{len(results) - len(left)} of {len(results)} killed")
    for result in left:
        reason = _reason(result) or "no reason is written"
        print(f"{result.verdict}: {result.mutant.name}: {reason}")
    return 1 if any(_reason(result) is None for result in left) else 0


def _reason(result: Result) -> str | None:
    """Why a fault that survives is none."""
    return next((w for start, w in REASONS.items() if result.mutant.name.startswith(start)), None)


if __name__ == "__main__":
    sys.exit(main())
