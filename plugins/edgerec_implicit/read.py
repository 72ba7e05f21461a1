"""Make a model of what implicit saved, and of the ids that its rows belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.learn import fold_in, read_ids
from edgerec.plugin import F32, Context, DeviceModel, OptionError, Oracle
from edgerec_implicit.saved import Saved
from edgerec_implicit.solve import solved

__all__ = ["read"]

#: The most users that the lists of ALS are compared for, how many at a time, and the length of the
#: lists.
_USERS, _AT_ONCE, _TOP = 2000, 256, 20


def read(options: Any, path: Path, context: Context) -> DeviceModel:
    """Make a model of a file, with the options of ``Implicit``.

    User rows are predicted from histories. Those of ALS are also computed as implicit does it for
    new users, and whichever is closer to the original's lists is kept.

    Raises:
        DataError: the data has too few of the users.
        ModelError: a file cannot be read, or the parts do not fit together.
        OptionError: data is needed, or ids do not belong to the rows.
    """
    saved = Saved.read(path)
    dataset = context.dataset
    if dataset is None:
        raise OptionError(
            "implicit: predicting user rows from histories needs the interactions that the model "
            "was trained on; pass --data"
        )
    users = _ids(options.users, "users", dataset.users, len(saved.users), saved, dataset)
    items = _ids(options.items, "items", dataset.items.ids, len(saved.items), saved, dataset)
    known = set(dataset.users)
    kept = [row for row, user in enumerate(users) if user in known]
    if 2 * len(kept) < len(users):
        raise OptionError(
            f"implicit.users: {dataset.name} has {len(kept):,} of the {len(users):,} users of "
            f"{options.users}, which begins with {users[0]!r}; pass the data that the model was "
            "trained on, with the same ids"
        )
    settings = {"history_length": options.history_length, "metadata": {"imported": path.name}}
    found = fold_in(
        dataset,
        saved.users[kept],
        saved.items,
        ids=items,
        users=[users[row] for row in kept],
        **settings,
    )
    share, count, model = found.overlap, found.users, found.model
    if saved.model == "ALS":
        other = _solved(saved, items, found.model, settings)
        if other is not None:
            # fold_in is judged by whole histories; a device reads the latest items alone.
            overlap, compared = _overlap(other, saved, users, dataset)
            if overlap > _overlap(model, saved, users, dataset)[0]:
                share, count, model = overlap, compared, other
    context.progress(1, 1, f"overlap {share:.3f} on {count} other users")
    noted = {"overlap": round(share, 4), "users": count}
    return model.replace(metadata={"imported": path.name, "fold_in": noted})


def _ids(file: str, side: str, own: Any, count: int, saved: Saved, dataset: Any) -> list[str]:
    """The ids of rows: those of a file, or the data's own.

    Raises:
        ModelError: the file cannot be read.
        OptionError: there are more or fewer of them than rows.
    """
    found = read_ids(file) if file else list(own)
    if len(found) != count:
        where = f"but {file} has" if file else f"but {dataset.name} has"
        raise OptionError(
            f"implicit.{side}: expected {count:,} {side}, one for each row of {side[:-1]}_factors "
            f"in {saved.path}, {where} {len(found):,}; pass {side}=, a file with an id per row in "
            "the order of the matrix that implicit was given"
        )
    return found


def _solved(
    saved: Saved, items: list[str], folded: DeviceModel, settings: dict[str, Any]
) -> DeviceModel | None:
    """A model that solves for user rows as ALS does; None if there is no solution."""
    popular = [folded.items.ids[int(row)] for row in folded.popular]
    try:
        return solved(saved, items, popular=popular, **settings)
    except np.linalg.LinAlgError:
        return None


def _overlap(
    model: DeviceModel, saved: Saved, users: Sequence[str], dataset: Any
) -> tuple[float, int]:
    """The share of the original's lists that a model lists as well, and of how many users."""
    row_of, rows = {user: row for row, user in enumerate(users)}, model.items.rows
    to_row = np.array([rows.get(item, -1) for item in dataset.items.ids], np.int64)
    pasts, own = [], []
    for place, user in enumerate(dataset.users):
        past = to_row[dataset.train.of(place)]
        if user in row_of and (past >= 0).any():
            pasts.append(past[past >= 0])
            own.append(row_of[user])
    chosen = np.random.default_rng(0).permutation(len(own))[:_USERS]
    oracle, shares = Oracle(model), []
    for start in range(0, len(chosen), _AT_ONCE):
        part = chosen[start : start + _AT_ONCE]
        seen = [pasts[one] for one in part]
        padded = [oracle.pad(past[-model.history_length :]) for past in seen]
        history, weights = (np.stack(one) for one in zip(*padded, strict=True))
        lists = _best(oracle.logits(oracle.encode(history, weights)), seen)
        wanted = _best(saved.users[[own[one] for one in part]] @ saved.items.T, seen)
        shares += [np.isin(*both).mean() for both in zip(lists, wanted, strict=True)]
    return float(np.mean(shares)), len(shares)


def _best(scores: F32, seen: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The rows of the highest scores of each user, without those that were seen."""
    for row, past in zip(scores, seen, strict=True):
        row[past] = -np.inf
    k = min(_TOP, scores.shape[1])
    return np.argpartition(-scores, k - 1, axis=1)[:, :k]
