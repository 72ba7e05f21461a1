r"""Cold start: give items that nobody has interacted with a row, computed from features alone.

The rows of a trained model are regressed on the features of its items, and the regression gives new
items theirs (attribute-to-feature mapping: Gantner et al., ICDM 2010). With Φ the features under a
kernel and as they are (``feature_kernel.py``), Y the items' rows in all tables side by side and μ
their mean,

    Y ≈ μ + Φ W,    W = (ΦᵀΦ + λ I)^-1 Φᵀ (Y - μ)

σ of the kernel and λ are those with the least error of leaving each item out in turn. It is
(Y_i - Ŷ_i) / (1 - h_i), with h_i the leverage of item i, so nothing is fitted twice. Nothing about
families or encoders enters, so imported models grow as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from edgerec.data.dataset import Dataset
from edgerec.data.feature_columns import Column
from edgerec.data.features import Features, choose_columns
from edgerec.errors import DataError, ModelError, OptionError
from edgerec.model.codecs import F32, Fp32
from edgerec.model.device_model import DeviceModel
from edgerec.model.items import Items
from edgerec.model.table import Table
from edgerec.training.feature_kernel import FeatureKernel, low_rank

__all__ = ["add_items", "rows_from_features"]

#: m, how many items all others are compared with.
_LANDMARKS = 1024

#: The values of σ and λ to choose from.
_SIGMAS, _LAMBDAS = (0.3, 1.0), (0.1, 0.3, 1.0, 3.0, 10.0)


def add_items(
    model: DeviceModel,
    dataset: Dataset,
    features: Features,
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> DeviceModel:
    """Return a model whose catalogue has new items as well, with rows computed from their features.

    The rows of known items do not change. A compressor runs on the result, not before.

    Args:
        model: a model of the data set's items, with uncompressed tables.
        dataset: the data set that it was trained on, with ``item_features``.
        features: the features of new items. Without titles, their titles are their ids.
        names: the features to use; by default, all that the data set has.
        seed: the seed of the choice of landmarks in a catalogue of more than 1,024 items.

    Raises:
        DataError: nothing is known of a new item, or its features are of another kind.
        ModelError: the model is of other items, is compressed, or has an item already.
        OptionError: there is no such feature.
    """
    if known := [name for name in features.items.ids if model.items.find(name) is not None]:
        raise ModelError(
            f"add_items: the model has {len(known):,} of the {len(features.items):,} items "
            f"already, such as {known[0]!r}; leave them out"
        )
    if model.head.blocks is not None:
        raise ModelError(
            "add_items: the items are in clusters, and new ones would belong to none; add them "
            "first, then cluster"
        )
    rows = rows_from_features(model, dataset, features, names=names, seed=seed)
    tables = {
        name: Table.encode(np.concatenate([table.decode(), rows[name]]), Fp32())
        for name, table in model.tables.items()
    }
    old, new = model.items, features.items
    titles = None
    if old.titles is not None:
        titles = [*old.titles, *(new.ids if new.titles is None else new.titles)]
    return model.replace(
        items=Items.of([*old.ids, *new.ids], titles),
        tables=tables,
        metadata={
            **model.metadata,
            "added_items": model.metadata.get("added_items", 0) + len(features.items),
        },
    )


def rows_from_features(
    model: DeviceModel,
    dataset: Dataset,
    features: Features,
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, F32]:
    """The rows of new items in each table of a model, float32[n, width] by name.

    The arguments and errors are those of ``add_items``, but items may be known ones, too.
    """
    old, new = _columns(model, dataset, features, names)
    n = len(dataset.items)
    generator = torch.Generator().manual_seed(seed)
    landmarks = torch.randperm(n, generator=generator)[:_LANDMARKS].sort().values
    kernel = FeatureKernel(old, landmarks)
    if not (found := kernel.known(new)).all():
        lost = [features.items.ids[int(row)] for row in torch.nonzero(~found)[:3, 0]]
        raise DataError(
            f"features: of {int((~found).sum()):,} of {len(found):,} items nothing is known that "
            f"items of {dataset.name} have, too, such as {', '.join(map(repr, lost))}; add "
            "features, or leave them out"
        )
    place = torch.tensor([dataset.items.rows[name] for name in model.items.ids])
    likeness = kernel.likeness(old)
    among = likeness[landmarks]
    targets = torch.cat([torch.from_numpy(t.decode().copy()) for t in model.tables.values()], 1)
    ordered = torch.empty_like(targets, dtype=torch.float64)
    ordered[place] = targets.double()
    likeness = torch.cat([likeness, kernel.likeness(new)])
    linear = torch.cat([kernel.linear(old), kernel.linear(new)])
    predicted = _predict(likeness, linear, among, ordered)
    ends = np.cumsum([table.shape[1] for table in model.tables.values()])[:-1]
    parts = np.split(predicted.float().numpy(), ends, 1)
    return {name: np.ascontiguousarray(p) for name, p in zip(model.tables, parts, strict=True)}


def _columns(
    model: DeviceModel, dataset: Dataset, features: Features, names: Sequence[str] | None
) -> tuple[Mapping[str, Column], Mapping[str, Column]]:
    """The features of known and of new items, by name.

    Raises:
        ModelError: the model cannot grow.
        OptionError: there are no such features.
    """
    if model.past is not None:
        raise ModelError("add_items: past items are others than those that are recommended")
    if {*model.items.ids} != {*dataset.items.ids}:
        raise ModelError(
            f"add_items: the catalogue of the model is not that of {dataset.name}; pass the data "
            "set that it was trained on"
        )
    coded = [n for n, table in model.tables.items() if not table.codec.keeps_floats]
    if coded:
        raise ModelError(
            f"add_items: the table {coded[0]!r} is compressed ({model.tables[coded[0]].codec.name})"
            "; add items first, and compress then"
        )
    if names is None:
        names = [] if dataset.item_features is None else [*dataset.item_features.columns]
    if not names:
        raise OptionError(
            f"features: {dataset.name} has none to learn from; add them with Dataset.with_features"
        )
    return (
        choose_columns(dataset.items, dataset.item_features, names),
        choose_columns(features.items, features, names),
    )


def _predict(likeness: Tensor, linear: Tensor, among: Tensor, targets: Tensor) -> Tensor:
    """Regress rows float64[n, w] on features, and return those of new items.

    Args:
        likeness: to landmarks, of the n known items and then of the new ones.
        linear: what ``FeatureKernel.linear`` returns, of the same items.
        among: likeness of landmarks and landmarks.
        targets: rows of the known items.
    """
    mean = targets.mean(0)
    centered = targets - mean
    # Every table counts alike, whatever its scale.
    scale = centered.square().mean(0).sqrt().clamp(min=1e-12)
    known = len(targets)
    best, chosen = float("inf"), mean.expand(len(likeness) - known, -1)
    for sigma in _SIGMAS:
        every = torch.cat([low_rank(likeness, among, sigma), linear], 1)
        phi, phi_new = every[:known], every[known:]
        values, vectors = torch.linalg.eigh(phi.T @ phi)
        turned = phi @ vectors
        products = turned.T @ centered
        for ridge in _LAMBDAS:
            inverse = 1 / (values.clamp(min=0) + ridge)
            leverage = (turned.square() * inverse).sum(1, keepdim=True)
            fitted = turned @ (inverse[:, None] * products)
            error = ((centered - fitted) / (1 - leverage).clamp(min=1e-6) / scale).square().mean()
            if float(error) < best:
                best = float(error)
                weights = vectors @ (inverse[:, None] * products)
                chosen = mean + phi_new @ weights
    return chosen
