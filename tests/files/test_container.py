"""The file format, and a folder of attacks on it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgerec.errors import BundleError, EdgerecError
from edgerec.files.container import Container
from edgerec.files.container_writer import write_container
from edgerec.files.pages import release


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "x.edgerec"
    sections: dict[str, Any] = {"a": np.arange(5, dtype=np.int32), "b": b"hello"}
    write_container(file, "test", {"x": 1}, sections)
    return file


def test_round_trip(path: Path) -> None:
    container = Container(path)
    container.verify()
    assert (container.kind, container.meta, container.names) == ("test", {"x": 1}, ["a", "b"])
    assert container.array("a").tolist() == [0, 1, 2, 3, 4]
    assert container.read("b") == b"hello"
    assert container.size == path.stat().st_size


def test_a_section_is_read_without_a_second_copy(tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes(20_000_000)
    write_container(tmp_path / "x", "test", {}, {"a": data})
    container = Container(tmp_path / "x")
    tracemalloc.start()
    read = container.read("a")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1.1 * len(data)
    assert read == data


def test_a_section_is_read_whatever_a_system_returns_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.read
    container = Container(path)
    monkeypatch.setattr(os, "read", lambda file, size: own(file, min(size, 4)))
    assert container._read(container.offset("b"), 5) == b"hell"
    assert container.read("b") == b"hello"


def test_a_file_that_is_cut_off_while_it_is_open_is_an_error(path: Path) -> None:
    container = Container(path)
    os.truncate(path, container.offset("b") + 2)
    with pytest.raises(BundleError, match="it was cut off while it was open"):
        container.read("b")


def test_sections_are_aligned_and_read_only(path: Path) -> None:
    array = Container(path).array("a")
    assert array.ctypes.data % 64 == 0
    assert not array.flags.writeable


def test_the_same_content_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "y"
    write_container(again, "test", {"x": 1}, {"a": np.arange(5, dtype=np.int32), "b": b"hello"})
    assert again.read_bytes() == path.read_bytes()


def reheader(raw: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """Change the header and make its digest right again, as an attacker would."""
    length = int.from_bytes(raw[8:16], "little")
    header = json.loads(raw[48 : 48 + length])
    changed = change(header)
    text = changed if isinstance(changed, bytes) else json.dumps(header).encode()
    text = text.ljust(length)
    body = raw[48 + length :]
    return raw[:8] + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest() + text + body


def entry(field: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda header: header["sections"]["a"].update({field: value})


ATTACKS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda raw: b"", "cannot be read"),
    "not ours": (lambda raw: b"PK" + raw[2:], "not an edgerec file"),
    "cut short": (lambda raw: raw[:-1], "damaged"),
    "one byte more": (lambda raw: raw + b"\0", "damaged"),
    "huge header": (lambda raw: raw[:8] + b"\xff" * 8 + raw[16:], "should have at most 16,777,216"),
    "long header": (lambda raw: raw[:8] + b"\xff\xff\0" + raw[11:], "header is longer"),
    "header flipped": (lambda raw: raw[:60] + bytes([raw[60] ^ 1]) + raw[61:], "header does not"),
    "padding used": (lambda raw: raw[:-1] + b"!", "padding is not zero"),
    "not json": (lambda raw: reheader(raw, lambda h: b"{"), "not JSON"),
    "a key twice": (
        lambda raw: reheader(raw, lambda h: b'{"kind":1,"kind":2}'),
        "a key occurs twice",
    ),
    "NaN": (lambda raw: reheader(raw, lambda h: b'{"kind":NaN}'), "not a JSON number"),
    "deep nesting": (lambda raw: reheader(raw, lambda h: b"[" * 200), "not JSON"),
    "no sections": (lambda raw: reheader(raw, lambda h: h.pop("sections")), "lacks kind, meta"),
    "overlap": (lambda raw: reheader(raw, entry("offset", 0)), "is not where"),
    "negative offset": (lambda raw: reheader(raw, entry("offset", -64)), "malformed"),
    "float size": (lambda raw: reheader(raw, entry("size", 20.0)), "malformed"),
    "boolean offset": (lambda raw: reheader(raw, entry("offset", True)), "malformed"),
    "past the end": (lambda raw: reheader(raw, entry("size", 2**40)), "malformed"),
    "shape too large": (lambda raw: reheader(raw, entry("shape", [2**40])), "malformed"),
    "negative shape": (lambda raw: reheader(raw, entry("shape", [-5])), "malformed"),
    "object dtype": (lambda raw: reheader(raw, entry("dtype", "|O")), "malformed"),
    "extra field": (lambda raw: reheader(raw, entry("extra", 1)), "malformed"),
}


def test_a_header_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="keep less in the metadata"):
        write_container(tmp_path / "x", "a", {"long": "x" * 2**24}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_is_refused(path: Path, attack: str) -> None:
    change, message = ATTACKS[attack]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BundleError, match=message):
        Container(path).verify()


def test_a_changed_section_fails_verification(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"hello", b"jello"))
    with pytest.raises(BundleError, match="section 'b' does not match its SHA-256"):
        Container(path).verify()


@given(place=st.integers(0, 10_000), value=st.integers(1, 255))
@settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_any_flipped_byte_is_noticed(path: Path, place: int, value: int) -> None:
    whole = path.read_bytes()
    raw = bytearray(whole)
    raw[place % len(raw)] ^= value
    other = path.with_name("flipped")
    other.write_bytes(bytes(raw))
    with pytest.raises(EdgerecError):
        Container(other).verify()


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        Container(tmp_path / "none")


def test_objects_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="dtype object cannot be written"):
        write_container(tmp_path / "x", "test", {}, {"a": np.array([None])})


def test_pages_that_are_given_back_are_read_again(tmp_path: Path) -> None:
    path, array = tmp_path / "x", np.arange(3_000_000, dtype=np.float32)
    write_container(path, "model", {}, {"small": np.arange(5, dtype=np.int32), "large": array})
    found = Container(path).array("large")
    assert found.sum() > 0
    before = resident(path)
    release(found[1000:].reshape(-1, 1))
    if sys.platform == "linux":
        # Huge pages at its ends may stay.
        assert resident(path) < before - array.nbytes / 2
    assert np.array_equal(found, array)
    release(array)  # not mapped: nothing to give back
    assert array[-1] == 2_999_999


def resident(path: Path) -> int:
    """Bytes of a mapped file that this process holds in memory, on Linux."""
    if sys.platform != "linux":
        return 0
    kept, total = False, 0
    for line in Path("/proc/self/smaps").read_text("utf-8").splitlines():
        if "-" in line.split(" ")[0]:
            kept = line.endswith(str(path))
        elif kept and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total
