"""Build: a model, a chain of compressors, targets and a device give measured bundles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgerec.building.fidelity import apart, judged_by, learnable
from edgerec.building.measured import measure_quality
from edgerec.building.recipe import Recipe
from edgerec.building.records import on_device, violations
from edgerec.compression.chain import Step, run_chain
from edgerec.contracts.compressor import Compressor, Context, Progress, no_progress
from edgerec.contracts.host import Host
from edgerec.contracts.target import Target
from edgerec.data.dataset import Dataset
from edgerec.data.matching import match_rows
from edgerec.data.quality import Quality, evaluate, evaluation_users
from edgerec.device.figures import Figures
from edgerec.errors import BudgetError, CompressError, OptionError, TargetError
from edgerec.exporting.export import check_takes, export, signature_of
from edgerec.files.atomic import check_writable
from edgerec.files.staging import staging
from edgerec.model.attribution import attribute_errors
from edgerec.model.device_model import DeviceModel

__all__ = ["Builds", "Built", "build"]


@dataclass(frozen=True)
class Built:
    """One bundle that was written.

    Args:
        target: the name of its target.
        path: the file.
        figures: what was measured on the file.
        steps: what each compressor did.
        overlap: without a data set, the overlap of its lists with the uncompressed model's.
    """

    target: str
    path: Path
    figures: Figures
    steps: Sequence[Step] = field(default_factory=list)
    overlap: float | None = None

    def to_json(self) -> dict[str, Any]:
        """What was measured, as JSON values."""
        known = {} if self.overlap is None else {"overlap": self.overlap}
        return self.figures.to_json() | known


class Builds(list[Built]):
    """Bundles that were written, and why those of some targets were not.

    Attributes:
        left_out: reasons by target, for targets that the recipe does not name.
    """

    def __init__(self, built: Iterable[Built], left_out: Mapping[str, str]) -> None:
        super().__init__(built)
        self.left_out = dict(left_out)


def build(
    model: DeviceModel,
    dataset: Dataset | None,
    recipe: Recipe,
    folder: str | Path,
    *,
    users: int | None = 1000,
    seed: int = 0,
    progress: Progress = no_progress,
    host: Host | None = None,
) -> Builds:
    """Compress a model, export it to each target, and measure every written file.

    A bundle is measured in a fresh process in its real runtime, over the histories of test users.
    All bundles take their places as ``folder/<target>.edgerec`` if each one keeps the device's
    budget; otherwise none does. The state of compressors that train is kept in
    ``folder/.unfinished`` until then. After an interruption, or a refusal by the budget, the same
    chain resumes from its last epoch.

    Args:
        model: the uncompressed model, which retention refers to.
        dataset: with held-out interactions. Without one, quality is not measured, and bundles are
            run for random histories of the model's items.
        recipe: what to build.
        folder: the folder for the bundles.
        users: the number of test users to measure on; none means all. A budget that limits quality
            is checked on all of them. Of random histories, there are at most 1,000.
        seed: the seed for the choice of users and for compressors.
        progress: called with (done, total, what).
        host: the plugins to build with; the installed ones by default.

    Raises:
        BudgetError: a bundle is over budget; the message gives limits and figures.
        TargetError: a target that the recipe names refuses the model or fails. If the recipe
            names none, targets that refuse, fail or lack a runtime are left out, and it is an
            error only if none remains.
        OptionError: the folder is a file, top_k is not positive, or the budget limits quality and
            there is no data set.
    """
    host = host or Host.installed()
    chain = [host.compressor(name, **options) for name, options in recipe.compress]
    if recipe.top_k < 1:
        raise OptionError(f"top_k: expected at least 1, got {recipe.top_k}")
    dataset = judged_by(model, dataset, recipe.device, users, seed)
    limited = recipe.device is not None and recipe.device.budget.min_quality is not None
    # A limit is not left to the luck of a sample.
    chosen = evaluation_users(dataset, None if limited else users, seed)
    match_rows(model, dataset)  # fails now if the model has another catalogue
    names = (
        recipe.targets or (recipe.device.targets if recipe.device else ()) or tuple(host.targets)
    )
    targets = [host.target(name) for name in names]
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder}: is a file; name a folder for the bundles")
    check_writable(folder)
    # Where the shape of the result is known in advance, targets refuse before anything trains.
    if (outline := _outline(model, chain)) is not None:
        _takers(targets, outline, recipe)
    total = 2 + len(targets)
    progress(0, total, "compressing")
    # No compressor sees what its result is measured on.
    context = Context(
        learnable(dataset),
        seed,
        lambda done, of, what: progress(0, total, f"compressing: {what} ({done} of {of})"),
        folder / ".unfinished",
    )
    small, steps = run_chain(model, chain, context)
    _check_outline(outline, small)
    progress(1, total, "evaluating")
    before = evaluate(model, dataset, users=chosen)
    for table in model.tables.values():
        table.release()
    folder.mkdir(parents=True, exist_ok=True)
    built: list[Built] = []
    takers, left_out = _takers(targets, small, recipe)
    with staging(folder, ".build-") as drafts:
        for number, target in enumerate(takers, 2):
            progress(number, total, f"exporting to {target.name}")
            path = drafts.folder / f"{target.name}.edgerec"
            try:
                made = _build_one(small, before, dataset, chosen, target, recipe, path, steps)
            except TargetError as error:
                if recipe.targets:
                    raise
                left_out[target.name] = str(error)
            else:
                built.append(made)
        if not built:
            raise _none_takes(left_out)
        # All of them or none.
        places = {one.path: folder / one.path.name for one in built}
        drafts.move(places)
        built = [replace(one, path=places[one.path]) for one in built]
    context.clear()
    progress(total, total, "done")
    return Builds(built, left_out)


def _takers(
    targets: Sequence[Target], model: DeviceModel, recipe: Recipe
) -> tuple[list[Target], dict[str, str]]:
    """The targets that take a model, and the reasons why the others do not.

    Raises:
        TargetError: the recipe names a target that does not, or no target does.
    """
    takers, left_out = [], {}
    for target in targets:
        try:
            check_takes(target, model, recipe.device)
            signature_of(model, target, recipe.top_k)  # raises if lists are too long for blocks
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
    """The shape of a chain's result, without its numbers; none if a step cannot tell."""
    outline: DeviceModel | None = model
    for step in chain:
        with attribute_errors(f"{step.name}: outline", CompressError):
            outline = None if outline is None else step.outline(outline)
            if not isinstance(outline, DeviceModel | None):
                raise CompressError(
                    f"{step.name}: outline: expected a DeviceModel or None, got "
                    f"{type(outline).__name__}"
                )
    return outline


