"""Run the tests that were added since a commit on the code of that commit; list those that pass.

    python -m tests.new_tests COMMIT

A test that passes there proves nothing about what was mended since.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Run; exit with 1 if a new test passes on the old code."""
    parser = argparse.ArgumentParser(prog="python -m tests.new_tests", description=__doc__)
    parser.add_argument("commit")
    commit = parser.parse_args().commit
    with tempfile.TemporaryDirectory() as name:
        old = Path(name) / "old"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(old), commit], check=True)
        try:
            known = functions(old / "tests")
            shutil.rmtree(old / "tests")
            shutil.copytree(ROOT / "tests", old / "tests")
            passed = {one for one in run(old) if one.rpartition("::")[2] not in known}
        finally:
            subprocess.run([*git, "remove", "--force", str(old)], check=True)
    count = len(functions(ROOT / "tests") - known)
    print("\n".join(sorted(passed)) or f"none of {count} new tests passes at {commit}")
    return 1 if passed else 0


def functions(folder: Path) -> set[str]:
    """The names of the test functions in a folder."""
    return {
        node.name
        for path in folder.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def run(tree: Path) -> set[str]:
    """``module::function`` of the tests that pass in a tree; modules may fail to be imported."""
    paths = os.pathsep.join(str(tree / part) for part in (".", "plugins", "targets"))
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default"),
            *("--continue-on-collection-errors", "--junitxml", "found.xml", "tests"),
        ],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if not (tree / "found.xml").exists():
        print("the code of that commit is laid out differently, so no test can be loaded there")
        return set()
    cases = ElementTree.parse(tree / "found.xml").iter("testcase")  # noqa: S314  # our own
    return {
        f"{case.get('classname')}::{(case.get('name') or '').partition('[')[0]}"
        for case in cases
        if not any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
    }


if __name__ == "__main__":
    sys.exit(main())
