"""The plugin host: discovery that nothing gets past, and nothing takes down."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

from edgerec import plugin
from edgerec.cli.report import plugin_rows
from edgerec.contracts import hookspecs
from edgerec.contracts.hookspecs import GROUP
from edgerec.contracts.host import Host
from edgerec.errors import OptionError, PluginError, UnknownNameError
from edgerec.model.codecs import Int8
from tests.rigs.plugins import install

COMPRESSOR = """
@dataclass(frozen=True)
class Half(Compressor):
    name: ClassVar[str] = "half"
    strength: int = 1
    def compress(self, model, context):
        return model

@hookimpl
def edgerec_compressors():
    return [Half]
"""


def test_first_party_plugins_come_through_entry_points() -> None:
    found = {e.name for e in importlib.metadata.entry_points(group=GROUP)}
    assert {p.name for p in Host.installed().plugins} == found
    assert all(p.error is None for p in Host.installed().plugins)
    assert set(Host.installed().compressors) >= {"quantize", "prune"}
    assert set(Host.installed().targets) >= {"numpy", "tflite", "onnx", "torchscript"}


def test_every_hook_and_door_is_documented() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text("utf-8")
    hooks = [name for name in vars(hookspecs) if name.startswith("edgerec_")]
    assert [name for name in [*hooks, *plugin.__all__] if f"`{name}`" not in guide] == []


def test_the_contracts_on_imports_name_every_package() -> None:
    """import-linter has no list of what is allowed, only of what is not."""
    root = Path(__file__).parents[2]
    tool = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]
    contracts = {c["name"]: c for c in tool["importlinter"]["contracts"]}
    (forbidden,) = [c for n, c in contracts.items() if n.startswith("Plugins import only")]
    modules = {
        path.stem
        for path in (root / "edgerec").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__", "__main__"}
    doors = {"plugin", "learn"}
    assert set(forbidden["forbidden_modules"]) == {f"edgerec.{m}" for m in modules - doors}
    layers = contracts["A lower layer never imports a higher one"]["layers"]
    assert {name for layer in layers for name in layer.split(" | ")} == modules


def test_a_third_party_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = install(tmp_path, monkeypatch, "other", COMPRESSOR)
    loaded = Host([entry])
    (found,) = loaded.plugins
    assert (found.distribution, found.version, found.state) == ("other", "1.2", "ok")
    assert found.provides == {"compressor": ("half",)}
    assert loaded.compressor("half", strength="2") == loaded.compressors["half"](strength=2)  # type: ignore[call-arg]  # the plugin's own
    with pytest.raises(OptionError, match="half: unknown option size; options: strength"):
        loaded.compressor("half", size=1)


SEARCHED = (
    COMPRESSOR.replace("{", "{{")
    .replace("}", "}}")
    .replace(
        "    strength: int = 1\n",
        "    strength: int = 1\n    @classmethod\n    def search_space(cls): return {}\n",
    )
)

BROKEN = {
    "raises": ("1 / 0", "ZeroDivisionError: division by zero"),
    "imports what is missing": ("import nonexistent_thing", "No module named 'nonexistent_thing'"),
    "misspelled hook": (
        "@hookimpl\ndef edgerec_compresors():\n    return []",
        "edgerec_compresors is not a hook; hooks: edgerec_codecs",
    ),
    "unmarked hook": (
        "def edgerec_targets():\n    return []",
        "edgerec_targets is not marked; put @hookimpl",
    ),
    "not a class": (
        "@hookimpl\ndef edgerec_targets():\n    return [3]",
        "edgerec_targets returned 3, not a Target",
    ),
    "not a dataclass": (
        "class X(Compressor):\n    name = 'x'\n    def compress(self, m, c): return m\n"
        "@hookimpl\ndef edgerec_compressors():\n    return [X]",
        "X should be a frozen dataclass",
    ),
    "no name": (
        "@dataclass(frozen=True)\nclass X(Compressor):\n    def compress(self, m, c): return m\n"
        "@hookimpl\ndef edgerec_compressors():\n    return [X]",
        "has no name",
    ),
    "no list": ("@hookimpl\ndef edgerec_targets():\n    return Target", "not a list"),
    "no return": ("@hookimpl\ndef edgerec_targets():\n    pass", "returned None; return a list"),
    "abstract": (
        "@dataclass(frozen=True)\nclass X(Target):\n    name = 'x'\n"
        "    def lower(self, m, s): return b''\n"
        "@hookimpl\ndef edgerec_targets():\n    return [X]",
        "X lacks load, runtimes",
    ),
    "a target that needs an option": (
        "@dataclass(frozen=True)\nclass X(Target):\n    name = 'x'\n    size: int\n"
        "    def lower(self, m, s): return b''\n    def runtimes(self): return []\n"
        "    def load(self, b, r=None, t=1): return None\n"
        "@hookimpl\ndef edgerec_targets():\n    return [X]",
        "X.size should have a default",
    ),
    "a search space that is no mapping": (
        SEARCHED.format("[1, 2]"),
        "Half.search_space: expected a mapping, got [1, 2]",
    ),
    "a search space of one value": (
        SEARCHED.format('{"strength": 3}'),
        "Half.search_space: strength: expected a tuple of texts, numbers",
    ),
    "a search space that raises": (SEARCHED.format("1 / 0"), "ZeroDivisionError"),
    "a device whose fields are mixed up": (
        "@hookimpl\ndef edgerec_devices():\n    return [Device('d', ('numpy',), Budget())]",
        "device: budget: expected a Budget, got ('numpy',)",
    ),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "hangs": ("import time\ntime.sleep(60)", "its import did not end within 3 s"),
    "a type that is only there for checkers": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from decimal import Decimal\n"
        + COMPRESSOR.replace("strength: int", "strength: 'Decimal'"),
        "Half: the type of an option cannot be resolved at run time (name 'Decimal'",
    ),
    "an option of another type": (
        "from pathlib import Path\n" + COMPRESSOR.replace("strength: int", "strength: Path"),
        "Half: strength: an option cannot be <class 'pathlib.Path'>; use int",
    ),
    "an option without a type": (
        COMPRESSOR.replace("strength: int", "strength"),
        "Half.strength has no type, so it is not an option; write `strength: int = 1`",
    ),
    "another API": (
        "edgerec_api = 1",
        "written for plugin API version 1, and this edgerec has version 2; update the plugin",
    ),
    "a newer API": ("edgerec_api = 3", "API version 3, and this edgerec has version 2; update"),
    "no API": ("del edgerec_api", "does not declare the plugin API version"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_caught_and_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    body, reason = BROKEN[case]
    monkeypatch.setenv("EDGEREC_PLUGIN_SECONDS", "3" if case == "hangs" else "")
    good = install(tmp_path, monkeypatch, "good", COMPRESSOR)
    bad = install(tmp_path, monkeypatch, "bad", body)
    loaded = Host([bad, good])
    broken = next(p for p in loaded.plugins if p.name == "bad")
    assert broken.state == "broken"
    assert broken.error is not None
    assert reason in broken.error
    assert (broken.distribution, broken.version) == ("bad", "1.2")
    assert "half" in loaded.compressors
    with pytest.raises(
        UnknownNameError, match=r"unknown target 'mine'; .*broken plugins: bad \(bad 1.2\)"
    ):
        loaded.target("mine")
    with pytest.raises(PluginError, match=r"plugin bad \(bad 1.2\) is broken"):
        Host([bad, good], strict=True)


def test_a_plugin_for_another_api_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it imports may be gone, so the version is read before the module is run."""
    old = install(tmp_path, monkeypatch, "old", "raise RuntimeError('it was run')")
    module = tmp_path / "old_module.py"
    module.write_text(
        "edgerec_api = 1\n" + module.read_text().replace("edgerec_api = 2", "").lstrip()
    )
    (plugin,) = Host([old]).plugins
    assert plugin.error is not None
    assert "plugin API version 1, and this edgerec has version 2" in plugin.error


