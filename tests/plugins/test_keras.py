"""The keras importer: what is exported recommends what the Keras model itself does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import edgerec
from edgerec.cli import app
from edgerec.contracts.opening import load_model
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import save_dataset
from edgerec.device.scorer import Scorer
from edgerec.model.device_model import DeviceModel
from tests.rigs.keras_files import (
    TOKENS,
    Folder,
    H,
    N,
    histories,
    keras,
    layers,
    ops,
    past_items,
    rows,
    scores,
    trained,
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def mean(length: int | None = H, masks: bool = True, units: int = N) -> Any:
    """Mean pooling, and a Dense layer with biases and a softmax over all rows."""
    past = past_items(length)
    x = layers.GlobalAveragePooling1D()(rows(masks)(past))
    x = layers.BatchNormalization()(layers.Dropout(0.3)(x))
    x = layers.Dense(16, "relu")(x)
    model = keras.Model(past, layers.Dense(units, "softmax")(x))
    return trained(model, "sparse_categorical_crossentropy" if units == N else "mse")


def sequential() -> Any:
    """A Sequential model that reads histories of any length."""
    head = layers.Dense(N, use_bias=False)
    pooling = layers.GlobalAveragePooling1D()
    return trained(keras.Sequential([past_items(None), rows(), pooling, head]))


def towers(cosine: bool = False) -> Any:
    """Two models: past items through dense layers, and an item with features."""
    given = keras.Input((H,), dtype="int32")
    user = keras.Sequential(
        [
            given,
            rows(),
            layers.GlobalAveragePooling1D(),
            layers.Dense(16, "gelu"),
            layers.LayerNormalization(),
            layers.Dense(6),
        ]
    )
    one = keras.Input((), dtype="int32")
    features = rows(masks=False, width=5)
    features.trainable = False
    both = layers.Concatenate()([rows(masks=False)(one), features(one)])
    item = keras.Model(one, layers.Dense(6)(layers.Dense(12, "tanh")(both)))
    inputs = [past_items(), keras.Input((), name="item", dtype="int32")]
    score = layers.Dot(1, normalize=cosine)([user(inputs[0]), item(inputs[1])])
    return trained(keras.Model(inputs, score if cosine else layers.Activation("sigmoid")(score)))


def attention() -> Any:
    """Attention over past items that is written with layers and keras.ops."""
    past = past_items()
    x = rows(masks=False)(past)
    mask = ops.expand_dims(ops.not_equal(past, 0), -1)
    energy = layers.Dense(1)(layers.Dense(8, "tanh")(x))
    pooled = layers.Dot(1)([layers.Softmax(1)(energy, mask=mask), x])
    return trained(keras.Model(past, layers.Dense(N)(layers.Flatten()(pooled))))


def transformer() -> Any:
    """Causal attention with two heads, of which the last place is read."""
    past = past_items()
    x = rows()(past)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x, use_causal_mask=True)])
    x = layers.LayerNormalization()(x)
    return trained(keras.Model(past, layers.Dense(N)(x[:, -1])))


def last() -> Any:
    """The last place of a history, padding included."""
    past = past_items()
    return trained(keras.Model(past, layers.Dense(N)(rows(masks=False)(past)[:, -1])))


def queried() -> Any:
    """A mean that attends to past items, and one with a mask that leaves nothing out."""
    past = past_items()
    x = rows()(past)
    query = layers.GlobalAveragePooling1D(keepdims=True)(x)
    found = layers.Attention(use_scale=True)([query, x])
    whole = layers.GlobalAveragePooling1D()(x, mask=ops.greater_equal(past, 0))
    both = layers.Concatenate()([layers.Flatten()(found), whole])
    return trained(keras.Model(past, layers.Dense(N)(both)))


def gated() -> Any:
    """Two parts of equal names, of which one weighs what the other says; padding counts."""
    past, parts = past_items(), []
    for activation in ("sigmoid", "tanh"):
        given = keras.Input((H,), dtype="int32")
        x = layers.Dense(8, activation, name="dense")(rows(masks=False, name="films")(given))
        parts.append(keras.Model(given, x, name=activation)(past))
    x = layers.GlobalMaxPooling1D()(layers.Multiply()(parts))
    return trained(keras.Model(past, layers.Dense(N)(x)))


def shared() -> Any:
    """One Embedding for past items and for the item to score, with inputs by name."""
    past, one = past_items(), keras.Input((1,), name="item", dtype="int32")
    table = rows()
    user, item = layers.GlobalAveragePooling1D()(table(past)), ops.squeeze(table(one), 1)
    return trained(keras.Model({"history": past, "item": one}, layers.Dot(1)([user, item])))


def reversible() -> Any:
    """The rows of past items are those of the softmax."""
    past, table = past_items(), layers.ReversibleEmbedding(N, 8, mask_zero=True)
    logits = table(layers.GlobalAveragePooling1D()(table(past)), reverse=True)
    return trained(keras.Model(past, layers.Softmax()(logits)))


def half() -> Any:
    """A model that computes in float16 on the machine that trained it."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return mean()
    finally:
        keras.config.set_dtype_policy("float32")


