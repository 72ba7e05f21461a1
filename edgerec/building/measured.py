"""Measure the quality of written bundles: their lists against what test users went on to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.opening import load_model, open_bundle
from edgerec.data.contexts import known_of, user_vectors_of
from edgerec.data.dataset import Dataset
from edgerec.data.quality import Quality, evaluate, evaluation_users, quality_of
from edgerec.device.bench import measure
from edgerec.device.figures import Figures, Retention
from edgerec.device.histories import History
from edgerec.errors import DataError, OptionError
from edgerec.files.container import Container
from edgerec.model.codecs import F32

__all__ = ["histories_of", "measure_quality", "quality_of_file", "with_retention"]


def measure_quality(
    path: Path,
    before: Quality,
    dataset: Dataset,
    users: NDArray[Any],
    runtime: str | None = None,
    *,
    trust: bool = False,
) -> Figures:
    """Measure a bundle over the histories of test users: bench figures, and retention.

    The lists of a bundle that recommends fewer than 20 items are compared as far as they go.
    """
    histories = histories_of(dataset, users, open_bundle(path, verify=False))
    figures = measure(path, histories, runtime=runtime, trust=trust)
    return with_retention(figures, before, dataset, users)


def quality_of_file(
    path: str | Path,
    dataset: Dataset,
    *,
    k: int = 20,
    users: int | None = None,
    runtime: str | None = None,
    trust: bool = False,
    user_vectors: F32 | None = None,
) -> Quality:
    """Evaluate a saved model by the oracle, or a bundle by running it in its runtime.

    Args:
        path: the file.
        dataset: with test interactions.
        k: the length of the lists.
        users: the number of test users; none means all.
        runtime: the runtime of a bundle; the target's best one by default.
        trust: whether to run a payload that needs trust (see ``Scorer``).
        user_vectors: float32[U, d], the vectors of the dataset's users, for a model that reads
            them.

    Raises:
        DataError: nothing is held out to test on, or the file has items that the dataset lacks.
        OptionError: k is not positive, or more than a bundle recommends; or users have vectors,
            and the model reads none, or the other way round.
    """
    if k < 1:
        raise OptionError(f"k: expected at least 1, got {k}")
    chosen = evaluation_users(dataset, users)
    if Container(path).kind == "model":
        if runtime is not None:
            raise OptionError(f"runtime: {path} is a model, which has no runtime")
        model = load_model(path)
        width = model.inputs.get("user_vector", 0)
        _check_vectors(path, width, user_vectors)
        return evaluate(model, dataset, users=chosen, k=k, user_vectors=user_vectors)
    bundle = open_bundle(path, verify=False)
    signature = bundle.signature
    if k > signature.top_k:
        raise OptionError(f"k: {path} recommends at most {signature.top_k} items, got {k}")
    _check_vectors(path, signature.inputs.get("user_vector", 0), user_vectors)
    if user_vectors is not None:
        dataset = dataset.with_user_vectors(user_vectors)
    histories = histories_of(dataset, chosen, bundle)
    figures = measure(path, histories, k=k, runtime=runtime, trust=trust)
    return quality_of(_rows(figures.lists or (), path, dataset, k), dataset, chosen, k)


def _check_vectors(path: str | Path, width: int, user_vectors: F32 | None) -> None:
    """Check that users have vectors of the width that a model reads, which is 0 for none."""
    given = 0 if user_vectors is None else user_vectors.shape[1]
    if given == width:
        return
    if not width:
        raise OptionError(f"user_vectors: {path} reads no user_vector; leave them out")
    raise OptionError(
        f"user_vectors: {path} reads vectors of width {width}, got "
        + (f"width {given}" if given else "none; pass those of the data's users")
    )


def histories_of(
    dataset: Dataset, users: NDArray[Any], bundle: Bundle | None = None
) -> list[History]:
    """What is known of some users at test time.

    Args:
        dataset: the users, with everything that the bundle reads of them.
        users: rows of users.
        bundle: what is run for them, if it may read more than histories.

    Returns:
        The ids of past items, oldest first, with their weights, if any; with everything else that
        the bundle reads, if it reads more.

    Raises:
        DataError: the data set knows too little of its users.
    """
    context = None if bundle is None else bundle.context
    width = 0 if bundle is None else bundle.signature.inputs.get("user_vector", 0)
    vectors = user_vectors_of(dataset, width, "the file" if bundle is None else str(bundle.path))
    if width and vectors is None:
        raise DataError(
            f"{dataset.name}: the file reads the user's own row; pass those of all users "
            "(--user-vectors, Dataset.with_user_vectors)"
        )
    contexts = None if context is None else known_of(context, dataset, users)
    ids, known = dataset.items.ids, dataset.histories
    found: list[History] = []
    for number, user in enumerate(users.tolist()):
        past, weights = [ids[row] for row in known.of(user).tolist()], known.weights_of(user)
        each = None if weights is None else weights.tolist()
        if contexts is None and vectors is None:
            found.append(past if each is None else list(zip(past, each, strict=True)))
            continue
        entry: dict[str, Any] = {"history": past}
        if each is not None:
            entry["weights"] = each
        if contexts is not None:
            entry["context"] = contexts[number]
        if vectors is not None:
            entry["user_vector"] = vectors[user].tolist()
        found.append(entry)
    return found


def with_retention(
    figures: Figures, before: Quality, dataset: Dataset, users: NDArray[Any]
) -> Figures:
    """Replace the lists of bench figures by what they keep of a model's quality.

    Args:
        figures: with one list for each user.
        before: the quality of the uncompressed model for the same users.
        dataset: with held-out interactions.
        users: rows of users.

    Raises:
        DataError: a list has an item that the dataset lacks.
    """
    k = figures.k
    if k < before.lists.shape[1]:
        before = quality_of(before.lists[:, :k], dataset, users, k)
    rows = _rows(figures.lists or (), figures.bundle, dataset, k)
    quality = quality_of(rows, dataset, users, k)
    kept, shared = quality.kept(before)
    half = quality.kept_interval(before).half
    retention = Retention(
        *(quality.recall, quality.ndcg, kept, shared, quality.long_tail),
        quality_half=half if math.isfinite(half) else None,
    )
    return figures.replace(lists=None, retention=retention)


def _rows(
    lists: Sequence[Sequence[str]], bundle: str | Path, dataset: Dataset, k: int
) -> NDArray[np.int32]:
    """A bundle's lists of ids as rows of a dataset, int32[len(lists), k], -1 for none.

    Raises:
        DataError: a list has an item that the dataset lacks.
    """
    found, rows = np.full((len(lists), k), -1, np.int32), dataset.items.rows
    for place, one in enumerate(lists):
        if unknown := [item for item in one if item not in rows]:
            raise DataError(
                f"{bundle}: recommends {unknown[0]!r}, which {dataset.name} does not have"
            )
        found[place, : len(one)] = [rows[item] for item in one]
    return found
