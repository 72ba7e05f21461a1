"""Keras models of histories, trained for a few steps and saved as .keras files."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.compressor import Context
from edgerec.contracts.host import Host
from edgerec.data.dataset import Dataset
from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel
from edgerec_keras.archive import use_torch

use_torch()

import keras  # noqa: E402  # once its backend is chosen

layers, ops = keras.layers, keras.ops

#: The rows of embeddings, of which row 0 is padding, and the places of a history.
N, H = 41, 8

#: The tokens of all rows.
TOKENS = ["[PAD]", *(f"film {row}" for row in range(1, N))]


def past_items(length: int | None = H) -> Any:
    """The input of past items."""
    return keras.Input((length,), name="history", dtype="int32")


def rows(masks: bool = True, name: str | None = None, width: int = 8) -> Any:
    """An Embedding with rows as different as after a long training."""
    return layers.Embedding(
        N,
        width,
        mask_zero=masks,
        embeddings_initializer=keras.initializers.RandomNormal(),
        name=name,
    )


def trained(model: Any, loss: str = "mse") -> Any:
    """A model after a few steps, with biases and statistics that matter."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32" and "variance" not in weight.path:
            weight.assign(weight + rng.normal(0, 0.3, weight.shape).astype(np.float32))
    inputs = [
        rng.integers(1, N, (64, *(H if size is None else size for size in one.shape[1:])))
        for one in model.inputs
    ]
    model.compile("adam", loss)
    shape = (64, *model.output_shape[1:]) if loss == "mse" else (64,)
    wanted = rng.random(shape) if loss == "mse" else rng.integers(1, N, 64)
    given = {one.name: ids for one, ids in zip(model.inputs, inputs, strict=True)}
    model.fit(given if len(given) > 1 else inputs[0], wanted, epochs=2, verbose=0)
    return model


def histories(length: int = H) -> list[NDArray[np.int32]]:
    """Ids of past items in the model, some of them several times."""
    rng = np.random.default_rng(1)
    counts = (1, 1, 2, 3, length - 1, length, length)
    return [rng.integers(1, N, count).astype(np.int32) for count in counts]


def scores(model: Any, past: NDArray[np.int32], padding: str = "post") -> F32:
    """What a model itself says of all rows after a history."""
    (length,) = next(one.shape[1:] for one in model.inputs if one.name.startswith("history"))
    if length is not None:
        space = (0, length - len(past))
        past = np.pad(past, space if padding == "post" else space[::-1])
    if len(model.inputs) == 1:
        found = model.predict(past[None], verbose=0)
    else:
        given = {
            "history": np.repeat(past[None], N, 0),
            "item": np.arange(N).reshape(N, *model.inputs[1].shape[1:]),
        }
        found = model.predict(given, verbose=0, batch_size=N)
    return np.asarray(found, np.float32).reshape(-1)


class Folder:
    """A folder of models and of their tokens."""

    def __init__(self, path: Path) -> None:
        self.path, self._names = path, (f"model{n}.keras" for n in itertools.count())
        (path / "ids.txt").write_text("\n".join(TOKENS[1:]) + "\n")
        (path / "all.txt").write_text("\n".join(TOKENS) + "\n")

    def save(self, model: Any) -> Path:
        """Save a model."""
        path = self.path / next(self._names)
        model.save(path)
        return path

    def read(
        self, model: Any, ids: str = "ids.txt", data: Dataset | None = None, **options: Any
    ) -> DeviceModel:
        """Import a model, or a file."""
        path = model if isinstance(model, Path) else self.save(model)
        given = {"ids": str(self.path / ids)} if ids else {}
        return Host.installed().importer("keras", **given, **options).read(path, Context(data))
