"""Opening a bundle imports no more plugins than it needs, and none can disturb it."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

import edgerec
from edgerec.contracts.host import Host
from edgerec.contracts.manifest import Provider
from edgerec.contracts.opening import open_bundle
from edgerec.errors import BundleError, CompressError, UnknownNameError
from edgerec.exporting.export import export
from edgerec.model.device_model import DeviceModel
from edgerec.testing import check_codec
from edgerec_pq.codec import PQ
from tests.rigs.plugins import install
from tests.rigs.tamper import tamper

SCORE = """
import json, sys
import edgerec
found = edgerec.Scorer.open(sys.argv[1], trust=True).recommend(["i00001"], 3)
modules = [name for name in sys.modules if name.startswith("edgerec_")]
print(json.dumps([[r.id for r in found], modules]))
"""


def score(bundle: Path, *path: Path) -> tuple[list[str], list[str]]:
    """Recommend in a fresh process; return the ids and the names of the imported plugins."""
    code = f"import sys; sys.path[:0] = {[str(p) for p in path]!r}\n{SCORE}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    ids, modules = json.loads(done.stdout)
    return ids, modules


@pytest.mark.parametrize("target", ["numpy", "onnx", "tflite"])
def test_only_the_target_is_imported(
    target: str, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    model = edgerec.compress(models["sum"], "quantize:codec=int8")
    bundle = export(model, target, tmp_path / "x.edgerec")
    expected = [r.id for r in edgerec.Scorer(bundle).recommend(["i00001"], 3)]
    ids, modules = score(bundle.path)
    assert ids == expected
    assert {name.partition(".")[0] for name in modules} == {f"edgerec_{target}"}


def test_the_plugin_of_a_codec_is_imported(models: dict[str, DeviceModel], tmp_path: Path) -> None:
    model = models["sum"].with_codec(PQ(4), ["items"])
    _, modules = score(export(model, "numpy", tmp_path / "x.edgerec").path)
    assert {name.partition(".")[0] for name in modules} == {"edgerec_numpy", "edgerec_pq"}


def test_a_codec_whose_plugin_has_another_name(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    model = edgerec.compress(models["sum"], "prune:share=0.9")
    assert {t.codec.name for t in model.tables.values()} & {"sparse"}
    bundle = export(model, "numpy", tmp_path / "x.edgerec")
    ids, modules = score(bundle.path)
    assert ids == [r.id for r in edgerec.Scorer(bundle).recommend(["i00001"], 3)]
    # The manifest names the plugin that the codec comes from.
    assert {name.partition(".")[0] for name in modules} == {"edgerec_numpy", "edgerec_prune"}
    assert bundle.providers == {
        ("target", "numpy"): Provider("edgerec", "numpy"),
        ("codec", "sparse"): Provider("edgerec", "prune"),
    }
    assert len(open_bundle(bundle.path).codecs) == len(Host.installed().codecs)


ODD = """
from edgerec_numpy import NumpyTarget

class Odd(NumpyTarget):
    name = "odd"

@hookimpl
def edgerec_targets():
    return [Odd]
