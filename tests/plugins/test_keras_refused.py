"""What the keras importer refuses, by the name of the layer."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgerec.data.dataset import Dataset
from edgerec.errors import EdgerecError, ModelError, OptionError
from edgerec_keras.archive import use_torch
from tests.rigs.keras_files import Folder, H, N, keras, layers, ops, past_items, rows


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def after(make: Callable[[Any], Any], masks: bool = True, length: int | None = H) -> Any:
    """Scores of all items from what is made of the rows of past items."""
    past = past_items(length)
    return keras.Model(past, layers.Dense(N, name="over_items")(make(rows(masks)(past))))


def joined(join: Callable[..., Any], wide: int = 8) -> Any:
    """A score of one item that is made of both sides."""
    past, one = past_items(), keras.Input((), name="item", dtype="int32")
    user = layers.GlobalAveragePooling1D()(rows()(past))
    return keras.Model([past, one], join(user, rows(masks=False, width=wide)(one)))


class Own(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A layer that a file can only name."""

    def call(self, x: Any) -> Any:
        """The same."""
        return x


def pooled(x: Any) -> Any:
    return layers.GlobalAveragePooling1D()(x)


def places() -> Any:
    """Scores for each place."""
    past = past_items()
    return keras.Model(past, layers.Dense(N, name="each")(rows()(past)))


def two_outputs() -> Any:
    past = past_items()
    x = pooled(rows()(past))
    return keras.Model(past, [layers.Dense(N)(x), layers.Dense(1)(x)])


def no_lookup() -> Any:
    past = past_items()
    return keras.Model(past, layers.Dense(N)(layers.Rescaling(0.5, name="counts")(past)))


def several_heights() -> Any:
    past = past_items()
    both = [pooled(layers.Embedding(n, 4, name=f"of_{n}")(past)) for n in (N, N + 1)]
    return keras.Model(past, layers.Dense(N)(layers.Concatenate()(both)))


def three_inputs() -> Any:
    past, given = past_items(), [keras.Input((1,), name=name) for name in ("item", "age")]
    return keras.Model([past, *given], layers.Concatenate()([pooled(rows()(past)), *given]))


def other_items() -> Any:
    past, one = past_items(), keras.Input((), name="item", dtype="int32")
    item = layers.Embedding(N + 4, 8, name="offers")(one)
    return keras.Model([past, one], layers.Dot(1)([pooled(rows()(past)), item]))


