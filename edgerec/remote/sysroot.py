"""Make the sysroot of qemu:aarch64: Debian's arm64 Python, arm64 wheels and qemu, in one folder.

    python -m edgerec.remote.sysroot [FOLDER] [REQUIREMENT ...] [--alone REQUIREMENT ...]

It needs ``apt-get`` and pip as configured on a Debian machine, but neither root nor binfmt: apt
works on a separate root, and packages are unpacked instead of installed. apt checks downloads
against Debian's signatures, and pip against the SHA-256 of its index. The folder takes its place
once it is complete and has been run; an existing one with the same contents is kept.

A requirement without a version gets the version that is installed here, so that both machines run
the same. Requirements after ``--alone`` come without dependencies, which pip would choose for this
machine's processor if the two differ, as those of torch do.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgerec.errors import EdgerecError, RemoteError
from edgerec.files.atomic import write_text

__all__ = ["default_folder", "launcher", "make", "read_manifest"]

#: The file that marks a complete sysroot; it is written last.
_MANIFEST = "sysroot.json"

#: Debian 12 for tflite-runtime, whose last wheels are for Python 3.11. Its backports have qemu 10,
#: which onnxruntime and LiteRT need, because bookworm's own 7.2 lacks instructions.
_SUITE = "bookworm"
_DEBS = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "libgomp1")
_QEMU = "qemu-user"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

#: glibc 2.36 supports wheels up to manylinux_2_36.
_PLATFORMS = [
    *(f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)),
    "manylinux2014_aarch64",
]

#: The requirements of edgerec itself.
_BASE = ("numpy", "pluggy")


def default_folder() -> Path:
    """$EDGEREC_SYSROOT, or a folder in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(
        os.environ.get("EDGEREC_SYSROOT") or f"{cache}/edgerec/sysroot-aarch64"
    ).expanduser()


def make(
    folder: str | Path, requirements: Sequence[str] = (), alone: Sequence[str] = ()
) -> Mapping[str, Any]:
    """Make a sysroot, unless the same one exists; see the module.

    Returns:
        The manifest, with what was requested and the installed versions.

    Raises:
        RemoteError: a tool is missing, a step failed, or the folder is something else; an
            incomplete sysroot never takes its place.
    """
    folder = Path(folder).expanduser().absolute()
    asked = {
        "debian": [_SUITE, *_DEBS],
        "requirements": sorted(map(_as_here, {*requirements, *_missing(_BASE, requirements)})),
        "alone": sorted(map(_as_here, alone)),
    }
    there = read_manifest(folder)
    if all(there.get(name) == value for name, value in asked.items()):
        return there
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        draft = Path(name) / "sysroot"
        draft.mkdir()
        qemu = _unpack_debian(draft, Path(name) / "apt")
        for chosen, options in ((asked["requirements"], []), (asked["alone"], ["--no-deps"])):
            _install_wheels(draft / "site", chosen, options)
        found = importlib.metadata.distributions(path=[str(draft / "site")])
        packages = {d.name: d.version for d in sorted(found, key=lambda d: d.name.lower())}
        _prove(draft)
        manifest = {**asked, "qemu": qemu, "packages": packages}
        write_text(draft / _MANIFEST, json.dumps(manifest, indent=2) + "\n")
        if folder.exists():
            folder.rename(Path(name) / "old")
        draft.rename(folder)
    return manifest


def _as_here(requirement: str) -> str:
    """Add the version that is installed here to a bare name; return anything else unchanged."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", requirement):
        return requirement
    try:
        version = importlib.metadata.version(requirement)
    except importlib.metadata.PackageNotFoundError:
        return requirement
    return f"{requirement}=={version.partition('+')[0]}"


def _missing(names: Sequence[str], requirements: Sequence[str]) -> set[str]:
    return set(names) - {re.split(r"[^A-Za-z0-9._-]", r)[0] for r in requirements}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a sysroot's manifest, which is empty if the folder is missing or empty.

    Raises:
        RemoteError: the folder contains something else.
    """
    try:
        if not folder.exists() or not any(folder.iterdir()):
            return {}
        return dict(json.loads((folder / _MANIFEST).read_text("utf-8")))
    except (OSError, TypeError, ValueError):
        raise RemoteError(
            f"{folder}: is not a sysroot (it has no readable {_MANIFEST}) and was not changed; "
            "name another folder"
        ) from None


