"""Trials: run chains on validation interactions, after computing whether they can fit."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from edgerec.building.fidelity import kept_of, learnable
from edgerec.building.search.chains import Chain, Tried, key_of
from edgerec.building.search.sizes import Sizes
from edgerec.compression.chain import options_of, run_chain
from edgerec.contracts.compressor import Compressor, Context
from edgerec.contracts.device import Device
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.matching import check_unseen
from edgerec.data.quality import evaluate, evaluation_users
from edgerec.errors import (
    CompressError,
    EdgerecError,
    OptionError,
    PluginError,
    TargetError,
    UnknownNameError,
)
from edgerec.exporting.export import reasons_against
from edgerec.model.device_model import DeviceModel

__all__ = ["Search", "SkippedError", "check_targets", "try_chain"]

#: Compressed models held in memory, for chains that start alike.
_KEPT_MODELS = 8

#: How much more quality a smaller chain must keep for a chain not to train its remaining steps.
_HOPELESS = 0.05

#: What a bundle records of a step.
_RECORDED = ("compressor", "options", "bytes_before", "bytes_after")


def check_targets(device: Device, host: Host) -> None:
    """Check that a device's targets are installed.

    Raises:
        OptionError: one is not.
    """
    for name in device.targets:
        try:
            host.target(name)
        except (UnknownNameError, PluginError) as error:
            raise OptionError(f"device {device.name}: targets: {error}") from None


class _TooLargeError(Exception):
    """A chain that cannot fit the budget."""


class SkippedError(Exception):
    """A chain that is not worth a trial."""


class _StoppedError(CompressError):
    """A chain that was run, and stopped because it took too long or could not win any more."""


class Search:
    """Runs chains on validation interactions, and keeps intermediate models for chains alike.

    Args:
        model: the uncompressed model.
        dataset: its test interactions are not used.
        device: the device whose budget to keep.
        targets: names of targets, all of which must take a model; empty for the device's.
        users: the number of validation users; none means all.
        seed: the seed of every random choice.
        host: the plugins to search with.
        top_k: the maximum number of recommendations that a bundle can be asked for.
        allow_pruning_items: whether a chain may take items out of the catalogue.
        trial_seconds: the time after which a chain stops, at the next report of its progress.
    """

    def __init__(
        self,
        model: DeviceModel,
        dataset: Dataset,
        device: Device,
        targets: tuple[str, ...],
        users: int | None,
        seed: int,
        host: Host,
        *,
        top_k: int = 50,
        allow_pruning_items: bool = False,
        trial_seconds: float | None = None,
    ) -> None:
        # Test interactions are dropped here: neither a compressor nor a choice sees them.
        self.part = dataset.on_valid()
        if (unseen := learnable(self.part)) is not None:
            check_unseen(model, dataset)
        self.context = Context(unseen, seed, lambda *_: self._check_time())
        self.trial_seconds, self._started = trial_seconds, time.monotonic()
        self.users = evaluation_users(self.part, users, seed)
        self.model, self.device, self.targets, self.seed = model, device, targets, seed
        self.host, self.allow_pruning_items = host, allow_pruning_items
        self._sizes = Sizes(host, top_k)
        for name in self.targets:
            host.target(name)
        check_targets(device, host)
        self.before = evaluate(model, self.part, users=self.users)
        self.models: dict[str, tuple[DeviceModel, list[dict[str, Any]], dict[str, Any]]] = {}

    def run(
        self,
        chain: Chain,
        figures: dict[str, Any],
        *,
        over_budget: bool = False,
        rivals: Sequence[Tried] = (),
    ) -> None:
        """Run a chain, adding each result to ``figures`` as soon as it is known.

        Raises:
            _TooLargeError: it cannot fit, and ``over_budget`` is not set.
            CompressError, OptionError, TargetError: it does not work, takes too long, or has
                already lost to one of ``rivals``.
        """
        self._started = time.monotonic()
        steps = [self.host.compressor(name, **options) for name, options in chain]
        model, start = self.model, 0
        done: list[dict[str, Any]] = []
        for length in range(len(chain), 0, -1):
            if (key := key_of(chain[:length])) in self.models:
                (model, done, noise), start = self.models[key], length
                figures |= noise
                break
        figures["steps"] = done
        self._foresee(model, steps[start:], done, figures, over_budget or 0 < start == len(chain))
        for position in range(start, len(chain)):
            model, (step,) = run_chain(model, [steps[position]], self.context)
            quality = evaluate(model, self.part, users=self.users)
            kept = kept_of(quality, self.before, self.part)
            done = [*done, asdict(step) | {"quality": kept.quality, "overlap": kept.overlap}]
            noise = {"half": kept.half, "ndcgs": kept.values.round(5).tolist()}
            figures |= noise
            figures["steps"] = done
            self.models[key_of(chain[: position + 1])] = model, done, noise
            if len(self.models) > _KEPT_MODELS:
                del self.models[next(iter(self.models))]
            # A chain that has run to its end is a point in the picture, over budget or not.
            is_last = position + 1 == len(chain)
            rest = steps[position + 1 :]
            self._foresee(model, rest, done, figures, over_budget or is_last)
            if any(step.trains for step in rest):
                _check_rivals(rivals, figures, kept.quality)
        last = done[-1] if done else {"quality": 1.0, "overlap": 1.0}
        figures |= {"quality": last["quality"], "overlap": last["overlap"]}
        if not done:
            values = kept_of(self.before, self.before, self.part).values
            figures |= {"half": 0.0, "ndcgs": values.round(5).tolist()}

    def _foresee(
        self,
        model: DeviceModel,
        steps: Sequence[Compressor],
        done: Sequence[Mapping[str, Any]],
        figures: dict[str, Any],
        over_budget: bool,
    ) -> None:
        """Compute the size that the remaining steps lead to, as far as they can tell.

        Raises:
            SkippedError: a step should not follow the one before it.
            _TooLargeError: the result would not fit, and ``over_budget`` is not set.
        """
        recorded = [{k: v for k, v in step.items() if k in _RECORDED} for step in done]
        for step in steps:
            try:
                outline = step.outline(model)
            except EdgerecError as error:
                raise SkippedError(str(error)) from None
            self._check_order(step.name, model, outline)
            if outline is None:
                return
            recorded.append(
                {
                    "compressor": step.name,
                    "options": options_of(step),
                    "bytes_before": model.table_bytes,
                    "bytes_after": outline.table_bytes,
                }
            )
            model = outline
        self._check_catalogue(model)
        applied = [{k: step[k] for k in ("compressor", "options")} for step in recorded]
        model = model.replace(metadata={**model.metadata, "steps": applied})
        figures["targets"] = self._takers(model)
        sizes = self._sizes.of(model, figures["targets"], {"steps": recorded})
        size = max(sizes) if self.targets else min(sizes)
        figures |= {"bundle_bytes": size, "table_bytes": model.table_bytes}
        limit = self.device.budget.max_bundle_bytes
        if limit is not None and size > limit and not over_budget:
            raise _TooLargeError(f"takes {size:,} bytes, max_bundle_bytes is {limit:,}; not run")

    def _check_order(self, name: str, model: DeviceModel, outline: DeviceModel | None) -> None:
        """Check that a step does not decode what a step before it has encoded.

        Raises:
            SkippedError: it does, or tables grow.
        """
        for table, old in model.tables.items():
            coded = not old.codec.keeps_floats and old.shape[1] > 1
            if coded and outline is None:
                raise SkippedError(
                    f"{name} cannot tell its result in advance, and may undo {old.codec.name}, "
                    "which comes before it"
                )
            new = None if outline is None else outline.tables.get(table)
            if coded and (new is None or new.codec != old.codec or new.shape[1] != old.shape[1]):
                raise SkippedError(f"{name} would undo {old.codec.name}, which comes before it")
            same_rows = new is not None and new.shape[0] == old.shape[0]
            if coded and same_rows and old.codec.learns:
                raise SkippedError(f"{name} would encode anew what has codec {old.codec.name}")
        if outline is not None and outline.table_bytes > model.table_bytes:
            raise SkippedError(
                f"{name} would grow the tables from {model.table_bytes:,} to "
                f"{outline.table_bytes:,} bytes"
            )

    def _check_time(self) -> None:
        took = time.monotonic() - self._started
        if self.trial_seconds is not None and took > self.trial_seconds:
            raise _StoppedError(
                f"took longer than the limit of {self.trial_seconds:g} s; raise --trial-seconds"
            )

    def _check_catalogue(self, model: DeviceModel) -> None:
        if not self.allow_pruning_items and (gone := len(self.model.items) - len(model.items)):
            raise SkippedError(
                f"takes {gone:,} items out of the catalogue; allow it with --allow-pruning-items"
            )

    def _takers(self, model: DeviceModel) -> list[str]:
        """The targets that take a model; if targets were named, all of them must."""
        names = self.targets or self.device.targets or tuple(self.host.targets)
        refusals = {
            name: reasons_against(self.host.target(name), model, self.device) for name in names
        }
        refused = [f"{name}: {'; '.join(why)}" for name, why in refusals.items() if why]
        if refused and (self.targets or len(refused) == len(names)):
            raise TargetError(f"no target takes this model: {' | '.join(refused)}")
        return [name for name in names if not refusals[name]]

    def on(self, device: Device) -> Search:
        """The same search, with everything that it has run, for another device."""
        other = copy.copy(self)
        other.device = device
        return other


def _check_rivals(rivals: Sequence[Tried], figures: Mapping[str, Any], kept: float) -> None:
    """Check that no smaller chain for the same targets has kept far more.

    Optuna's pruners judge one value, but here both bytes and quality count.

    Raises:
        _StoppedError: one has.
    """
    size, targets = figures.get("bundle_bytes"), set(figures.get("targets", ()))
    for one in rivals:
        ahead = one.quality is not None and one.quality > kept + _HOPELESS
        if ahead and size is not None and one.fits(size) and targets <= set(one.targets):
            raise _StoppedError(
                f"keeps {kept:.4f} before its training steps; {one.label} keeps {one.quality:.4f} "
                "in fewer bytes, so they were not run"
            )


def try_chain(
    number: int,
    chain: Chain,
    search: Search,
    *,
    over_budget: bool = False,
    rivals: Sequence[Tried] = (),
) -> Tried:
    """Run a chain and report the outcome; a plugin's failure does not end the search."""
    figures: dict[str, Any] = {"steps": []}
    try:
        search.run(chain, figures, over_budget=over_budget, rivals=rivals)
    except _TooLargeError as error:
        return Tried(number, chain, **figures, reason=str(error), too_large=True)
    except _StoppedError as error:
        return Tried(number, chain, **figures, reason=str(error))
    except Exception as error:  # noqa: BLE001  # a plugin may raise anything
        kind = "" if isinstance(error, EdgerecError | SkippedError) else f"{type(error).__name__}: "
        return Tried(number, chain, **figures, reason=f"{kind}{error}", skipped=True)
    return Tried(number, chain, **figures)
