"""Open a .keras file on torch, after refusing what cannot be imported by the name of its layer.

A .keras file is a zip archive of a config in JSON and of weights in HDF5. The config names the
class of each layer, and Keras imports it by that name. Before that, every name is checked here:
only Keras's own classes and functions are let through, and no Lambda.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgerec.plugin import ModelError

__all__ = ["check", "load", "use_torch"]

#: Layers that read a history step by step.
_RECURRENT = re.compile(r"(LSTM|GRU|RNN)(Cell|\dD)?$|^Bidirectional$")

#: Layers that turn tokens into rows, which need TensorFlow.
_LOOKUPS = ("StringLookup", "IntegerLookup", "Hashing", "HashedCrossing", "TextVectorization")

#: Parts of Keras that no model is made of, and that read or write files.
_TOOLS = ("callbacks", "config", "export", "saving", "utils")


def use_torch() -> None:
    """Import Keras with its torch backend.

    Raises:
        ModelError: it is missing, or another backend is in use.
    """
    before = os.environ.get("KERAS_BACKEND")
    try:
        if "keras" not in sys.modules:
            os.environ["KERAS_BACKEND"] = "torch"
        keras = importlib.import_module("keras")
    except ImportError as error:
        raise ModelError(
            f"keras: reading its models needs Keras 3; pip install 'edgerec[keras]' ({error})"
        ) from None
    finally:
        if before is None:
            os.environ.pop("KERAS_BACKEND", None)
        else:
            os.environ["KERAS_BACKEND"] = before
    backend = getattr(keras, "config", keras.backend).backend()
    if backend != "torch":
        raise ModelError(
            f"keras: this process has already imported Keras with the backend {backend}; set the "
            "environment variable KERAS_BACKEND=torch before that, or run `edgerec import`"
        )


def load(path: Path) -> Any:
    """The model of a file that was checked, in float32.

    Raises:
        ModelError: Keras cannot load it.
    """
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # each layer raises its own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"Keras {keras.__version__} cannot load it: {first} (if a later release saved it, "
            "pip install --upgrade keras)"
        ) from error
    for layer in model._flatten_layers():
        if layer.compute_dtype in ("float16", "bfloat16"):
            layer.dtype_policy = "float32"
    return model


def check(path: Path) -> None:
    """Check the class of each layer.

    Raises:
        ModelError: it is no such file, or one cannot be imported.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = list(_parts(json.loads(archive.read("config.json")), "model"))
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path}: expected a model that Keras 3 saved as .keras, a zip archive with "
            f"config.json: {error}"
        ) from None
    for layer, part in parts:
        if reason := _refusal(part):
            raise ModelError(f"{path}: {layer}: {reason}")


def _parts(value: Any, layer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a config, and the name of the layer that it belongs to."""
    if isinstance(value, dict):
        if "class_name" in value:
            config = value.get("config")
            own = config.get("name") if isinstance(config, dict) else None
            is_layer = "inbound_nodes" in value or "build_config" in value
            layer = str(value.get("name") or (own if is_layer or layer == "model" else layer))
            yield layer, value
        for key, one in value.items():
            if key != "compile_config":  # losses and optimizers are not loaded
                yield from _parts(one, layer)
    elif isinstance(value, list):
        for one in value:
            yield from _parts(one, layer)


def _refusal(part: dict[str, Any]) -> str:
    """Why an object of a config cannot be imported; empty if it may be."""
    kind, module = str(part["class_name"]), part.get("module")
    named = str(part.get("config")) if kind == "function" else kind
    if kind in ("Lambda", "__lambda__"):
        return (
            "a Lambda layer is Python code that the file brings along, and it was not run; write "
            "it with keras.ops or with other layers, and save the model again"
        )
    if _RECURRENT.search(kind):
        return (
            f"{kind} reads a history one step after another, which cannot be imported; pool the "
            "history, or use attention"
        )
    if kind in _LOOKUPS:
        return (
            f"{kind} looks rows up by tokens, which a device does itself; save the model from the "
            "rows on, and pass the tokens as ids="
        )
    parts = str(module).removeprefix("keras.src.").removeprefix("keras.").split(".")
    known = module in (None, "builtins", "keras") or str(module).startswith("keras.")
    if parts[0] in _TOOLS:
        return f"{module}.{named} is no layer, and nothing of it was run; expected layers of Keras"
    if not known or ">" in str(part.get("registered_name")):
        return (
            f"{named} is no layer or function of Keras but one of {module or 'your own'}, and its "
            "code is not in the file; rebuild the model from Keras's own layers, give it the same "
            "weights and save it"
        )
    return ""
