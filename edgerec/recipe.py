"""Build: a model, a chain of compressors, targets and a device give verified bundles."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.bench import measure
from edgerec.bundle import Bundle
from edgerec.compressor import Compressor, Context, Step, no_progress
from edgerec.compressor import compress as run_chain
from edgerec.data import Dataset
from edgerec.device import Device, load_device
from edgerec.device_model import DeviceModel
from edgerec.errors import BudgetError, DataError, OptionError, TargetError
from edgerec.host import host
from edgerec.options import parse_spec
from edgerec.quality import Quality, evaluate, evaluation_users, match_rows, quality_of
from edgerec.target import Target, check_takes, export

__all__ = [
    "Builds",
    "Built",
    "Recipe",
    "build",
    "compress",
    "find_device",
    "histories_of",
    "load_recipe",
    "verify",
    "with_quality",
]


@dataclass(frozen=True)
class Recipe:
    """What to build.

    Args:
        compress: compressors in order, each (name, options).
        targets: names of targets; empty means all that the device has, or all installed.
        device: whose budget to keep, or none.
        top_k: the most recommendations that a bundle can be asked for.

    Raises:
        OptionError: a target is given twice.
    """

    compress: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    targets: tuple[str, ...] = ()
    device: Device | None = None
    top_k: int = 50

    def __post_init__(self) -> None:
        for name in self.targets:
            if self.targets.count(name) > 1:
                raise OptionError(f"targets: {name} is given twice")


@dataclass(frozen=True)
class Built:
    """One bundle that was written, with what was measured on the file."""

    target: str
    path: Path
    figures: Mapping[str, Any]
    steps: Sequence[Step] = field(default_factory=list)


class Builds(list[Built]):
    """Bundles that were written, and why there is none of a target that nobody asked for by name.

    Attributes:
        left_out: target to reason.
    """

    def __init__(self, built: Iterable[Built], left_out: Mapping[str, str]) -> None:
        super().__init__(built)
        self.left_out = dict(left_out)


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    ::

        device = "pixel-6a"          # a name, or a profile's path
        targets = ["tflite"]
        top_k = 50

        [[compress]]
        name = "quantize"
        codec = "int8"

    Raises:
        OptionError: the file cannot be read, or a key is unknown or of the wrong type.
    """
    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise OptionError(f"{path}: no such recipe") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise OptionError(f"{path}: not a TOML file: {error}") from None
    if unknown := sorted(set(content) - {"device", "targets", "top_k", "compress"}):
        raise OptionError(
            f"{path}: unknown key {', '.join(unknown)}; keys: device, targets, top_k, compress"
        )
    steps, targets = content.get("compress", []), content.get("targets", [])
    if not isinstance(steps, list) or not all(isinstance(s, dict) and "name" in s for s in steps):
        raise OptionError(f"{path}: compress: expected [[compress]] tables with a name")
    if not isinstance(targets, list) or not all(isinstance(t, str) for t in targets):
        raise OptionError(f"{path}: targets: expected a list of names, got {targets!r}")
    top_k = content.get("top_k", 50)
    if type(top_k) is not int:
        raise OptionError(f"{path}: top_k: expected an integer, got {top_k!r}")
    return Recipe(
        tuple((str(s["name"]), {k: v for k, v in s.items() if k != "name"}) for s in steps),
        tuple(targets),
        find_device(str(content["device"])) if "device" in content else None,
        top_k,
    )


def find_device(name: str) -> Device:
    """Return a device by its name, or from a profile's path ending in ``.toml``."""
    return load_device(name) if name.endswith(".toml") else host().device(name)


def compress(
    model: DeviceModel,
    *chain: str | Compressor,
    dataset: Dataset | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = no_progress,
    checkpoint: str | Path | None = None,
) -> DeviceModel:
    """Apply compressors in order: ``compress(model, "prune:share=0.8", "quantize")``.

    With ``checkpoint``, a folder, a step that trains keeps its state there after each epoch,
    and goes on from it when it is called again after an interruption; when the last step has
    ended, the states are removed.

    Raises:
        UnknownNameError, OptionError: a name or an option is wrong.
        CompressError: a step failed or had no effect.
    """
    made = [_compressor(*parse_spec(c)) if isinstance(c, str) else c for c in chain]
    folder = None if checkpoint is None else Path(checkpoint)
    context = Context(dataset, seed, progress, folder)
    small, _ = run_chain(model, made, context)
    context.clear()
    return small


