"""The door for plugins: everything that a plugin imports from edgerec.

    from edgerec.plugin import Compressor, Context, DeviceModel, hookimpl

Plugins that use torch also import ``edgerec.learn``, inside their functions. What only compressors
need is imported when it is first used, because a device waits for every import.
"""

import importlib
from typing import TYPE_CHECKING, Any

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.compressor import Compressor, Context
from edgerec.contracts.device import Budget, Device, device_from
from edgerec.contracts.family import Family
from edgerec.contracts.hookspecs import API_VERSION, hookimpl
from edgerec.contracts.importer import Importer
from edgerec.contracts.runner import CANDIDATES, Artefact, Runner
from edgerec.contracts.signature import Signature
from edgerec.contracts.target import Payload, Target
from edgerec.data.dataset import Dataset
from edgerec.errors import (
    CodecError,
    CompressError,
    EdgerecError,
    ModelError,
    OptionError,
    RuntimeMissingError,
    TargetError,
)
from edgerec.exporting.lowering import (
    as_core,
    candidate_centroids,
    candidate_factor,
    check_size,
    group_size,
)
from edgerec.model.blocks import OPTIMISM, Blocks, Centroids
from edgerec.model.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.model.device_model import DeviceModel, Head
from edgerec.model.history import list_unseen, read_history, without_padding
from edgerec.model.integers import F32, Arrays, pack4, unpack4
from edgerec.model.items import Items
from edgerec.model.mixed import Mixed
from edgerec.model.model_file import model_payload
from edgerec.model.ops import MASKED, Op
from edgerec.model.oracle import Oracle, normalize, run_encoder, sigmoid, top_k
from edgerec.model.structure import (
    STRUCTURES,
    Affine,
    Dense,
    Lookup,
    Partition,
    RunLines,
    Sparse,
    Structure,
)
from edgerec.model.table import Table

if TYPE_CHECKING:
    from edgerec.compression.popularity import popularity
    from edgerec.compression.singular_vectors import leading_basis, stack
    from edgerec.compression.trainable import FineTuningCompressor
    from edgerec.data.metrics import long_tail_share

__all__ = [
    "API_VERSION",
    "CANDIDATES",
    "F32",
    "MASKED",
    "OPTIMISM",
    "STRUCTURES",
    "Affine",
    "Arrays",
    "Artefact",
    "Blocks",
    "Budget",
    "Bundle",
    "Centroids",
    "Codec",
    "CodecError",
    "CompressError",
    "Compressor",
    "Context",
    "Dataset",
    "Dense",
    "Device",
    "DeviceModel",
    "EdgerecError",
    "Family",
    "FineTuningCompressor",
    "Fp16",
    "Fp32",
    "Head",
    "Importer",
    "Int4",
    "Int8",
    "Items",
    "Lookup",
    "Mixed",
    "ModelError",
    "Op",
    "OptionError",
    "Oracle",
    "Partition",
    "Payload",
    "RunLines",
    "Runner",
    "RuntimeMissingError",
    "Signature",
    "Sparse",
    "Structure",
    "Table",
    "Target",
    "TargetError",
    "as_core",
    "candidate_centroids",
    "candidate_factor",
    "check_size",
    "device_from",
    "group_size",
    "hookimpl",
    "leading_basis",
    "list_unseen",
    "long_tail_share",
    "model_payload",
    "normalize",
    "pack4",
    "popularity",
    "read_history",
    "run_encoder",
    "sigmoid",
    "stack",
    "top_k",
    "unpack4",
    "without_padding",
]

_LATER = {
    "FineTuningCompressor": "edgerec.compression.trainable",
    "leading_basis": "edgerec.compression.singular_vectors",
    "long_tail_share": "edgerec.data.metrics",
    "popularity": "edgerec.compression.popularity",
    "stack": "edgerec.compression.singular_vectors",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'edgerec.plugin' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
