"""Plugins that are installed for one test: a distribution laid out in a folder, as pip would."""

from __future__ import annotations

import importlib.metadata
import sys
import textwrap
from pathlib import Path

import pytest

from edgerec.contracts.hookspecs import GROUP

HEAD = """
from dataclasses import dataclass
from typing import ClassVar
from edgerec.plugin import *
edgerec_api = 2
"""


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str
) -> importlib.metadata.EntryPoint:
    """Lay a distribution with one plugin module out in a folder, as pip would."""
    (folder / f"{name}_module.py").write_text(HEAD + textwrap.dedent(body))
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}_module\n")
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop(f"{name}_module", None)
    found = importlib.metadata.distribution(name).entry_points
    return next(iter(found))