def _check_outline(outline: DeviceModel | None, small: DeviceModel) -> None:
    """Check that a chain made what its outline announced, which targets were chosen by.

    Raises:
        CompressError: a table has another codec or another width.
    """
    if outline is None:
        return
    announced, made = (
        {name: f"{t.codec.name} of width {t.shape[1]}" for name, t in sorted(m.tables.items())}
        for m in (outline, small)
    )
    if announced != made:
        raise CompressError(
            f"the chain made the tables {made}, but its outline announced {announced}; a "
            "compressor's outline must have the codecs and widths of what it makes"
        )


def _build_one(
    model: DeviceModel,
    before: Quality,
    dataset: Dataset,
    users: NDArray[Any],
    target: Target,
    recipe: Recipe,
    path: Path,
    steps: list[Step],
) -> Built:
    """Export one target, measure the file, and check the budget."""
    # Seconds are left out, so that the same input gives the same file, to the byte.
    recorded = [{k: v for k, v in asdict(step).items() if k != "seconds"} for step in steps]
    device = recipe.device
    export(model, target, path, top_k=recipe.top_k, device=device, provenance={"steps": recorded})
    measured = measure_quality(path, before, dataset, users, trust=True)
    figures, shared = apart(measured, dataset)
    if device is None:
        return Built(target.name, path, figures, steps, shared)
    figures = on_device(figures, path, device.name)
    if broken := violations(device, figures):
        raise BudgetError(
            f"{target.name} on {device.name}: {'; '.join(broken)}. Nothing was written; "
            "compress more, or raise the limit to what was measured"
        )
    return Built(target.name, path, figures, steps, shared)
