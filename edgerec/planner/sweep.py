"""Sweep: one search for many devices, and for each the best bundles inside its budget.

What a chain keeps of the quality and how many bytes it takes do not depend on the device, so
one study serves all of them; choosing, building and verifying are each device's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgerec.atomic import write_text
from edgerec.compressor import no_progress
from edgerec.data import Dataset
from edgerec.device import Budget, Device
from edgerec.device_model import DeviceModel
from edgerec.errors import BudgetError, OptionError, TargetError
from edgerec.planner import explore
from edgerec.planner.search import check_targets
from edgerec.planner.verify import Final
from edgerec.recipe import Built

__all__ = ["Swept", "markdown", "sweep"]


@dataclass(frozen=True)
class Swept:
    """What came of one device.

    Args:
        device: the device.
        chain: the chain that was chosen, as ``edgerec build --compress`` takes it.
        built: its bundles, each inside the budget as measured on the file.
        error: why there are none.
    """

    device: Device
    chain: str | None = None
    built: Sequence[Built] = ()
    error: str | None = None


def sweep(
    model: DeviceModel,
    dataset: Dataset,
    devices: Sequence[Device],
    *,
    folder: str | Path,
    trials: int = 30,
    max_steps: int = 3,
    storage: str | None = None,
    seed: int = 0,
    users: int | None = 1000,
    top_k: int = 50,
    progress: Callable[[int, int, str], None] = no_progress,
) -> list[Swept]:
    """Build for several devices out of one search.

    Args:
        model: the uncompressed model.
        dataset: with held-out interactions.
        devices: of different names.
        folder: gets a folder a device (bundles, ``report.json``, pictures), the study, and
            ``sweep.json`` and ``sweep.md``.
        trials: how many different chains the study should hold.
        max_steps: the longest chain.
        storage: as for ``plan``.
        seed: of every random choice.
        users: how many validation users to compare chains on; None for all.
        top_k: the most recommendations that a bundle can be asked for.
        progress: called with (done, total, what).

    Raises:
        OptionError: no device, or two of one name. A budget that cannot be kept is no error
            here: it is told in that device's row.
    """
    names = [device.name for device in devices]
    if not devices or len(set(names)) < len(names):
        raise OptionError(f"sweep: expected devices of different names, got {names or 'none'}")
    for device in devices:
        check_targets(device)
    folder = Path(folder)
    search, tried = explore(
        model,
        dataset,
        roomiest(devices),
        folder=folder,
        targets=None,
        trials=trials,
        max_steps=max_steps,
        storage=storage,
        study=None,
        seed=seed,
        users=users,
        progress=progress,
    )
    found: list[Swept] = []
    for number, device in enumerate(devices):
        progress(number, len(devices), f"building for {device.name}")
        mine = folder / device.name
        mine.mkdir(exist_ok=True)
        final = Final(search.on(device), dataset, mine, top_k, no_progress)
        try:
            attempt = final.choose(tried)
        except (BudgetError, TargetError) as error:
            final.write(tried, None, str(error))
            found.append(Swept(device, error=str(error)))
        else:
            final.write(tried, attempt)
            found.append(Swept(device, attempt.tried.label, attempt.built))
        # After each device, so that an interrupted sweep shows what it has.
        write_text(folder / "sweep.json", json.dumps([row(s) for s in found], indent=1) + "\n")
        write_text(folder / "sweep.md", markdown(found))
    progress(len(devices), len(devices), "done")
    return found


def roomiest(devices: Sequence[Device]) -> Device:
    """A device that any chain fits which fits one of these: the search's."""
    limits = [d.budget.max_bundle_bytes for d in devices]
    budget = Budget(max_bundle_bytes=None if None in limits else max(n for n in limits if n))
    targets: dict[str, None] = {}
    for device in devices:
        targets |= dict.fromkeys(device.targets)
    return Device("sweep", budget, tuple(targets) if all(d.targets for d in devices) else ())


def row(swept: Swept) -> dict[str, Any]:
    """One device as JSON values."""
    return {
        "device": swept.device.name,
        "budget": asdict(swept.device.budget),
        "chain": swept.chain,
        "error": swept.error,
        "bundles": [{"target": b.target, **b.figures} for b in swept.built],
    }


def markdown(found: Sequence[Swept]) -> str:
    """A row a bundle: the figure and the limit it keeps."""
    lines = [
        "| device | target | chain | bytes (≤) | NDCG@20 kept (≥) | overlap | p95 ms (≤) "
        "| peak MB (≤) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for swept in found:
        budget = swept.device.budget
        if swept.error:
            lines.append(f"| {swept.device.name} | none: {swept.error} | | | | | | |")
        for built in swept.built:
            f = built.figures
            lines.append(
                f"| {swept.device.name} | {built.target} | {swept.chain or 'as it is'} "
                f"| {f['bundle_bytes']:,} ({_limit(budget.max_bundle_bytes, 1, ',.0f')}) "
                f"| {f['quality']:.1%} ({_limit(budget.min_quality, 1, '.0%')}) "
                f"| {f['overlap']:.3f} "
                f"| {f['p95_ms']:.1f} ({_limit(budget.max_p95_ms, 1, '.0f')}) "
                f"| {f['peak_rss_bytes'] / 1e6:.0f} "
                f"({_limit(budget.max_peak_rss_bytes, 1e6, '.0f')}) |"
            )
    return "\n".join(lines) + "\n"


def _limit(value: float | None, unit: float, form: str) -> str:
    return "–" if value is None else f"{value / unit:{form}}"
