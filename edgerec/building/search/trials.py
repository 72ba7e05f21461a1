"""Trials: run chains on validation interactions, after computing whether they can fit."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edgerec.building.search.chains import Chain, Tried, key_of
from edgerec.compression.chain import run_chain
from edgerec.contracts.compressor import Compressor, Context
from edgerec.contracts.device import Device
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.matching import check_unseen
from edgerec.data.quality import evaluate, evaluation_users
from edgerec.errors import EdgerecError, OptionError, PluginError, TargetError, UnknownNameError
from edgerec.exporting.export import reasons_against
from edgerec.model.device_model import DeviceModel
from edgerec.model.model_file import items_sections

__all__ = ["Search", "besides_tables", "check_targets", "search_spaces", "try_chain"]

#: Compressed models held in memory, for chains that start alike.
_KEPT_MODELS = 8


def search_spaces(host: Host) -> dict[str, dict[str, tuple[Any, ...]]]:
    """The option values that each compressor offers to the search, by ``search_space``.

    Raises:
        OptionError: no compressor offers any.
    """
    spaces = {name: c.search_space() for name, c in sorted(host.compressors.items())}
    found = {name: dict(space) for name, space in spaces.items() if space is not None}
    if not found:
        raise OptionError("plan: no installed compressor offers a search space")
    return found


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
    ) -> None:
        # Test interactions are dropped here: neither a compressor nor a choice sees them.
        self.part = dataset.on_valid()
        check_unseen(model, dataset)
        self.context = Context(dataclasses.replace(self.part, test=None), seed)
        self.users = evaluation_users(self.part, users, seed)
        self.model, self.device, self.targets, self.seed = model, device, targets, seed
        self.host = host
        for name in self.targets:
            host.target(name)
        check_targets(device, host)
        self.before = evaluate(model, self.part, users=self.users)
        self.models: dict[str, tuple[DeviceModel, list[dict[str, Any]]]] = {}

    def run(self, chain: Chain, figures: dict[str, Any], *, over_budget: bool = False) -> None:
        """Run a chain, adding each result to ``figures`` as soon as it is known.

        Raises:
            _TooLargeError: it cannot fit, and ``over_budget`` is not set.
            CompressError, OptionError, TargetError: it does not work.
        """
        steps = [self.host.compressor(name, **options) for name, options in chain]
        model, start = self.model, 0
        done: list[dict[str, Any]] = []
        for length in range(len(chain), 0, -1):
            if (key := key_of(chain[:length])) in self.models:
                (model, done), start = self.models[key], length
                break
        figures["steps"] = done
        self._foresee(model, steps[start:], figures, over_budget or 0 < start == len(chain))
        for position in range(start, len(chain)):
            model, (step,) = run_chain(model, [steps[position]], self.context)
            kept, shared = evaluate(model, self.part, users=self.users).kept(self.before)
            done = [*done, asdict(step) | {"quality": kept, "overlap": shared}]
            figures["steps"] = done
            self.models[key_of(chain[: position + 1])] = model, done
            if len(self.models) > _KEPT_MODELS:
                del self.models[next(iter(self.models))]
            # A chain that has run to its end is a point in the picture, over budget or not.
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
        """Compute the size that the remaining steps lead to, as far as they can tell."""
        for step in steps:
            outline = step.outline(model)
            if outline is None:
                return
            model = outline
        figures["targets"] = self._takers(model)
        size = model.table_bytes + besides_tables(model)
        figures |= {"bundle_bytes": size, "table_bytes": model.table_bytes}
        limit = self.device.budget.max_bundle_bytes
        if limit is not None and size > limit and not over_budget:
            raise _TooLargeError(
                f"takes at least {size:,} bytes, max_bundle_bytes is {limit:,}; not run"
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


def try_chain(number: int, chain: Chain, search: Search, *, over_budget: bool = False) -> Tried:
    """Run a chain and report the outcome; a plugin's failure does not end the search."""
    figures: dict[str, Any] = {"steps": []}
    try:
        search.run(chain, figures, over_budget=over_budget)
    except _TooLargeError as error:
        return Tried(number, chain, **figures, reason=str(error), too_large=True)
    except EdgerecError as error:
        return Tried(number, chain, **figures, reason=str(error))
    except Exception as error:  # noqa: BLE001  # a plugin may raise anything
        return Tried(number, chain, **figures, reason=f"{type(error).__name__}: {error}")
    return Tried(number, chain, **figures)


def besides_tables(model: DeviceModel) -> int:
    """Bytes that every bundle of a model has besides its tables. This is a lower bound."""
    sections = [*items_sections(model.items).values(), *model.constants.values(), model.popular]
    return sum(len(s) if isinstance(s, bytes) else s.nbytes for s in sections)