def _unpack_debian(draft: Path, apt: Path) -> str:
    """Fetch and unpack Debian's arm64 Python and this machine's qemu; return qemu's version."""
    here = _run(["dpkg", "--print-architecture"]).strip()
    options = _apt_root(apt, here)
    _run(["apt-get", *options, "update"])
    _run(["apt-get", *options, "install", "--download-only", "--no-install-recommends", *_DEBS])
    for deb in sorted((apt / "cache" / "archives").glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(deb), str(draft / "root")])
    _run(["apt-get", *options, "download", f"{_QEMU}:{here}"], cwd=apt)
    (deb,) = apt.glob(f"{_QEMU}_*.deb")
    with tempfile.TemporaryFile() as unpacked:
        _run(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=unpacked)
        unpacked.seek(0)
        (draft / "bin").mkdir()
        with tarfile.open(fileobj=unpacked) as archive:
            content = archive.extractfile("./usr/bin/qemu-aarch64")
            if content is None:
                raise RemoteError(f"{deb.name}: has no file usr/bin/qemu-aarch64")
            binary = draft / "bin" / "qemu-aarch64"
            binary.write_bytes(content.read())
            binary.chmod(0o755)
    return _run(["dpkg-deb", "--field", str(deb), "Version"]).strip()


def _apt_root(apt: Path, here: str) -> list[str]:
    """Create a separate apt root for arm64 Debian 12; return the options that use it."""
    for name in ("lists/partial", "cache/archives/partial", "parts"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    uri = _debian_uri()
    signed = f" signed-by={_KEYRING}" if _KEYRING.exists() else ""
    (apt / "sources.list").write_text(
        f"deb [arch=arm64{signed}] {uri} {_SUITE} main\n"
        f"deb [arch={here}{signed}] {uri} {_SUITE}-backports main\n"
    )
    settings = {
        "Dir::State": apt,
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": apt / "parts",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": apt / "parts",
        "APT::Architecture": "arm64",
        "APT::Architectures": f"arm64,{here}",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
    }
    return ["-qq", "--yes", *(f"-o{name}={value}" for name, value in settings.items())]


def _debian_uri() -> str:
    """The URI from which this machine gets Debian."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {}
    listed = ""
    if system.get("ID") == "debian":
        listed = _run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]
        )
    for line in listed.splitlines():
        uri, release, component = line.split()
        if component == "main" and release in (system.get("VERSION_CODENAME"), "stable"):
            return uri
    raise RemoteError(
        f"{system.get('PRETTY_NAME', platform.system())}: a sysroot is made from Debian packages, "
        "for which this machine's apt has no source; make it on a Debian machine"
    )


def _install_wheels(site: Path, requirements: Sequence[str], options: Sequence[str]) -> None:
    """Let pip choose, check and unpack wheels for arm64 and the sysroot's Python."""
    if not requirements:
        return
    if importlib.util.find_spec("pip") is None:
        raise RemoteError(f"{sys.executable} has no pip, which fetches the wheels; install pip")
    target = ["--target", str(site), "--python-version", "3.11", "--implementation", "cp"]
    abis = ["--abi=cp311", "--abi=abi3", "--abi=none", "--only-binary=:all:"]
    platforms = [f"--platform={name}" for name in _PLATFORMS]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *target, *abis, *platforms, *options, *requirements])


def _prove(draft: Path) -> None:
    """Check that the sysroot works: Python starts, and numpy computes."""
    code = "import numpy, pluggy, platform; print(platform.machine(), int(numpy.arange(4).sum()))"
    said = _run([*launcher(draft), "-c", code], env={"PYTHONPATH": str(draft / "site")}).strip()
    if said != "aarch64 6":
        raise RemoteError(f"the sysroot does not work: expected 'aarch64 6', got {said!r}")


def launcher(folder: Path, cpu: str = "max") -> list[str]:
    """The command of the sysroot's Python, with -S so that it ignores this machine's packages."""
    root = folder / "root"
    qemu = [str(folder / "bin" / "qemu-aarch64"), "-cpu", cpu, "-L", str(root)]
    return [*qemu, str(root / "usr" / "bin" / "python3.11"), "-S"]


def _run(command: Sequence[str], stdout: Any = subprocess.PIPE, **options: Any) -> str:
    """Run a command and return its output; a failure is an error that quotes it."""
    try:
        done = subprocess.run(
            command, stdout=stdout, stderr=subprocess.PIPE, check=False, **options
        )
    except FileNotFoundError:
        raise RemoteError(
            f"no command {command[0]} on this machine; make the sysroot on a Debian machine"
        ) from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = [line for line in lines if line.startswith(("E:", "ERROR"))] or lines[-2:]
        name = "pip" if "pip" in command[:3] else Path(command[0]).name
        raise RemoteError(f"{name} failed ({done.returncode}): {'; '.join(said)}")
    return (done.stdout or b"").decode("utf-8", "replace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m edgerec.remote.sysroot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", default=str(default_folder()))
    parser.add_argument("requirements", nargs="*", metavar="REQUIREMENT")
    parser.add_argument("--alone", nargs="+", default=[], metavar="REQUIREMENT")
    given = parser.parse_args(arguments)
    try:
        manifest = make(given.folder, given.requirements, given.alone)
    except EdgerecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.folder}: qemu {manifest['qemu']}")
    for name, version in manifest["packages"].items():
        print(f"  {name} {version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
