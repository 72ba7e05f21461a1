"""The codec of the plugin guide, installed as a third party would, runs on every target."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgerec.contracts.host import Host

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text("utf-8")

#: Those whose runtime is installed; executorch needs an environment of its own.
TARGETS = [name for name, kind in Host.installed().targets.items() if kind().runtimes()]

#: It imports what anyone may: edgerec itself, and the suites for plugins.
CODE = """
import sys
import edgerec
from edgerec.testing import check_target, example_models
from my_signs import Signs

model = example_models(700, 20)["two-tables"]
small = edgerec.compress(model, "quantize:codec=signs")
assert {table.codec.name for table in small.tables.values()} == {"signs"}, small
bundle = edgerec.export(small, sys.argv[1], "x.edgerec", top_k=20)
found = edgerec.Scorer.open("x.edgerec", trust=True).recommend([small.items.ids[3]], k=5)
assert len(found) == 5, found

from edgerec.plugin import Target
target = next(kind() for kind in Target.__subclasses__() if kind.name == sys.argv[1])
models = example_models(700, 20)
outcome = check_target(target, ".", {k: models[k] for k in ("sum", "dense")}, (Signs(),))
assert set(outcome.values()) == {"ok"}, outcome
"""


@pytest.mark.parametrize("target", TARGETS)
def test_a_codec_written_from_the_guide(target: str, tmp_path: Path) -> None:
    """Its width is not a multiple of 8, so that bits of the last byte are unused."""
    found = re.search(r"```python\n# my_signs\.py\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    (tmp_path / "my_signs.py").write_text(found[1])
    info = tmp_path / "my_signs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_signs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edgerec]\nsigns = my_signs\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", CODE, target],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
