"""Tuning: training options chosen on interactions that are held out to choose by.

A study (Optuna's) trains with different options, each stopped early, and compares them by NDCG@20
on validation users. The defaults go first. Options that would only matter within the noise of those
users are left at their simplest value.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgerec.building.search.sampler import open_study
from edgerec.contracts.compressor import Progress, no_progress
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.data.interval import Interval, of_mean, of_ratio
from edgerec.data.quality import evaluate, evaluation_users
from edgerec.errors import OptionError
from edgerec.training.loop import train
from edgerec.training.options import TrainOptions

if TYPE_CHECKING:
    import optuna

__all__ = ["Tuned", "tune"]

#: The most epochs of a trial, and how many in a row may be no better.
_EPOCHS, _PATIENCE = 24, 3

#: The most validation users.
_USERS = 2000

#: Values of tilt, which is applied after training, and so is tried on each trained model.
_TILTS = (-0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2)

#: The ranges of the options that are drawn on a logarithmic scale.
_RANGES = {"learning_rate": (0.002, 0.04), "temperature": (0.05, 0.5)}

#: What the study draws.
_TUNED = ("learning_rate", "temperature", "recency", "predict", "epochs")

#: Values of recency; 0 reads histories as sets. Only histories in an order have a next item.
_RECENCIES = (0.0, 0.5, 1.0, 1.5)


@dataclass(frozen=True)
class Tuned:
    """The options that were chosen, with what they gain.

    Args:
        options: fields of TrainOptions that differ from the given ones.
        ndcg: NDCG@20 on validation users.
        gain: the ratio to the NDCG@20 of the given options, over the same users.
        order: the ratio of the best trial that reads the order of histories to the best one that
            does not; none if only one kind was tried.
        order_helps: whether the whole interval of ``order`` is above 1.
        trials: the options and the NDCG@20 of each trial.
    """

    options: Mapping[str, Any]
    ndcg: Interval
    gain: Interval
    order: Interval | None
    order_helps: bool
    trials: Sequence[Mapping[str, Any]]


def tune(
    dataset: Dataset,
    options: TrainOptions | None = None,
    *,
    trials: int = 20,
    folder: str | Path | None = None,
    progress: Progress = no_progress,
    host: Host | None = None,
) -> Tuned:
    """Choose epochs, learning rate, temperature, tilt, and whether to read the order of histories.

    Where it is read, that includes whether to predict the next item.

    Args:
        dataset: with validation interactions.
        options: what is not tuned, such as the family and the width.
        trials: the number of trainings.
        folder: a folder for the study. An interrupted tuning resumes from it.
        progress: called with (trials done, trials, what).
        host: the plugins to choose the family from; the installed ones by default.

    Raises:
        DataError: there are no validation interactions.
        UnknownNameError: no plugin provides the family.
        OptionError: an argument is wrong, or the study belongs to another tuning.
    """
    if importlib.util.find_spec("optuna") is None:
        raise OptionError("tune: needs optuna; pip install 'edgerec[plan]'")
    if trials < 1:
        raise OptionError(f"tune.trials: expected at least 1, got {trials}")
    given = options or TrainOptions()
    given.family(host)  # before a folder is made
    part = dataset.on_valid()
    users = evaluation_users(part, _USERS, given.seed)
    url = "sqlite:///:memory:"
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{Path(folder).resolve() / 'tuning.db'}"
    setting = {
        "dataset": [dataset.train.digest, part.test.digest if part.test else None],
        "options": dataclasses.asdict(given),
    }
    with open_study(url, "tune", setting, shared=False) as study:
        _run(study, dataset, part, users, given, trials, progress, host)
        found = _results(study)
    return _choose(found, given)


def _run(
    study: optuna.Study,
    dataset: Dataset,
    part: Dataset,
    users: Any,
    given: TrainOptions,
    trials: int,
    progress: Progress,
    host: Host | None,
) -> None:
    import optuna

    state = optuna.trial.TrialState
    while (done := len(_results(study))) < trials:
        progress(done, trials, "training")
        study.sampler = optuna.samplers.TPESampler(seed=given.seed + done)
        if done == 0:
            study.enqueue_trial({name: getattr(given, name) for name in _TUNED})
        trial = study.ask()
        tried: dict[str, Any] = {
            name: trial.suggest_float(name, min(low, own), max(high, own), log=True)
            for name, (low, high) in _RANGES.items()
            for own in [getattr(given, name)]
        }
        recencies = sorted({*_RECENCIES, given.recency})
        tried["recency"] = trial.suggest_categorical("recency", recencies)
        # Without recency, only the first trial may predict the next item, if that is given.
        tried["predict"] = "any" if done else given.predict
        if tried["recency"] > 0:
            tried["predict"] = trial.suggest_categorical("predict", ["any", "next"])
        tried["epochs"] = trial.suggest_int("epochs", 2, max(_EPOCHS, given.epochs))
        # The first trial is what is there now, so that what is gained can be told.
        tried["patience"] = _PATIENCE if done else given.patience
        try:
            best = _train(dataset, part, users, given, tried, done, trials, progress, host)
        except BaseException:
            study.tell(trial, state=state.FAIL, skip_if_finished=True)
            raise
        trial.set_user_attr("result", json.dumps(best))
        study.tell(trial, [float(np.mean(best["ndcgs"])), 0.0])
    progress(trials, trials, "done")


def _train(
    dataset: Dataset,
    part: Dataset,
    users: Any,
    given: TrainOptions,
    tried: Mapping[str, Any],
    done: int,
    trials: int,
    progress: Progress,
    host: Host | None,
) -> dict[str, Any]:
    """Train with some options, and try each tilt; return the best with each user's NDCG@20."""
    options = dataclasses.replace(given, tilt=0.0, **tried)

    def judged(epoch: int, ndcg: float) -> None:
        progress(done, trials, f"epoch {epoch + 1} of {options.epochs}, NDCG@20 {ndcg:.4f}")

    trained = train(dataset, options, judged=judged, host=host)
    results, as_given, applied = [], None, 0.0
    for tilt in sorted({*_TILTS, given.tilt}):
        trained.gnn.tilt(trained.graph, tilt - applied)  # tilts add up
        applied = tilt
        model, own = trained.to_device_model(), trained.user_vectors
        quality = evaluate(model, part, users=users, user_vectors=own)
        results.append((quality.ndcg, -abs(tilt), tilt, quality.ndcgs))
        if tilt == given.tilt:
            as_given = quality.ndcgs.round(5).tolist()
    _, _, tilt, ndcgs = max(results, key=lambda one: one[:2])
    return {**tried, "tilt": tilt, "ndcgs": ndcgs.round(5).tolist(), "as_given": as_given}


