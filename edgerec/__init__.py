"""edgerec: compress a trained GNN recommender to a device's budget, and run it there.

    import edgerec

    data = edgerec.load("ml-100k").split_random(0.2)
    model = edgerec.train(data).to_device_model()
    small = edgerec.compress(model, "quantize:codec=int8")
    edgerec.export(small, "tflite", "films.edgerec")
    edgerec.Scorer.open("films.edgerec").recommend(["50", "172", "181"])

Names are imported when they are first used: a device, which has numpy and one runtime,
never loads what only a workstation has.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgerec.bundle import Bundle
    from edgerec.data import Dataset
    from edgerec.device import Budget, Device, load_device
    from edgerec.device_model import DeviceModel
    from edgerec.errors import EdgerecError
    from edgerec.planner import plan
    from edgerec.quality import evaluate
    from edgerec.recipe import Recipe, build, compress
    from edgerec.score import Scorer
    from edgerec.sources import load
    from edgerec.store import load_model, save_model
    from edgerec.target import export
    from edgerec.training import train

__all__ = [
    "Budget",
    "Bundle",
    "Dataset",
    "Device",
    "DeviceModel",
    "EdgerecError",
    "Recipe",
    "Scorer",
    "build",
    "compress",
    "evaluate",
    "export",
    "load",
    "load_device",
    "load_model",
    "plan",
    "save_model",
    "train",
]

__version__ = "0.1.0"

_HOMES = {
    "Budget": "device",
    "Bundle": "bundle",
    "Dataset": "data",
    "Device": "device",
    "DeviceModel": "device_model",
    "EdgerecError": "errors",
    "Recipe": "recipe",
    "Scorer": "score",
    "build": "recipe",
    "compress": "recipe",
    "evaluate": "quality",
    "export": "target",
    "load": "sources",
    "load_device": "device",
    "load_model": "store",
    "plan": "planner",
    "save_model": "store",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgerec' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgerec.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