def test_good_plugins_stay_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = install(tmp_path, monkeypatch, "good", COMPRESSOR)
    bad = install(tmp_path, monkeypatch, "bad", "@hookimpl\ndef edgerec_codecs(): return [3]")
    loaded = Host([good, bad])
    names = {name for name, module in loaded.manager.list_name_plugin() if module is not None}
    assert {name.partition(":")[2] for name in names} == {"good"}


def test_a_name_clash_names_both_and_gives_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = install(tmp_path, monkeypatch, "one", COMPRESSOR)
    two = install(tmp_path, monkeypatch, "two", COMPRESSOR)
    loaded = Host([one, two])
    message = r"compressor 'half' is provided by both one \(one 1.2\) and two \(two 1.2\)"
    with pytest.raises(PluginError, match=message):
        loaded.compressor("half")
    with pytest.raises(PluginError, match=message):
        Host([one, two], strict=True)
    for row in plugin_rows(loaded):
        if row["plugin"] is not None:
            assert row["state"] == "broken"
            assert re.search(message, row["reason"])


def test_a_name_clash_takes_nothing_else_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = (
        COMPRESSOR
        + """
@hookimpl
def edgerec_devices():
    return [Device("d", Budget())]
"""
    )
    one = install(tmp_path, monkeypatch, "one", both)
    two = install(tmp_path, monkeypatch, "two", COMPRESSOR)
    loaded = Host([one, two])
    assert set(loaded.devices) == {"d"}
    assert {row["name"]: row["state"] for row in plugin_rows(loaded)}["d"] == "ok"
    with pytest.raises(PluginError):
        loaded.compressor("half")


def test_a_codec_of_core_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = install(
        tmp_path, monkeypatch, "evil", "@hookimpl\ndef edgerec_codecs():\n    return [Int8]"
    )
    loaded = Host([entry])
    assert "codec 'int8' is provided by both edgerec and evil" in str(loaded.clash("codec", "int8"))
    assert loaded.codec("int8") == Int8()


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown target 'coreml'; known: .*numpy"):
        Host.installed().target("coreml")
    with pytest.raises(UnknownNameError, match=r"unknown device 'nokia'; known: .*pixel-6a"):
        Host.installed().device("nokia")
