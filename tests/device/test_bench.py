"""Results of `edgerec bench`: written, compared, and marked where they mean nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgerec.device.bench import measure
from edgerec.device.machine import cpu_name, describe_machine
from edgerec.errors import TargetError
from edgerec.exporting.export import export
from edgerec.model.codecs import Int8
from edgerec.model.device_model import DeviceModel

PHONE = """
processor : 0
CPU implementer : 0x41
CPU part : 0xd05

processor : 1
CPU implementer : 0x41
CPU part : 0xd05

processor : 2
CPU implementer : 0x51
CPU part : 0x804
"""


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgerec", "bench", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"COLUMNS": "160"},
    )


@pytest.fixture(scope="module")
def folder(models: dict[str, DeviceModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    model = models["sum"].with_codec(Int8(), ["items"])
    export(model, "numpy", folder / "x.edgerec", top_k=20)
    done = bench(folder, "x.edgerec", "--out", "here.json", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((folder / "here.json").read_text())
    assert json.loads(done.stdout) == figures
    emulated = figures | {"on": "qemu:aarch64", "emulated": True, "p95_ms": 12.5}
    (folder / "there.json").write_text(json.dumps(emulated))
    return folder


def test_figures_name_the_device(folder: Path) -> None:
    figures = json.loads((folder / "here.json").read_text())
    assert describe_machine().items() <= figures.items()
    assert figures["on"] == "local"
    assert figures["emulated"] is False
    assert figures["cores"] == os.cpu_count()
    assert figures["memory_bytes"] > 0


def test_results_side_by_side(folder: Path) -> None:
    done = bench(folder, "--compare", "here.json", "there.json")
    assert done.returncode == 0, done.stderr
    rows = {
        cells[1].strip(): cells
        for line in done.stdout.splitlines()
        if (cells := line.split("│"))[1:]
    }
    figures = json.loads((folder / "here.json").read_text())
    assert [c.strip() for c in rows["p95_ms"][2:4]] == [
        f"{figures['p95_ms']:.3f}",
        "12.500 (emulated)",
    ]
    assert rows["peak_rss_bytes"][3].strip().endswith(" (emulated)")
    assert rows["bundle_bytes"][3].strip() == f"{figures['bundle_bytes']:,}"
    assert "times and memory mean nothing under emulation" in done.stdout
    alone = bench(folder, "--compare", "here.json", "--json", "--out", "both.json")
    assert json.loads(alone.stdout) == json.loads((folder / "both.json").read_text()) == [figures]


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("x.edgerec: expected results that `edgerec bench --out`", ("--compare", "x.edgerec")),
        ("both.json: expected results that", ("--compare", "both.json")),
        ("none.json: No such file", ("--compare", "none.json")),
        (
            "expected one bundle, got 2 files; --compare takes several results",
            ("x.edgerec", "here.json"),
        ),
        (
            "--compare measures nothing, so it takes no --on",
            ("--compare", "here.json", "--on", "ssh://x"),
        ),
        ("--compare measures nothing, so", ("--compare", "here.json", "--users", "0")),
        ("--model: applies to the histories of --data", ("x.edgerec", "--model", "x.model")),
        ("threads: expected an integer from 1 to 1,024, got 0", ("x.edgerec", "--threads", "0")),
        ("on: expected local, ssh://", ("x.edgerec", "--on", "pi")),
        ("here.json: not an edgerec file", ("here.json",)),
    ],
)
def test_mistakes(folder: Path, message: str, arguments: tuple[str, ...]) -> None:
    (folder / "both.json").write_text("[]")
    done = bench(folder, *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


def test_names_of_processors() -> None:
    assert cpu_name(PHONE) == "2 Cortex-A55, 1 part 0x51:0x804"
    assert cpu_name("model name\t: AMD EPYC\nmodel name\t: AMD EPYC\n") == "AMD EPYC"
    assert cpu_name("") == ""


@pytest.mark.parametrize(
    ("histories", "timeout", "seconds"),
    [(4000, None, "1600"), (0, None, "600"), (4000, 0.5, "0.5")],
)
def test_more_histories_have_more_time(
    monkeypatch: pytest.MonkeyPatch, histories: int, timeout: float | None, seconds: str
) -> None:
    def endless(command: list[str], timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", endless)
    with pytest.raises(TargetError, match=f"^x.edgerec: did not finish within {seconds} s$"):
        measure("x.edgerec", [["a"]] * histories, timeout=timeout)
