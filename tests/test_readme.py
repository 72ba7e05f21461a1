"""The README stays true: its code runs, its files and commands exist."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edgerec.building.recipe import load_recipe
from edgerec.cli import app
from edgerec.contracts.device import load_device
from edgerec.data.columns import USUAL
from edgerec.data.formats import FORMATS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
GUIDE = (ROOT / "docs" / "guide.md").read_text("utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.network
@pytest.mark.slow
def test_the_first_code_block_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", blocks("python")[0]],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    titles = done.stdout.strip().splitlines()
    assert len(titles) == 10
    assert all(re.search(r"\(\d{4}\)$", title) for title in titles)


def test_the_recipe_loads(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(blocks("toml", GUIDE)[0])
    recipe = load_recipe(tmp_path / "r.toml")
    assert recipe.targets == ("tflite", "onnx")
    assert recipe.compress == (("quantize", {"codec": "int8"}),)


def test_the_device_loads(tmp_path: Path) -> None:
    (tmp_path / "kiosk.toml").write_text(
        blocks("toml", (ROOT / "docs" / "devices.md").read_text("utf-8"))[0]
    )
    device = load_device(tmp_path / "kiosk.toml")
    assert device.name == "kiosk"
    assert all(limit is not None for limit in dataclasses.astuple(device.budget))


def test_the_columns_that_are_guessed_are_listed() -> None:
    page = (ROOT / "docs" / "data.md").read_text("utf-8").lower()
    for names in (*USUAL.values(), FORMATS, FORMATS.values()):
        assert [name for name in names if f"`{name}`" not in page] == []


def test_every_command_is_there() -> None:
    named = set(re.findall(r"^edgerec ([\w-]+)", "\n".join(blocks("sh", GUIDE)), re.MULTILINE))
    commands = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    assert named <= commands
    assert commands - named == {"demo"}


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        "docs/plugins.md",
        "docs/data.md",
        "docs/families.md",
        "docs/devices.md",
        "docs/targets.md",
        "docs/import.md",
        "docs/api.md",
    ],
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link


def test_the_plugin_guide_works(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    *modules, test = blocks("python", guide)
    for module in modules:
        if named := re.match(r"# (my_\w+\.py)\n", module):
            (tmp_path / named[1]).write_text(module)
    calls = "test_halve()\ntest_signs()\ntest_interpreted(Path('targets'))\n"
    calls += "test_fading()\ntest_csv(Path())\nprint('ok')"
    code = "\n".join([*modules, test, "from pathlib import Path", calls])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout.strip() == "ok", done.stderr


def test_extras_that_the_readme_names_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extra in re.findall(r"\[([a-z,-]+)\]\"", README):
        assert set(extra.split(",")) <= set(project["optional-dependencies"])
    assert [d.split(">")[0] for d in project["dependencies"]] == ["numpy", "pluggy"]
