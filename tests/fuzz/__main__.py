"""Mutate files, open them, and list whatever is neither a refusal nor a sound answer.

    python -m tests.fuzz --mutations 100000 [--seconds S] [--targets onnx numpy] [--seed N]
    python -m tests.fuzz --targets onnx --replay NUMBER

It runs on Linux, because it forks, and reads and limits memory through ``/proc``. Payloads of
targets that need trust can do anything, so what comes of those is listed and does not count.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from pathlib import Path

from edgerec.contracts.host import Host
from edgerec.device.scorer import Scorer
from tests.fuzz.corpus import assemble, seeds
from tests.fuzz.mutate import mutation
from tests.fuzz.victim import Outcome, serve, try_file

#: What may come of a file.
FINE = ("refused", "answered")


def main() -> int:
    """Run; exit with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    installed = Host.installed().targets
    usable = [name for name in sorted(installed) if Host.installed().target(name).runtimes()]
    parser.add_argument("--mutations", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--targets", nargs="+", default=["model", *usable])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replay", type=int, metavar="NUMBER")
    given = parser.parse_args()
    start = time.monotonic()
    tables: dict[str, list[Outcome]] = {}
    with tempfile.TemporaryDirectory() as name:
        for place, target in enumerate(given.targets):
            folder = Path(name) / target
            folder.mkdir()
            found = seeds(target, folder)
            if given.replay is not None:
                what, content = mutation(found[given.replay % len(found)], given.replay, given.seed)
                (folder / "mutated").write_bytes(content)
                print(what, try_file(given.replay, what, folder / "mutated", target == "model"))
                continue
            if target != "model":
                # Imports the runtime, which would otherwise count as a file's memory and time.
                sound = folder / "sound"
                sound.write_bytes(assemble(found[0].kind, found[0].meta, found[0].sections))
                Scorer.open(sound, trust=True).close()
            share = given.mutations // len(given.targets)
            until = start + given.seconds * (place + 1) / len(given.targets)
            tables[target] = []
            for outcome in serve(found, list(range(share)), given.seed, folder):
                tables[target].append(outcome)
                if len(tables[target]) % 1000 == 0:
                    print(f"{target}: {len(tables[target]):,} of {share:,}", file=sys.stderr)
                if time.monotonic() > until:
                    break
    return report(tables)


def report(tables: dict[str, list[Outcome]]) -> int:
    """Print a table of what came of the files, and one line for each kind of fault."""
    verdicts = (*FINE, "foreign", "bad answer", "memory", "slow", "crash")
    print(f"| target | mutations | reached the runtime | {' | '.join(verdicts)} |")
    print("|---|--:|--:|" + "--:|" * len(verdicts))
    faults = 0
    for target, outcomes in tables.items():
        counts = collections.Counter(o.verdict for o in outcomes)
        reached = sum(o.reached for o in outcomes) / max(len(outcomes), 1)
        cells = " | ".join(f"{counts[verdict]:,}" for verdict in verdicts)
        print(f"| {target} | {len(outcomes):,} | {reached:.0%} | {cells} |")
        wrong = [o for o in outcomes if o.verdict not in FINE]
        if target == "model" or not Host.installed().targets[target].needs_trust:
            faults += len(wrong)
    print()
    for target, outcomes in tables.items():
        kinds: dict[tuple[str, str], list[Outcome]] = collections.defaultdict(list)
        for outcome in outcomes:
            if outcome.verdict not in FINE:
                kinds[outcome.verdict, outcome.detail].append(outcome)
        for (verdict, detail), found in sorted(kinds.items(), key=lambda kind: -len(kind[1])):
            example = f"{found[0].what}, --replay {found[0].number}"
            print(f"{target}: {len(found):5,} × {verdict}: {detail} ({example})")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
