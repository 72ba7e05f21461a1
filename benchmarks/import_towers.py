"""Plain embeddings and a Keras tower, for ``benchmarks.imports``.

Both describe a user by the history alone, so there is one mode, and it is exact. Each function
returns the original's scores of all users, and the same model in edgerec.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import edgerec
from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel

__all__ = ["TOWERS"]

#: The width of rows, and how a tower is trained.
WIDTH, EPOCHS, BATCH = 32, 40, 256


def embeddings(data: Dataset, length: int) -> tuple[F32, DeviceModel]:
    """The left singular vectors of the interactions; a user is the mean of the latest items'."""
    matrix = np.zeros((len(data.users), len(data.items)), np.float32)
    matrix[data.train.users, data.train.items] = 1
    _, values, vectors = np.linalg.svd(matrix, full_matrices=False)
    items = np.ascontiguousarray((vectors[:WIDTH] * values[:WIDTH, None] ** 0.5).T)
    users = np.stack([items[past[-length:]].mean(0) for past in data.train.lists()])
    model = edgerec.from_embeddings(data.items.ids, items, pooling="mean", history_length=length)
    return users @ items.T, model


def keras_tower(data: Dataset, length: int) -> tuple[F32, DeviceModel]:
    """Mean pooling and two dense layers, trained to predict an item left out of the history."""
    from edgerec_keras.archive import use_torch

    use_torch()
    import keras

    keras.utils.set_random_seed(0)
    layers, rows = keras.layers, len(data.items) + 1
    past = keras.Input((length,), name="history", dtype="int32")
    x = layers.Embedding(rows, WIDTH, mask_zero=True)(past)
    x = layers.Dense(2 * WIDTH, "relu")(layers.GlobalAveragePooling1D()(x))
    model = keras.Model(past, layers.Dense(rows, "softmax")(layers.Dense(WIDTH)(x)))
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    rng, lists = np.random.default_rng(0), [own + 1 for own in data.train.lists()]
    for _ in range(EPOCHS):
        places = [int(rng.integers(len(own))) for own in lists]
        rest = padded([np.delete(own, at) for own, at in zip(lists, places, strict=True)], length)
        wanted = np.array([own[at] for own, at in zip(lists, places, strict=True)])
        model.fit(rest, wanted, batch_size=BATCH, epochs=1, verbose=0)
    scores = np.asarray(model.predict(padded(lists, length), verbose=0), np.float32)[:, 1:]
    with tempfile.TemporaryDirectory() as folder:
        path, ids = Path(folder) / "model.keras", Path(folder) / "ids.txt"
        model.save(path)
        ids.write_text("\n".join(data.items.ids) + "\n")
        found = Host.installed().importer("keras", ids=str(ids)).read(path, Context(data))
    return scores, found


def padded(lists: list[Any], length: int) -> Any:
    """The latest ids of each user as int32[users, length], with zeros after them."""
    found = np.zeros((len(lists), length), np.int32)
    for row, own in enumerate(lists):
        found[row, : len(own[-length:])] = own[-length:]
    return found


TOWERS = {"plain embeddings, mean": embeddings, "Keras tower": keras_tower}
