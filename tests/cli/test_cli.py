"""The command line: one readable message, exit code 2, never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import save_dataset
from edgerec.exporting.export import export
from edgerec.model.items import Items
from edgerec.testing import example_models


def edgerec(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgerec", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=None,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    """A folder with a dataset, a model and a built bundle, made by the command line."""
    folder = tmp_path_factory.mktemp("cli")
    save_dataset(dataset, folder / "d.dataset")
    done = edgerec(
        "train", "d.dataset", "--epochs", "3", "--dim", "16", "-o", "m.model", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert "NDCG@20" in done.stdout
    done = edgerec(
        *("build", "m.model", "--data", "d.dataset", "--target", "numpy"),
        *("--compress", "quantize:codec=int8", "--device", "pixel-6a", "-o", "dist"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert "quantize:" in done.stdout
    return folder


def test_what_a_terminal_would_obey_is_escaped(tmp_path: Path) -> None:
    model = example_models(40, 16)["sum"]
    titles = [f"\x1b[31m red {n}\x9b\u202e" for n in range(40)]
    model = model.replace(items=Items.of(list(model.items.ids), titles), metadata={"a": "\x1b]0;x"})
    path = export(model, "numpy", tmp_path / "x.edgerec").path
    for arguments in (("score", "--history", "i00001", "-k", "3"), ("inspect",)):
        done = edgerec(arguments[0], str(path), *arguments[1:])
        assert done.returncode == 0, done.stderr
        assert "\\u001b[31m red" in done.stdout or "\\u001b]0;x" in done.stdout
        assert not {"\x1b", "\x9b", "\u202e"} & {*done.stdout, *done.stderr}


def fails(folder: Path, message: str, *arguments: str) -> None:
    done = edgerec(*arguments, cwd=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr


def test_score(folder: Path) -> None:
    done = edgerec(
        "score", "dist/numpy.edgerec", "--history", "i001,zz,i002", "-k", "4", cwd=folder
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4
    assert "Title" in done.stdout
    assert "1 unknown items were skipped: zz" in done.stderr
    quoted = '"i001", "zz, zzz"'
    done = edgerec("score", "dist/numpy.edgerec", "--history", quoted, cwd=folder)
    assert "1 unknown items were skipped: zz, zzz" in done.stderr
    done = edgerec("score", "dist/numpy.edgerec", "--history", "", "--json", cwd=folder)
    assert "the history has no known item; these are the most popular items" in done.stderr
    assert json.loads(done.stdout)[0]["score"] is None


def test_inspect_bench_devices_plugins(folder: Path) -> None:
    inspected = json.loads(edgerec("inspect", "dist/numpy.edgerec", cwd=folder).stdout)
    assert inspected["target"] == "numpy"
    assert inspected["tables"]["items"]["codec"] == "int8"
    fails(
        folder,
        "target numpy: it has no list of operators to build for",
        *("inspect", "dist/numpy.edgerec", "--operators"),
    )
    assert inspected["provenance"]["steps"][0]["compressor"] == "quantize"
    figures = json.loads(edgerec("bench", "dist/numpy.edgerec", "--json", cwd=folder).stdout)
    assert figures["p95_ms"] > 0
    assert "pixel-6a" in edgerec("devices").stdout
    listed = json.loads(edgerec("plugins", "--json").stdout)
    assert {"quantize", "numpy", "tflite", "onnx", "torchscript"} <= {row["name"] for row in listed}
    assert {row["distribution"] for row in listed if row["name"] == "numpy"} == {"edgerec"}
    options = next(row["options"] for row in listed if row["name"] == "quantize")
    assert options[0] | {"help": ""} == {
        "name": "codec",
        "type": "a codec",
        "default": "int8",
        "help": "",
    }
    codecs = {row["name"]: row for row in listed if row["kind"] == "codec"}
    assert {"int8", "mixed", "pq", "int4_group", "sparse"} <= {*codecs}
    assert [option["name"] for option in codecs["int4_group"]["options"]] == [
        *("group", "symmetric", "range")
    ]
    rest = next(o for o in codecs["mixed"]["options"] if o["name"] == "rest")
    assert (rest["type"], rest["default"]) == ("a codec", "int4")


def test_a_recipe(folder: Path) -> None:
    (folder / "r.toml").write_text(
        'targets = ["numpy"]\ntop_k = 5\n[[compress]]\nname = "quantize"\ncodec = "int4"\n'
    )
    done = edgerec(
        *("build", "m.model", "--data", "d.dataset", "--recipe", "r.toml", "-o", "r", "--json"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    (built,) = json.loads(done.stdout)
    assert built["bundle_bytes"] == (folder / "r" / "numpy.edgerec").stat().st_size
    assert 0.5 < built["quality"] <= 1.2
    (folder / "bad.toml").write_text("compres = 1\n")
    fails(
        folder,
        "bad.toml: unknown key compres; keys: device, targets, top_k, compress",
        *("build", "m.model", "--data", "d.dataset", "--recipe", "bad.toml", "-o", "r"),
    )


def test_an_impossible_budget_writes_nothing(folder: Path) -> None:
    (folder / "tiny.toml").write_text('[device]\nname = "tiny"\nmax_bundle_bytes = 1000\n')
    build = (
        "build",
        "m.model",
        "--data",
        "d.dataset",
        "--target",
        "numpy",
        "--compress",
        "quantize",
    )
    fails(
        folder,
        "budget.max_bundle_bytes: measured",
        *(*build, "--device", "tiny.toml", "-o", "tiny"),
    )
    assert list((folder / "tiny").iterdir()) == []


@pytest.mark.slow
def test_a_device_without_a_chain_is_planned_for(folder: Path) -> None:
    # The model as it is takes more.
    (folder / "small.toml").write_text(
        '[device]\nname = "small"\ntargets = ["numpy"]\nmax_bundle_bytes = 10_900\n'
    )
    done = edgerec(
        *("build", "m.model", "--data", "d.dataset", "--device", "small.toml"),
        *("--trials", "6", "-o", "planned"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "planned" / "numpy.edgerec").stat().st_size <= 10_900
    report = json.loads((folder / "planned" / "report.json").read_text())
    assert report["chosen"]["chain"]
    assert (folder / "planned" / "pareto.png").exists()
    assert (folder / "planned" / "pareto.html").exists()


BUILD = ("build", "m.model", "--data", "d.dataset", "-o", "x")


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("unknown device 'nokia'; known: browser", (*BUILD, "--device", "nokia")),
        (
            "unknown target 'coreml'; known: executorch, numpy",
            (*BUILD, "--target", "coreml", "--compress", "quantize"),
        ),
        ("unknown compressor 'zip'; known: cluster", (*BUILD, "--compress", "zip")),
        (
            "target numpy cannot take this model: device browser runs only onnx",
            (*BUILD, "--target", "numpy", "--device", "browser", "--compress", "quantize"),
        ),
        ("none.model: no such file", ("build", "none.model", "--data", "d.dataset", "-o", "x")),
        ("unknown dataset 'films'; known: ml-100k, or a file", ("train", "films", "-o", "y.model")),
        (
            "--split: expected random, recent, last or none; got 'half'",
            ("data", "d.dataset", "--split", "half", "-o", "y.dataset"),
        ),
        (
            "is prepared already; min_rating has no effect",
            ("data", "d.dataset", "--min-rating", "3", "-o", "y.dataset"),
        ),
        (
            "unknown family 'gcn'; known: gat, graphsage, historygcn, knowledge, lightgcn",
            ("train", "d.dataset", "--model", "gcn", "-o", "y.model"),
        ),
        (
            "history: unknown items zz; 1 in total",
            ("score", "dist/numpy.edgerec", "--history", "i001,zz", "--strict"),
        ),
        (
            "--history: expected ids as a row of CSV; new-line character",
            ("score", "dist/numpy.edgerec", "--history", "i001\ri002"),
        ),
        (
            "--history: expected ids as a row of CSV; unexpected end of data",
            ("score", "dist/numpy.edgerec", "--history", '"i001'),
        ),
        (
            "k: this bundle recommends 1 to 50 items, got 51",
            ("score", "dist/numpy.edgerec", "--history", "i001", "-k", "51"),
        ),
        ("m.model: expected a bundle, got a model", ("score", "m.model", "--history", "i001")),
        ("d.dataset: expected a bundle, got a dataset", ("bench", "d.dataset")),
        ("No such option: --nope", ("train", "--nope")),
        ("--out: d.dataset is also an input", ("data", "d.dataset", "-o", "d.dataset")),
        ("--out: d.dataset is also an input", ("train", "d.dataset", "-o", "d.dataset")),
        ("--out: dist is a folder", ("train", "d.dataset", "-o", "dist")),
        (
            "--out: dist/numpy.edgerec is also an input",
            ("bench", "dist/numpy.edgerec", "-o", "dist/numpy.edgerec"),
        ),
        ("--out: expected a file name that ends in .dataset", ("data", "d.dataset", "-o", "y")),
        ("--share: applies to --split", ("data", "d.dataset", "--share", "0.5", "-o", "y.dataset")),
        ("Invalid value for '--users'", (*BUILD, "--users", "-3")),
    ],
)
def test_mistakes(folder: Path, message: str, arguments: tuple[str, ...]) -> None:
    fails(folder, message, *arguments)


BAD_PROFILES = {
    "max_bundle_bytes = -1": "budget.max_bundle_bytes: expected a positive integer, got -1",
    'max_bundle_bytes = "2MB"': "budget.max_bundle_bytes: expected an integer, got '2MB'",
    "max_p95 = 5.0": "unknown option max_p95; options: name, targets",
    "min_quality = 2.0": "budget.min_quality: expected at most 1, got 2.0",
}


@pytest.mark.parametrize("line", BAD_PROFILES)
def test_bad_profiles(folder: Path, line: str) -> None:
    (folder / "bad.toml").write_text(f'[device]\nname = "x"\n{line}\n')
    fails(folder, BAD_PROFILES[line], *BUILD, "--device", "bad.toml")


def test_a_place_that_cannot_be_written(folder: Path) -> None:
    (folder / "file").write_text("")
    fails(folder, "file: ", "data", "d.dataset", "-o", "file/x.dataset")


def test_debug_shows_the_traceback(folder: Path) -> None:
    done = edgerec("inspect", "none", "--debug", cwd=folder)
    assert "Traceback" in done.stderr


COMMANDS = ["demo", "data", "train", "agree", "build", "inspect", "score", "bench"]
COMMANDS += ["plugins", "devices"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = edgerec(command, "--help")
    assert done.returncode == 0
    assert f"edgerec {command}" in done.stdout
    assert "Example:" in done.stdout


def test_the_installed_plugins_pass_the_check() -> None:
    assert edgerec("plugins", "--check").returncode == 0