def build(
    model: DeviceModel,
    dataset: Dataset,
    recipe: Recipe,
    folder: str | Path,
    *,
    users: int | None = 1000,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = no_progress,
) -> Builds:
    """Compress a model, export it to each target, and measure every written file.

    A bundle is measured in a fresh process in its real runtime, over the histories of
    test users; all take their places as ``folder/<target>.edgerec`` when each keeps the
    device's budget, and none does otherwise. What compressors have trained is kept until then,
    in ``folder/.unfinished``: interrupted, or refused by the budget, the same chain goes on
    from its last epoch.

    Args:
        model: the uncompressed model, which quality is compared with.
        dataset: with held-out interactions.
        recipe: what to build.
        folder: where the bundles go.
        users: how many test users to measure on; None for all.
        seed: for the choice of users and for compressors.
        progress: called with (done, total, what).

    Raises:
        BudgetError: a bundle is over budget; the message gives limits and figures.
        TargetError: a target refuses the model or fails; for a recipe that names no targets,
            those that do, or lack a runtime here, are left out, and all of them is an error.
        OptionError: the folder is a file, or top_k is not positive.
    """
    chain = [_compressor(name, options) for name, options in recipe.compress]
    if recipe.top_k < 1:
        raise OptionError(f"top_k: expected at least 1, got {recipe.top_k}")
    chosen = evaluation_users(dataset, users, seed)
    match_rows(model, dataset)  # another catalogue's model fails now
    names = (
        recipe.targets or (recipe.device.targets if recipe.device else ()) or tuple(host().targets)
    )
    asked = [host().target(name) for name in names]
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder}: is a file; name a folder for the bundles")
    # What refuses is known before anything is trained, where the tables' form is.
    if (outline := _outline(model, chain)) is not None:
        _takers(asked, outline, recipe)
    total = 2 + len(asked)
    progress(0, total, "compressing")
    # No compressor sees what its result is measured on.
    unseen = replace(dataset, test=None)
    context = Context(
        unseen,
        seed,
        lambda done, of, what: progress(0, total, f"compressing: {what} ({done} of {of})"),
        folder / ".unfinished",
    )
    small, steps = run_chain(model, chain, context)
    progress(1, total, "evaluating")
    before = evaluate(model, dataset, users=chosen)
    for table in model.tables.values():
        table.release()
    folder.mkdir(parents=True, exist_ok=True)
    built: list[Built] = []
    takers, left_out = _takers(asked, small, recipe)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as drafts:
        for number, target in enumerate(takers, 2):
            progress(number, total, f"exporting to {target.name}")
            path = Path(drafts) / f"{target.name}.edgerec"
            try:
                made = _build_one(small, before, dataset, chosen, target.name, recipe, path, steps)
            except TargetError as error:
                if recipe.targets:
                    raise
                left_out[target.name] = str(error)
            else:
                built.append(made)
        if not built:
            raise _none_takes(left_out)
        # All of them or none.
        built = [replace(one, path=one.path.replace(folder / one.path.name)) for one in built]
    context.clear()
    progress(total, total, "done")
    return Builds(built, left_out)


def _takers(
    targets: Sequence[Target], model: DeviceModel, recipe: Recipe
) -> tuple[list[Target], dict[str, str]]:
    """Targets that take a model, and why the others do not.

    Raises:
        TargetError: the recipe names one that does not, or there is none.
    """
    takers, left_out = [], {}
    for target in targets:
        try:
            check_takes(target, model, recipe.device)
            takers.append(target)
        except TargetError as error:
            if recipe.targets:
                raise
            left_out[target.name] = str(error)
    if not takers:
        raise _none_takes(left_out)
    return takers, left_out


def _none_takes(left_out: Mapping[str, str]) -> TargetError:
    return TargetError(f"no target takes this model: {' | '.join(left_out.values())}")


def _outline(model: DeviceModel, chain: Sequence[Compressor]) -> DeviceModel | None:
    """What a chain will leave, without its numbers; None where a step cannot tell."""
    outline: DeviceModel | None = model
    for step in chain:
        outline = None if outline is None else step.outline(outline)
    return outline


