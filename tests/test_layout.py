"""The layout: no import cycles, small modules, few entries, and documentation of public names."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: The source roots, and the packages in them.
SOURCES = [ROOT / "edgerec", *(ROOT / "plugins").iterdir(), *(ROOT / "targets").iterdir()]
SOURCES = [folder for folder in SOURCES if (folder / "__init__.py").exists()]

#: The modules that users and plugin authors import, and the pages that document them.
DOORS = {
    "edgerec": "docs/api.md",
    "edgerec.plugin": "docs/plugins.md",
    "edgerec.learn": "docs/plugins.md",
    "edgerec.testing": "docs/plugins.md",
}


def modules() -> dict[str, Path]:
    """Every module of edgerec, its plugins and its targets, by dotted name."""
    found = {}
    for folder in SOURCES:
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Modules that a file imports anywhere: at its top, in functions, and for type checking."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            submodules = [name for name in names if name in known]
            yield from submodules
            if len(submodules) < len(names):
                yield node.module


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """A cycle of a directed graph, its first node repeated at the end; empty if there is none."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for other in sorted(graph[node]):
            if found := visit(other, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := visit(node, []))), [])


def test_no_module_imports_itself_through_others() -> None:
    known = modules()
    found = cycle({name: set(imported(path, known)) for name, path in known.items()})
    assert not found, "import cycle: " + " -> ".join(found)


def test_no_package_imports_itself_through_others() -> None:
    known = {name: path for name, path in modules().items() if name.startswith("edgerec.")}
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        package = name.split(".")[1]
        others = {other.split(".")[1] for other in imported(path, known)}
        graph.setdefault(package, set()).update(others - {package})
    found = cycle(graph)
    assert not found, "import cycle: " + " -> ".join(found)


def test_a_cycle_would_be_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_module_is_too_long() -> None:
    folders = [*SOURCES, ROOT / "tests", ROOT / "benchmarks", ROOT / "examples"]
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for folder in folders
        for path in folder.rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_the_package_has_few_entries() -> None:
    entries = sorted(p.name for p in (ROOT / "edgerec").iterdir() if p.name != "__pycache__")
    assert len(entries) <= 19, entries


def public(tree: ast.Module) -> Iterator[ast.stmt]:
    """Definitions at the top of a module whose names do not start with an underscore."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


@pytest.mark.parametrize("name", sorted(n for n in modules() if n.split(".")[0] == "edgerec"))
def test_public_names_are_listed_and_documented(name: str) -> None:
    """What a module defines without an underscore is in its ``__all__``, and has a docstring."""
    path = modules()[name]
    source = path.read_text("utf-8")
    tree = ast.parse(source)
    listed = {
        element.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        for element in node.value.elts  # type: ignore[attr-defined]  # __all__ is a list
    }
    defined = {node.name for node in public(tree)}  # type: ignore[attr-defined]  # as above
    assert defined - listed <= {"main"}, "not in __all__: " + ", ".join(sorted(defined - listed))
    assert all(ast.get_docstring(node) for node in public(tree))  # type: ignore[arg-type]  # as above
    # A constant is documented by a comment that begins with "#:".
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            constant = getattr(target, "id", "")
            if constant in listed:
                above = source.splitlines()[: node.lineno - 1]
                assert above[-1].startswith("#:"), f"{name}.{constant} has no '#:' comment"


@pytest.mark.parametrize("door", DOORS)
def test_every_public_name_has_documentation(door: str) -> None:
    module = importlib.import_module(door)
    page = (ROOT / DOORS[door]).read_text("utf-8")
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert f"`{name}`" in page or f"`{name}(" in page, f"{DOORS[door]} lacks {name}"
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), f"{door}.{name} has no docstring"


def test_pages_name_modules_that_exist() -> None:
    known = modules()
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        text = page.read_text("utf-8")
        for command in re.findall(r"python -m (edgerec[\w.]*)", text):
            assert command in known, f"{page.name}: no module {command}"
        for path in re.findall(r"`((?:edgerec|plugins|targets|tests)/[\w/]+\.py)`", text):
            assert (ROOT / path).exists(), f"{page.name}: no file {path}"
