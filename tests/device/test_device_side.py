"""What runs on a device imports numpy, the standard library and its runtime: never torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import edgerec
from edgerec.model.device_model import DeviceModel

ROOT = Path(__file__).parents[2]

#: Third-party packages that the device side may load, besides a target's runtime.
ALLOWED = {"numpy", "pluggy", "edgerec"}

SCORE = """
import sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise AssertionError("the device side imports " + name)
sys.meta_path.insert(0, Guard())
import edgerec, edgerec.device.bench, edgerec.remote.bench, edgerec.model.oracle, edgerec.plugin
found = edgerec.Scorer.open({path!r}).recommend(["i00001", "i00002"], 5)
assert len(found) == 5
print(" ".join(sorted(n for n in sys.modules if "." not in n)))
"""

WORKSTATION = {
    "torch",
    "torch_geometric",
    "polars",
    "rich",
    "typer",
    "tensorflow",
    "optuna",
    "onnx",
}


@pytest.mark.parametrize("target", ["numpy", "tflite", "onnx"])
def test_scoring_loads_no_workstation_package(
    models: dict[str, DeviceModel], tmp_path: Path, target: str
) -> None:
    path = tmp_path / "x.edgerec"
    edgerec.export(models["sum"], target, path, top_k=20)
    code = SCORE.format(blocked=WORKSTATION, path=str(path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not WORKSTATION & set(done.stdout.split())


def test_importing_edgerec_is_light() -> None:
    code = "import sys, edgerec; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not (WORKSTATION | {"numpy"}) & set(done.stdout.split())


def test_the_public_names_are_all_there() -> None:
    assert edgerec.__all__ == sorted(edgerec.__all__)
    assert set(edgerec.__all__) == set(edgerec._HOMES)
    for name in edgerec.__all__:
        assert getattr(edgerec, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        edgerec.nope  # noqa: B018  # the attribute access is what is tested