def lists_alike(model: Any, found: DeviceModel, folder: Folder, padding: str, near: float) -> None:
    """Check that exported files give the lists of the model, and its scores if they are numbers."""
    for target in ("numpy", "onnx", "tflite"):
        written = edgerec.export(found, target, folder.path / f"x.{target}.edgerec", top_k=20)
        with Scorer(written, trust=True) as scorer:
            for past in histories():
                wanted = scores(model, past, padding)
                best = [row for row in np.argsort(-wanted) if row and row not in past][:20]
                listed = scorer.recommend([TOKENS[row] for row in past], 20)
                found_rows = [TOKENS.index(one.id) for one in listed]
                # Two items whose scores differ by rounding alone may change places.
                assert len(set(found_rows) - {0, *past}) == 20
                assert wanted[found_rows] == pytest.approx(wanted[best], rel=1e-5, abs=1e-6)
                if near:
                    own = [one.score for one in listed]
                    assert own == pytest.approx(wanted[found_rows].tolist(), rel=near, abs=near)


#: What makes each model, where its padding is, and how near its scores are if they are compared.
MODELS: dict[str, tuple[Any, str, float]] = {
    "softmax": (mean, "post", 0),
    "softmax pre": (mean, "pre", 0),
    "unmasked": (lambda: mean(masks=False), "post", 0),
    "unmasked pre": (lambda: mean(masks=False), "pre", 0),
    "any length": (sequential, "post", 1e-4),
    "towers": (towers, "post", 1e-4),
    "cosine": (lambda: towers(cosine=True), "post", 1e-4),
    "attention": (attention, "post", 1e-4),
    "attention pre": (attention, "pre", 1e-4),
    "transformer": (transformer, "pre", 1e-4),
    "last place": (last, "post", 1e-4),
    "last place pre": (last, "pre", 1e-4),
    "queried": (queried, "post", 1e-4),
    "gated": (gated, "post", 1e-4),
    "shared": (shared, "post", 1e-4),
    "reversible": (reversible, "post", 0),
}


@pytest.mark.parametrize("case", MODELS)
def test_exports_recommend_what_keras_does(folder: Folder, case: str) -> None:
    make, padding, near = MODELS[case]
    model = make()
    found = folder.read(model, padding=padding)
    assert list(found.items.ids) == TOKENS[1:]
    assert (found.repeats, found.metadata["imported"]) == ("keep", "model0.keras")
    lists_alike(model, found, folder, padding, near)


def test_heads_tables_and_lengths(folder: Folder) -> None:
    found = folder.read(towers(cosine=True))
    assert (found.head.kind, found.history_length, found.takes_any_length) == ("cosine", H, True)
    assert folder.read(towers()).head.kind == "sigmoid"
    for make in (shared, reversible):
        found = folder.read(make())
        assert (found.head.kind, list(found.tables), found.is_linear) == ("dot", ["items"], True)
    assert folder.read(sequential()).history_length == 200
    assert folder.read(sequential(), history_length=30).history_length == 30


def test_mixed_precision_is_read_as_float32(folder: Folder) -> None:
    path = folder.save(half())
    found = folder.read(path)
    model = keras.saving.load_model(path, compile=False)
    for layer in model.layers:
        layer.dtype_policy = "float32"
    lists_alike(model, found, folder, "post", 0)


def test_row_0_may_be_an_item(folder: Folder) -> None:
    model = mean(None, masks=False)
    found = folder.read(model, "all.txt", history_length=H)
    assert list(found.items.ids) == TOKENS
    with Scorer(edgerec.export(found, "numpy", folder.path / "x.edgerec"), trust=True) as scorer:
        for past in ([0], [0, 3, 0, 5], [4, 0]):
            wanted = scores(model, np.array(past, np.int32))
            best = [TOKENS[row] for row in np.argsort(-wanted) if row not in past][:10]
            assert [one.id for one in scorer.recommend([TOKENS[row] for row in past])] == best
    path = folder.save(model)
    assert folder.read(path).items.ids[0] == TOKENS[1]  # one id fewer: row 0 is padding
    masked = folder.read(mean(), "all.txt")
    assert list(masked.items.ids) == TOKENS[1:]
    assert list(folder.read(mean(units=N - 1)).items.ids) == TOKENS[1:]


def test_options_tell_inputs_apart(folder: Folder) -> None:
    past, one = past_items(1), keras.Input((1,), name="film", dtype="int32")
    sides = [layers.Flatten()(rows(masks=False)(given)) for given in (past, one)]
    path = folder.save(trained(keras.Model([one, past], layers.Dot(1)(sides))))
    found = {name: folder.read(path, history=name) for name in ("history", "film")}
    other = folder.read(path, item="film")
    for name in ("items", "past"):
        assert np.array_equal(other.tables[name].decode(), found["history"].tables[name].decode())
    assert np.array_equal(
        found["film"].tables["past"].decode(), found["history"].tables["items"].decode()
    )


def test_on_the_command_line(folder: Folder) -> None:
    pairs = [(row % 7, token) for row, token in enumerate(TOKENS[1:])]
    data = Dataset.from_pairs(*zip(*pairs, strict=True))
    model = mean()
    path, output, saved = folder.save(model), folder.path / "x.model", folder.path / "x.dataset"
    save_dataset(data, saved)
    done = CliRunner().invoke(
        app, ["import", "keras", str(path), "--data", str(saved), "-o", str(output)]
    )
    assert done.exit_code == 0, done.output
    assert list(load_model(output).items.ids) == list(data.items.ids)
    spec = f"keras:ids={folder.path / 'ids.txt'},padding=pre"
    done = CliRunner().invoke(app, ["import", spec, str(path), "-o", str(output)])
    assert done.exit_code == 0, done.output
    lists_alike(model, load_model(output), folder, "pre", 0)
