"""The codecs that are always there."""

from __future__ import annotations

from collections.abc import Mapping

from edgerec.model.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.model.mixed import Mixed

__all__ = ["CODECS"]

#: The codecs of core, by name; a host adds those of plugins.
CODECS: Mapping[str, type[Codec]] = {c.name: c for c in (Fp32, Fp16, Int8, Int4, Mixed)}
