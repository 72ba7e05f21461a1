"""Sweep: one search for many devices, and for each the best bundles inside its budget.

What a chain keeps of the quality, and how many bytes it takes, do not depend on the device, so one
study serves all of them. Choosing, building and verifying are done per device.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgerec.building.build import Built
from edgerec.building.fidelity import check_inputs
from edgerec.building.search.choice import Choice
from edgerec.building.search.plan import explore
from edgerec.building.search.trials import check_targets
from edgerec.contracts.compressor import Progress, no_progress
from edgerec.contracts.device import Budget, Device
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.errors import BudgetError, OptionError, TargetError
from edgerec.files.atomic import write_text
from edgerec.model.device_model import DeviceModel

__all__ = ["Swept", "markdown", "roomiest", "sweep"]


@dataclass(frozen=True)
class Swept:
    """The result for one device.

    Args:
        device: the device.
        chain: the chosen chain, in the form of ``edgerec build --compress``.
        built: its bundles, each inside the budget as measured on the file.
        error: why there are no bundles.
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
    users: int | None = 10_000,
    top_k: int = 50,
    allow_pruning_items: bool = False,
    trial_seconds: float | None = None,
    progress: Progress = no_progress,
    host: Host | None = None,
) -> list[Swept]:
    """Build for several devices with one search.

    Args:
        model: the uncompressed model.
        dataset: with held-out interactions.
        devices: the devices, with different names.
        folder: the folder for the study, ``sweep.json`` and ``sweep.md``, and for a subfolder per
            device with its bundles, ``report.json`` and pictures.
        trials: the number of different chains in the study.
        max_steps: the length of the longest chain.
        storage: as for ``plan``.
        seed: the seed of every random choice.
        users: the number of validation users to compare chains on; none means all.
        top_k: the maximum number of recommendations that a bundle can be asked for.
        allow_pruning_items: whether a chain may take items out of the catalogue.
        trial_seconds: as for ``plan``.
        progress: called with (done, total, what).
        host: the plugins to search with; the installed ones by default.

    Raises:
        OptionError: there is no device, two have the same name, or the model reads what histories
            do not have. A budget that cannot be kept is not an error here; that device's row says
            so.
    """
    host = host or Host.installed()
    names = [device.name for device in devices]
    if not devices or len(set(names)) < len(names):
        raise OptionError(f"sweep: expected devices of different names, got {names or 'none'}")
    check_inputs(model, dataset)
    for device in devices:
        check_targets(device, host)
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
        host=host,
        top_k=top_k,
        allow_pruning_items=allow_pruning_items,
        trial_seconds=trial_seconds,
    )
    found: list[Swept] = []
    for number, device in enumerate(devices):
        progress(number, len(devices), f"building for {device.name}")
        mine = folder / device.name
        mine.mkdir(exist_ok=True)
        choice = Choice(search.on(device), dataset, mine, top_k, no_progress)
        try:
            attempt = choice.make(tried)
        except (BudgetError, TargetError) as error:
            choice.write(tried, None, str(error))
            found.append(Swept(device, error=str(error)))
        else:
            choice.write(tried, attempt)
            found.append(Swept(device, attempt.tried.label, attempt.built))
        # Written after each device, so that an interrupted sweep leaves its results.
        write_text(folder / "sweep.json", json.dumps([_row(s) for s in found], indent=1) + "\n")
        write_text(folder / "sweep.md", markdown(found))
    progress(len(devices), len(devices), "done")
    return found


def roomiest(devices: Sequence[Device]) -> Device:
    """A device for the search, which any chain fits that fits one of the given devices."""
    limits = [d.budget.max_bundle_bytes for d in devices]
    budget = Budget(max_bundle_bytes=None if None in limits else max(n for n in limits if n))
    targets: dict[str, None] = {}
    for device in devices:
        targets |= dict.fromkeys(device.targets)
    return Device("sweep", budget, tuple(targets) if all(d.targets for d in devices) else ())


def _row(swept: Swept) -> dict[str, Any]:
    """The result for one device as JSON values."""
    return {
        "device": swept.device.name,
        "budget": asdict(swept.device.budget),
        "chain": swept.chain,
        "error": swept.error,
        "bundles": [{"target": b.target, **b.figures.to_json()} for b in swept.built],
    }


def markdown(found: Sequence[Swept]) -> str:
    """A table with one row per bundle, showing each figure with its limit."""
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
            f = built.figures.to_json()
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