def _build_one(
    model: DeviceModel,
    before: Quality,
    dataset: Dataset,
    users: np.ndarray[Any, Any],
    target: str,
    recipe: Recipe,
    path: Path,
    steps: list[Step],
) -> Built:
    """Export one target, measure the file, and check the budget."""
    # Without the seconds: the same input gives the same file, to the byte.
    told = [{k: v for k, v in asdict(step).items() if k != "seconds"} for step in steps]
    provenance = {"steps": told}
    device = recipe.device
    export(model, target, path, top_k=recipe.top_k, device=device, provenance=provenance)
    figures = measure_quality(path, before, dataset, users)
    if device is not None and (violations := device.budget.violations(figures)):
        raise BudgetError(
            f"{target} on {device.name}: {'; '.join(violations)}. Nothing was written; "
            "compress more, or raise the limit to what was measured"
        )
    return Built(target, path, figures, steps)


def verify(
    path: str | Path,
    device: Device,
    *,
    dataset: Dataset | None = None,
    model: DeviceModel | None = None,
    users: int | None = None,
    runtime: str | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Check a bundle that lies there against a device's budget.

    Args:
        path: the bundle; its digests are checked first.
        device: whose budget.
        dataset: with held-out interactions; needed where the budget has ``min_quality``.
        model: the uncompressed model that quality is a share of; needed there too.
        users: how many test users; None for all.
        runtime: which installed runtime; the target's best by default.

    Returns:
        What was measured in a fresh process, and the limits that it breaks.

    Raises:
        OptionError: the budget asks for quality, and the dataset or the model is missing.
        BundleError: the file is damaged.
        TargetError: it does not run.
    """
    bundle = Bundle.open(path)
    wrong = []
    if device.targets and bundle.target not in device.targets:
        wrong.append(f"target: {bundle.target}; the device has {', '.join(device.targets)}")
    if dataset is not None and model is not None:
        chosen = evaluation_users(dataset, users)
        before = evaluate(model, dataset, users=chosen)
        figures = measure_quality(Path(path), before, dataset, chosen, runtime)
    elif device.budget.min_quality is not None:
        raise OptionError(
            f"{device.name}: budget.min_quality is a share of the uncompressed model's quality; "
            "give the dataset and that model"
        )
    else:
        figures = measure(path, runtime=runtime)
        del figures["lists"]
    return figures, wrong + device.budget.violations(figures)


def measure_quality(
    path: Path,
    before: Quality,
    dataset: Dataset,
    users: np.ndarray[Any, Any],
    runtime: str | None = None,
) -> dict[str, Any]:
    """Measure a written bundle over test users: bench figures, quality, overlap.

    Lists of a bundle that recommends fewer than 20 are compared as far as they go.
    """
    figures = measure(path, histories_of(dataset, users), runtime=runtime)
    return with_quality(figures, before, dataset, users)


def histories_of(dataset: Dataset, users: np.ndarray[Any, Any]) -> list[list[str]]:
    """Ids of the items that users are trained on, oldest first."""
    ids = dataset.items.ids
    return [[ids[int(row)] for row in dataset.train.of(int(user))] for user in users]


def with_quality(
    figures: Mapping[str, Any], before: Quality, dataset: Dataset, users: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """Bench figures with the quality of their lists in these' place.

    Raises:
        DataError: a list has an item that the dataset lacks.
    """
    figures = dict(figures)
    k = int(figures["k"])
    if k < before.lists.shape[1]:
        before = quality_of(before.lists[:, :k], dataset, users, k)
    lists, rows = np.full((len(users), k), -1, np.int32), dataset.items.rows
    for place, found in enumerate(figures.pop("lists")):
        if unknown := [item for item in found if item not in rows]:
            raise DataError(
                f"{figures['bundle']}: recommends {unknown[0]!r}, which {dataset.name} does not "
                "have"
            )
        lists[place, : len(found)] = [rows[item] for item in found]
    quality = quality_of(lists, dataset, users, k)
    kept, shared = quality.kept(before)
    return figures | {
        "recall": quality.recall,
        "ndcg": quality.ndcg,
        "quality": kept,
        "overlap": shared,
        "long_tail": quality.long_tail,
    }


def _compressor(name: str, options: Mapping[str, Any]) -> Compressor:
    return host().compressor(name, **options)