"""


def test_a_target_that_is_not_installed(
    models: dict[str, DeviceModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host([install(tmp_path, monkeypatch, "odd_one", ODD)])
    bundle = export(models["sum"], "odd", tmp_path / "x.edgerec", host=host)
    assert bundle.providers == {("target", "odd"): Provider("odd_one", "odd_one")}
    assert len(edgerec.Scorer.open(bundle.path, host=host).recommend(["i00001"], 3)) == 3
    monkeypatch.setattr("edgerec.contracts.opening._plugin", lambda *_: None)
    with pytest.raises(UnknownNameError, match="made with the plugin 'odd_one' of 'odd_one'; pip"):
        edgerec.Scorer.open(bundle.path)


@pytest.mark.parametrize(
    ("providers", "message"),
    [
        ([], "providers: expected an object"),
        ({"target": {}}, "providers.codec: expected an object, got nothing"),
        ({"target": {"numpy": {}}, "codec": {}}, "providers.target.numpy.distribution: expected"),
        (
            {"target": {"numpy": {"distribution": "../x", "entry_point": "y"}}, "codec": {}},
            r"providers.target.numpy: expected plain names, got \('../x', 'y'\)",
        ),
    ],
)
def test_providers_that_are_malformed(
    providers: object, message: str, models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    path = export(models["sum"], "numpy", tmp_path / "x.edgerec").path
    tamper(path, providers=providers)
    with pytest.raises(BundleError, match=message):
        open_bundle(path)


def test_providers_that_provide_something_else(
    models: dict[str, DeviceModel], tmp_path: Path
) -> None:
    path = export(models["sum"], "numpy", tmp_path / "x.edgerec").path
    expected = [r.id for r in edgerec.Scorer.open(path).recommend(["i00001"], 3)]
    for named in ({"distribution": "edgerec", "entry_point": "pq"}, {}):
        other = named or {"distribution": "none", "entry_point": "none"}
        tamper(path, providers={"target": {"numpy": other}, "codec": {}})
        assert [r.id for r in edgerec.Scorer.open(path).recommend(["i00001"], 3)] == expected


@pytest.mark.parametrize(
    "body", ["import time; time.sleep(600)", "import os; os._exit(3)", "print('noise')", "1 / 0"]
)
def test_another_plugin_does_not_disturb(
    body: str, models: dict[str, DeviceModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = export(models["sum"], "numpy", tmp_path / "x.edgerec")
    expected = [r.id for r in edgerec.Scorer(bundle).recommend(["i00001"], 3)]
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder, monkeypatch, "noisy", body)
    assert score(bundle.path, folder)[0] == expected


def test_what_a_plugin_prints_is_not_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = install(tmp_path, monkeypatch, "noisy", "print('noise')")
    Host([entry])
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "noise\n")


HIDING = """
import numpy as np
_kept = {}

@dataclass(frozen=True)
class Hiding(Codec):
    name: ClassVar[str] = "hiding"
    def encode(self, matrix):
        _kept["matrix"] = matrix
        return {"rows": np.zeros(len(matrix), np.uint8)}
    def decode(self, arrays, rows):
        return _kept["matrix"][rows]
    def layout(self, n, d):
        return {"rows": ("|u1", (n,))}

@hookimpl
def edgerec_codecs():
    return [Hiding]
"""


def test_a_codec_that_hides_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host([install(tmp_path, monkeypatch, "hiding", HIDING)])
    with pytest.raises(AssertionError, match="decode needs more than the options and the arrays"):
        check_codec(host.codec("hiding"))


OUTLINES = """
@dataclass(frozen=True)
class Liar(Compressor):
    name: ClassVar[str] = "liar"
    how: str = "lies"
    def compress(self, model, context):
        return model.with_codec(Int8(), ["items"])
    def outline(self, model):
        if self.how == "raises":
            raise KeyError("lost")
        return 3 if self.how == "number" else model.with_codec(Int4(), ["items"])

@hookimpl
def edgerec_compressors():
    return [Liar]
"""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", r"liar: outline: KeyError: 'lost' \(in liar 1\.2\)"),
        ("number", "liar: outline: expected a DeviceModel or None, got int"),
        ("lies", "'items': 'int8 of width .*its outline announced .*'items': 'int4 of width"),
    ],
)
def test_an_outline_that_is_wrong(
    how: str,
    message: str,
    dataset: edgerec.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = edgerec.train(dataset, epochs=1, dim=8).to_device_model()
    folder = tmp_path / "site"
    folder.mkdir()
    entry = install(folder, monkeypatch, "liar", OUTLINES)
    host = Host([entry, *importlib.metadata.entry_points(group="edgerec", name="numpy")])
    recipe = edgerec.Recipe((("liar", {"how": how}),), ("numpy",))
    with pytest.raises(CompressError, match=message):
        edgerec.build(model, dataset, recipe, tmp_path / "out", host=host)
