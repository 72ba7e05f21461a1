"""What implicit's ``model.save()`` writes: an .npz file of rows and settings, without a name.

===========  ==========================================  =====================================
model        settings that only it has                   columns besides the factors
===========  ==========================================  =====================================
ALS          ``alpha``, ``use_cg``                       none
BPR          ``verify_negative_samples``                 item bias; user rows have 1 there
LMF          ``neg_prop``                                item bias, with 1 in user rows; user
                                                         bias, with 1 in item rows
item-item    ``K``, with ``data``, ``indices``,          no rows
             ``indptr`` and ``shape``
===========  ==========================================  =====================================

A bias is a column like any other in the product of two rows, so rows are read as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, ModelError

__all__ = ["Saved"]

#: A setting that only this model has.
_TELLTALE = {"ALS": "alpha", "BPR": "verify_negative_samples", "LMF": "neg_prop"}


@dataclass(frozen=True)
class Saved:
    """A saved model.

    Args:
        path: the file.
        model: ALS, BPR, LMF, or nothing if the settings do not tell.
        users: float32[U, d].
        items: float32[n, d].
        alpha: the confidence of an interaction, if it is ALS.
        regularization: λ.
    """

    path: Path
    model: str
    users: F32
    items: F32
    alpha: float
    regularization: float

    @classmethod
    def read(cls, path: Path) -> Saved:
        """Read a file.

        Raises:
            ModelError: it cannot be read, or holds no rows of users and items.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                parts = dict(archive)
        except FileNotFoundError:
            raise ModelError(f"{path}: no such file") from None
        except Exception as error:  # a damaged archive raises anything
            raise ModelError(
                f"{path}: expected an .npz file that implicit's model.save() wrote: {error}"
            ) from error
        if missing := [name for name in ("user_factors", "item_factors") if name not in parts]:
            raise ModelError(_without_rows(path, parts, missing[0]))
        users, items = (_rows(parts[name], name, path) for name in ("user_factors", "item_factors"))
        if users.shape[1] != items.shape[1]:
            raise ModelError(
                f"{path}: user_factors have {users.shape[1]} columns and item_factors "
                f"{items.shape[1]}; both are expected to have the same"
            )
        model = next((name for name, one in _TELLTALE.items() if one in parts), "")
        return cls(path, model, users, items, *_settings(parts, path, model))


def _without_rows(path: Path, parts: dict[str, Any], missing: str) -> str:
    """Why a file without rows cannot be imported, and what to do."""
    if "K" in parts:
        return (
            f"{path}: is an item-item model of implicit (CosineRecommender, TFIDFRecommender, "
            "BM25Recommender or ItemItemRecommender), which cannot be imported: it has a matrix "
            "of the similarities between items, and no rows whose product is a score. Fit ALS, BPR "
            "or LMF to the same interactions, or train a model with `edgerec train`"
        )
    if any(one in parts for one in _TELLTALE.values()):
        return f"{path}: has no {missing}; the model was saved before it was fitted"
    return (
        f"{path}: has no {missing}, so it is no model that implicit saved; it has "
        f"{', '.join(sorted(parts)) or 'nothing'}. Other arrays are read by `edgerec import tables`"
    )


def _rows(values: NDArray[Any], name: str, path: Path) -> F32:
    """Rows as float32[n, d].

    Raises:
        ModelError: they are no matrix of finite numbers.
    """
    if values.ndim != 2 or not values.size or values.dtype.kind != "f":
        raise ModelError(
            f"{path}: {name}: expected a matrix of floats, got {values.dtype} {[*values.shape]}"
        )
    found = values.astype(np.float32)
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise ModelError(
            f"{path}: {name}: row {row} has a number that is NaN or infinite; fit the model again "
            "with a smaller learning rate or more regularization"
        )
    return found


def _settings(parts: dict[str, Any], path: Path, model: str) -> tuple[float, float]:
    """The confidence α and λ of ALS.

    Raises:
        ModelError: they are no positive numbers.
    """
    if model != "ALS":
        return 1.0, 0.0
    try:
        alpha, regularization = (float(parts[name]) for name in ("alpha", "regularization"))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: expected numbers alpha and regularization: {error}") from None
    if not (0 < alpha < np.inf and 0 <= regularization < np.inf):
        raise ModelError(
            f"{path}: expected alpha above 0 and regularization of at least 0, got {alpha} and "
            f"{regularization}"
        )
    return alpha, regularization
