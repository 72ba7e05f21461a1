"""The door: all that a plugin imports.

from edgerec.plugin import Compressor, Context, DeviceModel, hookimpl
"""

from edgerec.basis import leading_basis, stack
from edgerec.bundle import Bundle
from edgerec.codecs import (
    F32,
    Above,
    Arrays,
    Codec,
    Fp16,
    Fp32,
    Int4,
    Int8,
    above,
    pack4,
    unpack4,
)
from edgerec.compressor import Compressor, Context
from edgerec.device import Budget, Device, device_from
from edgerec.device_model import DeviceModel, Head, Table
from edgerec.errors import (
    CodecError,
    CompressError,
    EdgerecError,
    ModelError,
    OptionError,
    RuntimeMissingError,
    TargetError,
)
from edgerec.hookspecs import hookimpl
from edgerec.items import Items
from edgerec.lowering import candidate_factor, check_size, group_size
from edgerec.metrics import long_tail_share
from edgerec.ops import MASKED, Op
from edgerec.reference import (
    Reference,
    normalize,
    run_encoder,
    sigmoid,
    top_k,
    without_padding,
)
from edgerec.store import model_payload
from edgerec.target import Payload, Runner, Signature, Target
from edgerec.tuned import TunedCompressor

__all__ = [
    "F32",
    "MASKED",
    "Above",
    "Arrays",
    "Budget",
    "Bundle",
    "Codec",
    "CodecError",
    "CompressError",
    "Compressor",
    "Context",
    "Device",
    "DeviceModel",
    "EdgerecError",
    "Fp16",
    "Fp32",
    "Head",
    "Int4",
    "Int8",
    "Items",
    "ModelError",
    "Op",
    "OptionError",
    "Payload",
    "Reference",
    "Runner",
    "RuntimeMissingError",
    "Signature",
    "Table",
    "Target",
    "TargetError",
    "TunedCompressor",
    "above",
    "candidate_factor",
    "check_size",
    "device_from",
    "group_size",
    "hookimpl",
    "leading_basis",
    "long_tail_share",
    "model_payload",
    "normalize",
    "pack4",
    "run_encoder",
    "sigmoid",
    "stack",
    "top_k",
    "unpack4",
    "without_padding",
]
