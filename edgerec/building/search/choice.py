"""Choice: pick among the chains tried, build, verify the written files, and report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgerec.building.build import Built, build
from edgerec.building.fidelity import ENOUGH, Synthetic
from edgerec.building.recipe import Recipe
from edgerec.building.records import violations
from edgerec.building.search.chains import Tried, by_preference
from edgerec.building.search.faster import faster, too_slow
from edgerec.building.search.limits import excess, excesses, relaxed
from edgerec.building.search.picture import draw
from edgerec.building.search.trials import Search, try_chain
from edgerec.contracts.compressor import Progress
from edgerec.contracts.device import Budget
from edgerec.data.dataset import Dataset
from edgerec.device.machine import describe_machine
from edgerec.errors import BudgetError, EdgerecError, TargetError
from edgerec.files.atomic import write_text
from edgerec.files.staging import staging

__all__ = ["Attempt", "Choice"]

#: Chains that are built and measured before giving up.
_ATTEMPTS = 5

#: Chains that are tried with a step that makes a device read fewer rows, if they are too slow.
_SPED_UP = 2

#: What the figures of a report are.
_MEASURED = (
    "quality in trials is the share of NDCG@20 kept on interactions that are held out to choose "
    "by; bundles are measured on those held out to test on"
)
_NOT_MEASURED = (
    "quality was not measured, because there is no data; what is called quality in trials is the "
    "share of the uncompressed model's top 20 that is kept, for random histories of its items"
)

#: Chains over budget that are run in order to name a budget that works.
_NEAREST = 8


@dataclass
class Attempt:
    """A chain that was built, with what was measured on its files, or why there are none."""

    tried: Tried
    built: Sequence[Built] = ()
    violations: dict[str, list[str]] = field(default_factory=dict)
    error: str | None = None

    @property
    def keeps_budget(self) -> bool:
        """Whether its files were built and break no limit."""
        return self.error is None and not self.violations


class Choice:
    """Picks among the chains tried, builds, verifies, and reports.

    Args:
        search: the search that tried them.
        dataset: with held-out interactions, on which written files are measured.
        folder: the folder for bundles and reports.
        top_k: the maximum number of recommendations that a bundle can be asked for.
        progress: called with (done, total, what).
    """

    def __init__(
        self, search: Search, dataset: Dataset, folder: Path, top_k: int, progress: Progress
    ) -> None:
        self.search, self.dataset, self.folder = search, dataset, folder
        self.device, self.budget = search.device, search.device.budget
        self.top_k, self.progress = top_k, progress
        self.measures = not isinstance(dataset, Synthetic)
        self.attempts: list[Attempt] = []
        #: Chains over budget that were run after the search, by their number.
        self.ran: dict[int, Tried] = {}
        #: Chains that were run because the files of others were too slow.
        self.faster: list[Tried] = []

    def make(self, tried: Sequence[Tried]) -> Attempt:
        """Build the best chain whose written files keep the budget.

        Raises:
            BudgetError, TargetError: no chain does.
        """
        least = self.budget.min_quality or 0.0
        good = [t for t in tried if t.quality is not None and t.quality >= least]
        good = [t for t in good if t.fits(self.budget.max_bundle_bytes)]
        runs = set(self.search.targets or self.device.targets)
        good = [t for t in good if not runs or runs & set(t.targets)]
        if not good:
            return self._nearest(tried)
        # A bundle for each runtime of the device is worth more than a smaller one for a single one.
        most = max(len(t.targets) for t in good)
        everywhere = [t for t in good if len(t.targets) == most]
        rest = [t for t in good if len(t.targets) < most]
        enough = None if self.measures else ENOUGH
        ordered = [one for part in (everywhere, rest) for one in by_preference(part, enough)]
        if (attempt := self._first(ordered[:_ATTEMPTS])) is not None:
            return attempt
        slow = [attempt.tried for attempt in self.attempts if too_slow(attempt.violations)]
        number = 1 + max(one.number for one in tried)
        self.faster = faster(slow[:_SPED_UP], self.search, number, self.progress)
        good = [t for t in self.faster if t.quality is not None and t.quality >= least]
        if (attempt := self._first(by_preference(good, enough))) is not None:
            return attempt
        broken = [a for a in self.attempts if a.violations]
        if not broken:
            raise TargetError(
                f"{self.device.name}: no chain could be built: {self.attempts[0].error}"
            )
        nearest = min(broken, key=self._excess)
        said = "; ".join(f"{t}: {'; '.join(v)}" for t, v in nearest.violations.items())
        raise BudgetError(
            f"{self.device.name}: {len(self.attempts)} chains were built and none keeps the "
            f"budget. The nearest, {nearest.tried.label}: {said}. {self._works([nearest])}"
        )

    def _first(self, chains: Sequence[Tried]) -> Attempt | None:
        """Build chains in order, up to the first that keeps the budget; none if none does."""
        for one in chains:
            if (attempt := self._build(one)).keeps_budget:
                return attempt
        return None

    def _build(self, tried: Tried) -> Attempt:
        """Build a chain in a draft folder; move its bundles into place if they keep the budget."""
        number = len(self.attempts)
        self.progress(number, max(_ATTEMPTS, number + 1), f"building {tried.label}")
        search, attempt = self.search, Attempt(tried)
        self.attempts.append(attempt)
        # Built without limits, because a figure over a limit is needed here, not an exception.
        device = dataclasses.replace(self.device, budget=Budget())
        recipe = Recipe(tried.chain, search.targets, device, self.top_k)
        with staging(self.folder, ".plan-") as drafts:
            try:
                # On all test users, because the noise of a sample exceeds a limit's margin.
                built = build(
                    search.model,
                    self.dataset,
                    recipe,
                    drafts.folder,
                    users=None,
                    seed=search.seed,
                    host=search.host,
                )
            except EdgerecError as error:
                attempt.error = str(error)
                return attempt
            broken = {b.target: violations(self.device, b.figures) for b in built}
            good = [b for b in built if not broken[b.target]]
            if not good or (search.targets and len(good) < len(built)):
                attempt.built = built
                attempt.violations = {target: v for target, v in broken.items() if v}
                return attempt
            places = {one.path: self.folder / one.path.name for one in good}
            drafts.move(places)
            attempt.built = [dataclasses.replace(one, path=places[one.path]) for one in good]
        return attempt

    def _nearest(self, tried: Sequence[Tried]) -> Attempt:
        """Build the nearest chains if none keeps the budget on validation.

        One of them may still keep it when measured on the file and on all test users.

        Raises:
            BudgetError: none does; it names the limit that binds and a budget that works.
            TargetError: nothing can be built.
        """
        limit, least = self.budget.max_bundle_bytes, self.budget.min_quality
        sized = [t for t in tried if t.bundle_bytes and (t.too_large or t.quality is not None)]
        if not sized:
            reasons = "; ".join(dict.fromkeys(t.reason for t in tried if t.reason))
            raise TargetError(f"{self.device.name}: no chain works: {reasons}")
        sized.sort(key=lambda t: t.bundle_bytes or 0)
        fitting = [t for t in sized if t.quality is not None and t.fits(limit)]
        built = []
        if fitting:
            best = max(fitting, key=lambda t: t.quality or 0)
            binding = (
                f"budget.min_quality: the best chain that fits, {best.label}, keeps "
                f"{best.quality:.4f}, the limit is {least:g}"
            )
            attempt = self._build(best)
            if attempt.keeps_budget:
                return attempt
            built.append(attempt)
        else:
            binding = (
                f"budget.max_bundle_bytes: the smallest chain of those tried, {sized[0].label}, "
                f"takes {sized[0].bundle_bytes:,}, the limit is {limit or 0:,}"
            )
        built += self._over_budget(sized, least)
        built = [attempt for attempt in built if attempt.violations]
        raise BudgetError(f"{self.device.name}: {binding}. {self._works(built)}")

    def _over_budget(self, sized: Sequence[Tried], least: float | None) -> list[Attempt]:
        """Run and build chains from the smallest one up, until one breaks no limit but its size.

        If a few break the limit of quality, too, the last one is returned.
        """
        runs, last = 0, []
        for one in sized:
            if one.fits(self.budget.max_bundle_bytes):
                continue
            if one.quality is None and one.chain:
                if runs == _NEAREST:
                    break
                runs += 1
                one = try_chain(one.number, one.chain, self.search, over_budget=True)
                self.ran[one.number] = one
            kept = 1.0 if not one.chain else one.quality
            if least is not None and (kept is None or kept < least):
                continue
            attempt = self._build(one)
            last = [attempt]
            if not any("min_quality" in v for said in attempt.violations.values() for v in said):
                break
        return last

    def _works(self, attempts: Sequence[Attempt]) -> str:
        """Name limits that the built chains would have kept, from what was measured."""
        offers = []
        for attempt in attempts:
            one = min(
                (b for b in attempt.built if b.target in attempt.violations),
                key=lambda b: excess(self.budget, b.figures.to_json()),
            )
            kept = [
                relaxed(name, one.figures.to_json()[name.split("_", 1)[1]])
                for name, share in excesses(self.budget, one.figures.to_json()).items()
                if share > 0
            ]
            offers.append(f"{', '.join(kept)} ({attempt.tried.label}, {one.target})")
        if not offers:
            return "No nearer budget is known; search with more trials"
        return f"Nearest budget that works: {'; or '.join(offers)}"

    def _excess(self, attempt: Attempt) -> float:
        return min(excess(self.budget, b.figures.to_json()) for b in attempt.built)

    def write(
        self, tried: Sequence[Tried], chosen: Attempt | None, error: str | None = None
    ) -> Path:
        """Write report.json and the pictures."""
        tried = [*(self.ran.get(one.number, one) for one in tried), *self.faster]
        before = {"ndcg_validation": self.search.before.ndcg} if self.measures else {}
        report = {
            "device": asdict(self.device),
            "machine": describe_machine(),
            "error": error,
            "validation": _MEASURED if self.measures else _NOT_MEASURED,
            "uncompressed": {"table_bytes": self.search.model.table_bytes, **before},
            "chosen": None if chosen is None else _summary(chosen.tried),
            "bundles": [] if chosen is None else _figures(chosen.built),
            "attempts": [
                {
                    "chain": a.tried.label,
                    "violations": a.violations,
                    "error": a.error,
                    "bundles": _figures(a.built),
                }
                for a in self.attempts
            ],
            "trials": [_summary(t) for t in tried],
        }
        path = self.folder / "report.json"
        write_text(path, json.dumps(report, indent=2) + "\n")
        best = None if chosen is None else chosen.tried
        what = {} if self.measures else {"what": "top-20 overlap (random histories)"}
        draw(tried, self.device, best, self.folder, **what)
        return path


def _summary(tried: Tried) -> dict[str, Any]:
    values = {"label": tried.label} | asdict(tried)
    del values["ndcgs"]
    return values


def _figures(built: Sequence[Built]) -> list[dict[str, Any]]:
    return [{"path": b.path.name, **b.to_json()} for b in built]
