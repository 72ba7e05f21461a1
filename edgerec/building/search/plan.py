"""Plan: search for the chain of compressors with the best quality inside a device's budget.

A study (Optuna's, resumable, shared by all machines that reach its storage) considers ordered
chains of installed compressors. Sizes are computed rather than tried, so a chain that cannot fit
is never run. The best chain that fits is built and verified on the written file.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgerec.building.build import Built
from edgerec.building.fidelity import judged_by, learnable
from edgerec.building.search.chains import Tried
from edgerec.building.search.choice import Choice
from edgerec.building.search.sampler import digest_of, open_study, run_study, search_spaces
from edgerec.building.search.sizes import fixed_parts
from edgerec.building.search.trials import Search
from edgerec.contracts.compressor import Progress, no_progress
from edgerec.contracts.device import Device
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluation_users
from edgerec.errors import BudgetError, EdgerecError, OptionError
from edgerec.model.device_model import DeviceModel

__all__ = ["Plan", "explore", "plan"]


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
    host: Host,
    top_k: int,
    allow_pruning_items: bool,
    trial_seconds: float | None,
) -> tuple[Search, list[Tried]]:
    """Run a study, or resume it; arguments and errors are those of ``plan``."""
    for package in ("optuna", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise OptionError(f"plan: needs {package}; pip install 'edgerec[plan]'")
    for name, value in (("trials", trials), ("max_steps", max_steps)):
        if value < 1:
            raise OptionError(f"plan.{name}: expected at least 1, got {value}")
    if trial_seconds is not None and not trial_seconds > 0:
        raise OptionError(f"plan.trial_seconds: expected more than 0, got {trial_seconds:g}")
    spaces = search_spaces(host, learns=learnable(dataset) is not None)
    evaluation_users(dataset)  # fails now instead of after the search
    folder.mkdir(parents=True, exist_ok=True)
    search = Search(
        *(model, dataset, device, tuple(targets or ()), users, seed, host),
        top_k=top_k,
        allow_pruning_items=allow_pruning_items,
        trial_seconds=trial_seconds,
    )
    setting = {
        "model": digest_of(*(a for t in model.tables.values() for a in t.arrays.values())),
        "dataset": digest_of(dataset.train.indptr, dataset.train.items),
        "device": asdict(device),
        "compressors": spaces,
        **{"seed": seed, "users": users, "max_steps": max_steps, "targets": targets},
        **{"top_k": top_k, "allow_pruning_items": allow_pruning_items},
    }
    url = storage or f"sqlite:///{folder.resolve() / 'study.db'}"
    with open_study(url, study or device.name, setting, shared=storage is not None) as opened:
        return search, run_study(opened, search, spaces, max_steps, trials, seed, progress)


@dataclass(frozen=True)
class Plan:
    """What a search found: the chosen chain, its verified bundles, and everything tried."""

    device: Device
    chosen: Tried
    built: Sequence[Built]
    tried: Sequence[Tried]
    report: Path


def plan(
    model: DeviceModel,
    dataset: Dataset | None,
    device: Device,
    *,
    folder: str | Path,
    targets: Sequence[str] | None = None,
    trials: int = 30,
    max_steps: int = 3,
    storage: str | None = None,
    study: str | None = None,
    seed: int = 0,
    users: int | None = 10_000,
    top_k: int = 50,
    allow_pruning_items: bool = False,
    trial_seconds: float | None = None,
    progress: Progress = no_progress,
    host: Host | None = None,
) -> Plan:
    """Find the smallest bundle whose quality is within noise of the best, inside a budget.

    Chains are compared on the data set's validation interactions, on which the model must not have
    been trained. Test interactions only measure the files that are written in the end. Called
    again with the same arguments, an interrupted search resumes; called with more trials, it
    continues.

    Without a data set, quality is not measured. Chains are compared by their lists for random
    histories of the model's items: the smallest that keeps 95 % of the uncompressed model's top 20
    is built or, if none does, the one that keeps most. What trains is left out.

    Args:
        model: the uncompressed model.
        dataset: with validation and test interactions, or none.
        device: the device whose budget to keep.
        folder: the folder for the bundles, ``report.json``, ``pareto.png``, ``pareto.html`` and,
            by default, the study.
        targets: names of targets, each of which must keep the budget. By default the device's
            are tried, and those bundles that keep the budget remain.
        trials: the number of different chains that are run. Those that cannot fit, or would undo
            their own work, are known without a run and do not count.
        max_steps: the length of the longest chain.
        storage: any URL that Optuna accepts, to share the study among machines; a SQLite file by
            default.
        study: the name of the study; the device's by default.
        seed: the seed of every random choice.
        users: the number of validation users to compare chains on; none means all. Written files
            are measured on all test users. Of random histories, there are at most 1,000.
        top_k: the maximum number of recommendations that a bundle can be asked for.
        allow_pruning_items: whether a chain may take items out of the catalogue.
        trial_seconds: the time after which a chain that trains is stopped, at the next report of
            its progress; none means no limit.
        progress: called with (done, total, what).
        host: the plugins to search with; the installed ones by default.

    Raises:
        BudgetError: nothing keeps the budget; the message names the binding limit, what was
            measured, and the nearest budget that works.
        OptionError: an argument is wrong, the study belongs to another search, or the budget limits
            quality and there is no data set.
        DataError: there are no validation interactions, or the model may have been trained on them.
        TargetError: no target takes any of the models.
    """
    folder = Path(folder)
    data = judged_by(model, dataset, device, users, seed)
    if not allow_pruning_items:
        _check_fixed(model, device)
    search, tried = explore(
        model,
        data,
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
        host=host or Host.installed(),
        top_k=top_k,
        allow_pruning_items=allow_pruning_items,
        trial_seconds=trial_seconds,
    )
    choice = Choice(search, data, folder, top_k, progress)
    try:
        attempt = choice.make(tried)
    except EdgerecError as error:
        choice.write(tried, None, str(error))
        raise
    report = choice.write(tried, attempt)
    progress(1, 1, "done")
    return Plan(device, attempt.tried, attempt.built, [*tried, *choice.faster], report)


def _check_fixed(model: DeviceModel, device: Device) -> None:
    """Check that what no compressor changes fits.

    Raises:
        BudgetError: it does not; the message has the exact bytes.
    """
    limit, fixed = device.budget.max_bundle_bytes, fixed_parts(model)
    if limit is not None and limit < sum(fixed.values()):
        parts = ", ".join(f"{part} {size:,}" for part, size in fixed.items() if size)
        raise BudgetError(
            f"{device.name}: budget.max_bundle_bytes: what no compressor changes takes "
            f"{sum(fixed.values()):,} bytes ({parts}), the limit is {limit:,}; raise it, or use "
            "shorter ids, no titles, or fewer items"
        )
