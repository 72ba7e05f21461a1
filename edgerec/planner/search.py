"""Run chains on validation interactions; compute sizes before anything is run."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edgerec.compressor import Compressor, Context, compress
from edgerec.data import Dataset
from edgerec.device import Device
from edgerec.device_model import DeviceModel
from edgerec.errors import (
    EdgerecError,
    OptionError,
    PluginError,
    TargetError,
    UnknownNameError,
)
from edgerec.host import host
from edgerec.planner.pareto import Chain, Tried
from edgerec.quality import evaluate, evaluation_users
from edgerec.store import items_sections
from edgerec.target import reasons_against

__all__ = ["Search", "besides_tables", "check_targets", "key_of", "search_spaces", "try_chain"]

KEPT_MODELS = 8  # compressed models held in memory, for chains that start alike


def search_spaces() -> dict[str, dict[str, tuple[Any, ...]]]:
    """Options that each installed compressor lets a planner try: ``search_space`` of its class.

    Raises:
        OptionError: no compressor offers anything.
    """
    spaces = {name: c.search_space() for name, c in sorted(host().compressors.items())}
    found = {name: dict(space) for name, space in spaces.items() if space is not None}
    if not found:
        raise OptionError("plan: no installed compressor offers a search space")
    return found


def check_targets(device: Device) -> None:
    """See that a device's targets are installed.

    Raises:
        OptionError: one is not.
    """
    for name in device.targets:
        try:
            host().target(name)
        except (UnknownNameError, PluginError) as error:
            raise OptionError(f"device {device.name}: targets: {error}") from None


class TooLargeError(Exception):
    """A chain that cannot fit."""


class Search:
    """Runs chains on the validation part and remembers what they share."""

    def __init__(
        self,
        model: DeviceModel,
        dataset: Dataset,
        device: Device,
        targets: tuple[str, ...],
        users: int | None,
        seed: int,
    ) -> None:
        # Test interactions leave the stage here: neither a compressor nor a choice sees them.
        unseen = dataclasses.replace(dataset, test=None)
        # A model that reads the order of a history is for what comes next.
        self.part = unseen.split_recent(0.2) if model.recency else unseen.split_random(0.2, seed)
        self.context = Context(dataclasses.replace(self.part, test=None), seed)
        self.users = evaluation_users(self.part, users, seed)
        self.model, self.device, self.targets, self.seed = model, device, targets, seed
        for name in self.targets:
            host().target(name)
        check_targets(device)
        self.before = evaluate(model, self.part, users=self.users)
        self.models: dict[str, tuple[DeviceModel, list[dict[str, Any]]]] = {}

    def run(self, chain: Chain, figures: dict[str, Any], *, over_budget: bool = False) -> None:
        """Run a chain and put what is known of it into ``figures`` as soon as it is.

        Raises:
            TooLargeError: it cannot fit, and may not run ``over_budget``.
            CompressError, OptionError, TargetError: it does not work.
        """
        steps = [host().compressor(name, **options) for name, options in chain]
        model, start = self.model, 0
        done: list[dict[str, Any]] = []
        for length in range(len(chain), 0, -1):
            if (key := key_of(chain[:length])) in self.models:
                (model, done), start = self.models[key], length
                break
        figures["steps"] = done
        self._foresee(model, steps[start:], figures, over_budget or 0 < start == len(chain))
        for position in range(start, len(chain)):
            model, (step,) = compress(model, [steps[position]], self.context)
            kept, shared = evaluate(model, self.part, users=self.users).kept(self.before)
            done = [*done, asdict(step) | {"quality": kept, "overlap": shared}]
            figures["steps"] = done
            self.models[key_of(chain[: position + 1])] = model, done
            if len(self.models) > KEPT_MODELS:
                del self.models[next(iter(self.models))]
            # One that has run to its end is a point of the picture, over budget or not.
            is_last = position + 1 == len(chain)
            self._foresee(model, steps[position + 1 :], figures, over_budget or is_last)
        last = done[-1] if done else {"quality": 1.0, "overlap": 1.0}
        figures |= {"quality": last["quality"], "overlap": last["overlap"]}

    def _foresee(
        self,
        model: DeviceModel,
        steps: Sequence[Compressor],
        figures: dict[str, Any],
        over_budget: bool,
    ) -> None:
        """Compute the size that steps to come will lead to, as far as they can tell."""
        tables: int | None = model.table_bytes
        for number, step in enumerate(steps, 1):
            outline: DeviceModel | None = getattr(step, "outline", lambda _: None)(model)
            if outline is None:
                tables = step.bytes_after(model) if number == len(steps) else None
                break
            model, tables = outline, outline.table_bytes
        else:
            figures["targets"] = self._takers(model)
        if tables is None:
            return
        size = tables + besides_tables(model)
        figures |= {"bundle_bytes": size, "table_bytes": tables}
        limit = self.device.budget.max_bundle_bytes
        if limit is not None and size > limit and not over_budget:
            raise TooLargeError(
                f"takes at least {size:,} bytes, max_bundle_bytes is {limit:,}; not run"
            )

    def _takers(self, model: DeviceModel) -> list[str]:
        """Targets that take a model; all that were asked for, where they were."""
        names = self.targets or self.device.targets or tuple(host().targets)
        refusals = {
            name: reasons_against(host().target(name), model, self.device) for name in names
        }
        refused = [f"{name}: {'; '.join(why)}" for name, why in refusals.items() if why]
        if refused and (self.targets or len(refused) == len(names)):
            raise TargetError(f"no target takes this model: {' | '.join(refused)}")
        return [name for name in names if not refusals[name]]

    def on(self, device: Device) -> Search:
        """The same search and all that it has run, asked about another device."""
        other = copy.copy(self)
        other.device = device
        return other


def try_chain(number: int, chain: Chain, search: Search, *, over_budget: bool = False) -> Tried:
    """Run a chain and say what became of it; a plugin's failure is a reason, not an end."""
    figures: dict[str, Any] = {"steps": []}
    try:
        search.run(chain, figures, over_budget=over_budget)
    except TooLargeError as error:
        return Tried(number, chain, **figures, reason=str(error), too_large=True)
    except EdgerecError as error:
        return Tried(number, chain, **figures, reason=str(error))
    except Exception as error:  # noqa: BLE001  # one plugin's fault should not end the search
        return Tried(number, chain, **figures, reason=f"{type(error).__name__}: {error}")
    return Tried(number, chain, **figures)


def besides_tables(model: DeviceModel) -> int:
    """Bytes that every bundle of a model has besides its tables: the least, not a guess."""
    sections = [*items_sections(model.items).values(), *model.constants.values(), model.popular]
    return sum(len(s) if isinstance(s, bytes) else s.nbytes for s in sections)


def key_of(chain: Chain) -> str:
    """Text that two chains share only if they are the same."""
    return json.dumps(chain, sort_keys=True)