def _results(study: optuna.Study) -> list[dict[str, Any]]:
    """The results of finished trials, in order."""
    trials = study.get_trials(deepcopy=False)
    return [json.loads(t.user_attrs["result"]) for t in trials if "result" in t.user_attrs]


def _choose(found: Sequence[Mapping[str, Any]], given: TrainOptions) -> Tuned:
    """The best trial, without reading the order of histories unless that helps."""
    each = [np.array(one["ndcgs"]) for one in found]
    means = [float(ndcgs.mean()) for ndcgs in each]
    ordered = [number for number, one in enumerate(found) if one["recency"] > 0]
    plain = [number for number, one in enumerate(found) if one["recency"] == 0]
    order = None
    if ordered and plain:
        order = of_ratio(each[_best(ordered, means)], each[_best(plain, means)])
    helps = order is not None and order.low > 1
    chosen = _best(range(len(found)) if helps or not plain else plain, means)
    rows = [
        {name: one[name] for name in (*_TUNED, "tilt", "patience")} | {"ndcg": mean}
        for one, mean in zip(found, means, strict=True)
    ]
    options = {name: value for name, value in rows[chosen].items() if name != "ndcg"}
    changed = {name: value for name, value in options.items() if value != getattr(given, name)}
    gain = of_ratio(each[chosen], np.array(found[0]["as_given"]))
    return Tuned(changed, of_mean(each[chosen]), gain, order, helps, rows)


def _best(numbers: Sequence[int], means: Sequence[float]) -> int:
    return max(numbers, key=lambda number: means[number])
