"""edgerec: compress a trained GNN recommender to a device's budget, and run it there.

    import edgerec

    data = edgerec.load("ml-100k").split_random(0.2)
    model = edgerec.train(data).to_device_model()
    small = edgerec.compress(model, "quantize:codec=int8")
    edgerec.export(small, "tflite", "films.edgerec")
    edgerec.Scorer.open("films.edgerec").recommend(["50", "172", "181"])

Names are imported on first use, so a device, which has numpy and one runtime, never loads what
only a workstation has.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgerec.building.agree import agree
    from edgerec.building.build import build
    from edgerec.building.recipe import Recipe
    from edgerec.building.search.plan import plan
    from edgerec.building.verify import verify
    from edgerec.compression.chain import compress
    from edgerec.contracts.bundle import Bundle
    from edgerec.contracts.device import Budget, Device, load_device
    from edgerec.contracts.host import Host
    from edgerec.contracts.opening import load_model
    from edgerec.data.dataset import Dataset
    from edgerec.data.feature_files import read_features
    from edgerec.data.features import Features
    from edgerec.data.quality import evaluate
    from edgerec.data.sentences import encode_texts
    from edgerec.data.sources import load
    from edgerec.device.scorer import Scorer
    from edgerec.errors import EdgerecError
    from edgerec.exporting.export import export
    from edgerec.importing.embeddings import from_embeddings
    from edgerec.importing.fold_in import fold_in
    from edgerec.importing.pyg import from_pyg
    from edgerec.importing.torch_module import from_torch
    from edgerec.model.device_model import DeviceModel
    from edgerec.model.model_file import save_model
    from edgerec.training.accelerator import accelerator
    from edgerec.training.cold_start import add_items
    from edgerec.training.loop import train
    from edgerec.training.trained import load_trained

__all__ = [
    "Budget",
    "Bundle",
    "Dataset",
    "Device",
    "DeviceModel",
    "EdgerecError",
    "Features",
    "Host",
    "Recipe",
    "Scorer",
    "accelerator",
    "add_items",
    "agree",
    "build",
    "compress",
    "encode_texts",
    "evaluate",
    "export",
    "fold_in",
    "from_embeddings",
    "from_pyg",
    "from_torch",
    "load",
    "load_device",
    "load_model",
    "load_trained",
    "plan",
    "read_features",
    "save_model",
    "train",
    "tune",
    "verify",
]

__version__ = "0.1.0"

_HOMES = {
    "Budget": "contracts.device",
    "Bundle": "contracts.bundle",
    "Dataset": "data.dataset",
    "Device": "contracts.device",
    "DeviceModel": "model.device_model",
    "EdgerecError": "errors",
    "Features": "data.features",
    "Host": "contracts.host",
    "Recipe": "building.recipe",
    "Scorer": "device.scorer",
    "accelerator": "training.accelerator",
    "add_items": "training.cold_start",
    "agree": "building.agree",
    "build": "building.build",
    "compress": "compression.chain",
    "encode_texts": "data.sentences",
    "evaluate": "data.quality",
    "export": "exporting.export",
    "fold_in": "importing.fold_in",
    "from_embeddings": "importing.embeddings",
    "from_pyg": "importing.pyg",
    "from_torch": "importing.torch_module",
    "load": "data.sources",
    "load_device": "contracts.device",
    "load_model": "contracts.opening",
    "load_trained": "training.trained",
    "plan": "building.search.plan",
    "read_features": "data.feature_files",
    "save_model": "model.model_file",
    "train": "training.loop",
    "tune": "building.tuning",
    "verify": "building.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgerec' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edgerec.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
