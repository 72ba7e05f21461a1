"""Plan: search the chains of compressors for the best quality inside a device's budget.

A study (Optuna's, resumable, shared by as many machines as reach its storage) looks at
ordered chains of installed compressors. Sizes are computed, not tried: a chain that cannot
fit is never run. The best chain that fits is built, and verified on the written file.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgerec.compressor import no_progress
from edgerec.data import Dataset
from edgerec.device import Device
from edgerec.device_model import DeviceModel
from edgerec.errors import EdgerecError, OptionError
from edgerec.planner.pareto import Tried
from edgerec.planner.search import Search, search_spaces
from edgerec.planner.study import digest_of, open_study, run_study
from edgerec.planner.verify import Final
from edgerec.quality import evaluation_users
from edgerec.recipe import Built

__all__ = ["Plan", "plan", "search_spaces"]

Progress = Callable[[int, int, str], None]


def explore(
    model: DeviceModel,
    dataset: Dataset,
    device: Device,
    *,
    folder: Path,
    targets: Sequence[str] | None,
    trials: int,
    max_steps: int,
    storage: str | None,
    study: str | None,
    seed: int,
    users: int | None,
    progress: Progress,
) -> tuple[Search, list[Tried]]:
    """Run a study, or go on with it; arguments and errors as of ``plan``."""
    for package in ("optuna", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise OptionError(f"plan: needs {package}; pip install 'edgerec[plan]'")
    for name, value in (("trials", trials), ("max_steps", max_steps)):
        if value < 1:
            raise OptionError(f"plan.{name}: expected at least 1, got {value}")
    spaces = search_spaces()
    evaluation_users(dataset)  # fails now, not after the search
    folder.mkdir(parents=True, exist_ok=True)
    search = Search(model, dataset, device, tuple(targets or ()), users, seed)
    setting = {
        "model": digest_of(*(a for t in model.tables.values() for a in t.arrays.values())),
        "dataset": digest_of(dataset.train.indptr, dataset.train.items),
        "device": asdict(device),
        "compressors": spaces,
        **{"seed": seed, "users": users, "max_steps": max_steps, "targets": targets},
    }
    url = storage or f"sqlite:///{folder.resolve() / 'study.db'}"
    with open_study(url, study or device.name, setting, spaces) as opened:
        return search, run_study(opened, search, spaces, max_steps, trials, seed, progress)


@dataclass(frozen=True)
class Plan:
    """What a search found: the chain, its verified bundles, and all that was tried."""

    device: Device
    chosen: Tried
    built: Sequence[Built]
    tried: Sequence[Tried]
    report: Path


def plan(
    model: DeviceModel,
    dataset: Dataset,
    device: Device,
    *,
    folder: str | Path,
    targets: Sequence[str] | None = None,
    trials: int = 30,
    max_steps: int = 3,
    storage: str | None = None,
    study: str | None = None,
    seed: int = 0,
    users: int | None = 1000,
    top_k: int = 50,
    progress: Progress = no_progress,
) -> Plan:
    """Find the chain that keeps the most quality inside a budget, and build it.

    Chains are compared on validation interactions, a fifth of each user's training
    history, the latest one for a model with recency; test interactions measure only the
    files that are written in the end. Called again with the same arguments, a search that
    was interrupted goes on where it stopped; with more trials, it goes on from there.

    Args:
        model: the uncompressed model.
        dataset: with held-out interactions.
        device: whose budget to keep.
        folder: for the bundles, ``report.json``, ``pareto.png``, ``pareto.html`` and, by
            default, the study.
        targets: names; every one of them has to keep the budget. By default those of the
            device, of which the bundles that keep the budget are left.
        trials: how many different chains the study should hold.
        max_steps: the longest chain.
        storage: any URL that Optuna takes, for many machines; a SQLite file by default.
        study: its name; the device's by default.
        seed: of every random choice.
        users: how many validation users to compare chains on; None for all. What is written
            is measured on all test users.
        top_k: the most recommendations that a bundle can be asked for.
        progress: called with (done, total, what).

    Raises:
        BudgetError: nothing keeps the budget; the message names the binding limit, what was
            measured, and the nearest budget that works.
        OptionError: an argument is wrong, or the study is one of something else.
        TargetError: no target takes any of the models.
    """
    folder = Path(folder)
    search, tried = explore(
        model,
        dataset,
        device,
        folder=folder,
        targets=targets,
        trials=trials,
        max_steps=max_steps,
        storage=storage,
        study=study,
        seed=seed,
        users=users,
        progress=progress,
    )
    final = Final(search, dataset, folder, top_k, progress)
    try:
        attempt = final.choose(tried)
    except EdgerecError as error:
        final.write(tried, None, str(error))
        raise
    report = final.write(tried, attempt)
    progress(1, 1, "done")
    return Plan(device, attempt.tried, attempt.built, tried, report)