def concatenated(user: Any, item: Any) -> Any:
    both = layers.Concatenate(name="both")([user, item])
    return layers.Dense(1)(layers.Dense(8, "relu")(both))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "lambda": (
        lambda: after(lambda x: layers.Lambda(lambda y: y[:, 0], name="first")(x), False),
        "first: a Lambda layer is Python code that the file brings along, and it was not run; wri",
    ),
    "gru": (
        lambda: after(layers.GRU(8, name="steps")),
        "steps: GRU reads a history one step after another, which cannot be imported; pool",
    ),
    "rnn": (
        lambda: after(layers.RNN(layers.LSTMCell(8), name="cells")),
        "cells: RNN reads a history one step after another",
    ),
    "bidirectional": (
        lambda: after(layers.Bidirectional(layers.LSTM(4), name="both_ways")),
        "both_ways: Bidirectional reads a history one step after another",
    ),
    "own layer": (
        lambda: after(lambda x: Own(name="mine")(pooled(x))),
        r"mine: Own is no layer or function of Keras but one of .*, and its code is not in the",
    ),
    "convolution": (
        lambda: after(lambda x: pooled(layers.Conv1D(8, 3, name="window")(x)), masks=False),
        r"window \(Conv1D\): convolution cannot be lowered$",
    ),
    "flatten": (
        lambda: after(layers.Flatten(name="places"), masks=False),
        r"places \(Flatten\): view: from \[1, 8, 8\] to \[1, 64\] mixes the history and the width$",
    ),
    "places": (
        places,
        r"each \(Dense\): expected scores of all items from one vector per user, got the shape .*8",
    ),
    "outputs": (
        two_outputs,
        "functional.* returns 2 tensors; save a model that returns scores only",
    ),
    "no embedding": (
        no_lookup,
        r"counts \(Rescaling\): expected an Embedding that reads the input history, the ids of",
    ),
    "heights": (several_heights, "of_4., of_4.: expected Embeddings of the same number of rows"),
    "inputs": (
        three_inputs,
        "it has the inputs history, item, age; expected one of past items and",
    ),
    "no dense": (
        lambda: keras.Model(past := past_items(), pooled(rows()(past))),
        r"global_average.* \(GlobalAveragePooling1D\): expected scores of all items from one Dense",
    ),
    "other items": (
        other_items,
        r"offers \(Embedding\): expected 41 rows for the input item, .* past items has, got 45",
    ),
    "dense over both": (
        lambda: joined(concatenated),
        r"both \(Concatenate\): the lists of the model are not those of the products of user ve",
    ),
    "widths": (
        lambda: joined(concatenated, 5),
        r"both \(Concatenate\), .*: expected a Dot of one user vector, which reads history alone",
    ),
    "falling": (
        lambda: joined(
            lambda user, item: ops.negative(layers.Dot(1, name="product")([user, item]))
        ),
        r"product \(Dot\): the lists of the model are not those of the products",
    ),
    "any length": (
        lambda: after(lambda x: ops.mean(x, axis=1), masks=False, length=None),
        "what it makes of a history depends on how far that is padded; give the input history a",
    ),
    "other columns": (
        lambda: keras.Model(
            past := past_items(), layers.Dense(50, name="wide")(pooled(rows()(past)))
        ),
        r"wide \(Dense\): expected scores of 40 items, for which the Embedding .* has rows, got 50",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_layers_that_cannot_be_imported(folder: Folder, case: str) -> None:
    make, message = REFUSED[case]
    keras.utils.set_random_seed(0)
    path = folder.save(make())
    with pytest.raises(ModelError, match=rf"model0\.keras: {message}"):
        folder.read(path)


def test_nothing_in_a_file_is_run(folder: Folder) -> None:
    whole = folder.save(after(pooled))
    marker = folder.path / "ran"
    for kind, module, config in (
        ("function", "os", "system"),
        ("function", "keras.utils", "get_file"),
        ("function", "keras.src.saving.saving_api", "load_model"),
        ("Popen", "subprocess", {"args": ["touch", str(marker)]}),
        ("__lambda__", "builtins", {"value": ["4wAA", None, None]}),
    ):
        path = folder.path / "changed.keras"
        with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name == "config.json":
                    described = json.loads(data)
                    part = {"class_name": kind, "module": module, "config": config}
                    described["config"]["layers"][1]["config"]["embeddings_initializer"] = part
                    data = json.dumps(described).encode()
                new.writestr(name, data)
        with pytest.raises(
            ModelError,
            match=r"changed\.keras: embedding.*: .*(Keras but|not run|was run)",
        ):
            folder.read(path)
    assert not marker.exists()


def test_what_is_no_keras_file(folder: Folder) -> None:
    whole = folder.save(after(pooled))
    data = whole.read_bytes()
    part, text, other = (folder.path / f"{name}.keras" for name in ("part", "text", "other"))
    part.write_bytes(data[: len(data) // 2])
    text.write_text("no model")
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("data.txt", "1")
    for path in (part, text, other):
        with pytest.raises(ModelError, match=rf"{path.name}: expected a model that Keras 3 saved"):
            folder.read(path)
    with pytest.raises(ModelError, match=r"none\.keras: no such file"):
        folder.read(folder.path / "none.keras")
    bare = folder.path / "bare.keras"
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(bare, "w") as new:
        new.writestr("config.json", old.read("config.json"))
    with pytest.raises(
        ModelError, match=r"bare\.keras: Keras 3.* cannot load it: .*if a later rel"
    ):
        folder.read(bare)
    with pytest.warns(UserWarning, match="has not yet been built"):
        class_only = folder.save(keras.Sequential([rows(), layers.GlobalAveragePooling1D()]))
    with pytest.raises(ModelError, match=r"sequential.* has no graph of layers; build it as a fun"):
        folder.read(class_only)


def test_ids_and_options_that_do_not_fit(folder: Folder) -> None:
    path = folder.save(after(pooled))
    (folder.path / "few.txt").write_text("a\nb\n")
    data = Dataset.from_pairs([1, 2], ["x", "y"], name="shop")
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"ids": "few.txt"},
            r"keras\.ids: expected 40 ids, one for each row of embedding.*few\.txt",
        ),
        ({"ids": "", "data": data}, r"keras\.ids: .*or 41 with it; shop has 2"),
        ({"ids": ""}, r"keras\.ids: expected a file with an id per row, or --data for its items"),
        ({"ids": "none.txt"}, r"none\.txt: expected ids, one per row"),
        ({"history": "clicks"}, r"keras\.history: the model has no input 'clicks'; it has history"),
        ({"item": "film"}, r"keras\.item: the model has no input 'film'; it has history"),
        ({"history_length": 9}, r"keras\.history_length: the input history has 8 places, got 9"),
        ({"padding": "left"}, "padding"),
    ]
    for options, message in cases:
        with pytest.raises(EdgerecError, match=message):
            folder.read(path, **options)
    given = [keras.Input((1,), name=name, dtype="int32") for name in ("a", "b")]
    sides = [layers.Flatten()(rows(masks=False)(one)) for one in given]
    twins = folder.save(keras.Model(given, layers.Dot(1)(sides)))
    for options in ({}, {"history": "a", "item": "a"}):
        with pytest.raises(
            OptionError, match=r"which of the inputs a, b has the past items cannot"
        ):
            folder.read(twins, **options)


def test_another_backend_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(keras.config, "backend", lambda: "tensorflow")
        with pytest.raises(
            ModelError, match=r"already imported Keras with the backend tensorflow; "
        ):
            use_torch()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "keras", None)
        with pytest.raises(ModelError, match=r"needs Keras 3; pip install 'edgerec\[keras\]'"):
            use_torch()
    code = (
        "import os; os.environ['KERAS_BACKEND'] = 'jax'; "
        "from edgerec_keras.archive import use_torch; use_torch(); import keras; "
        "print(keras.config.backend(), os.environ['KERAS_BACKEND'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["torch", "jax"]
