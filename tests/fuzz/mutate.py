"""Mutations of a file, aware of its structure and reproducible from a number."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fuzz.corpus import Seed, assemble
from tests.fuzz.payloads import change_payload

__all__ = ["Mutation", "mutation"]

#: What was changed, and the bytes of the file.
Mutation = tuple[str, bytes]

#: Numbers and other values that readers tend to forget.
ODD: list[Any] = [
    *(0, -1, 1, 2, 255, 256, 65535, 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 10**400),
    *(0.5, -0.0, 1e-320, 1e30, 1e308, -1e308, float("nan"), float("inf"), True, False, None),
    *("", "x", "0", "../x", "\x1b[31m", "\udcff", "a" * 5000, "numpy", "sparse", "items"),
    *([], {}, [1, 2, 3], [[[]]], {"a": 1}, [-1] * 40, ["items"] * 80),
]


def mutation(seed: Seed, number: int, salt: int) -> Mutation:
    """The mutation of a file with a number."""
    rng = random.Random(f"{salt}-{number}")  # noqa: S311  # reproducible, not secret
    kinds: list[tuple[float, Callable[[Seed, random.Random], Mutation]]] = [
        (0.16, _meta),
        (0.06, _entry),
        (0.24, _content),
        (0.49, _payload),
        (0.05, _stale),
    ]
    chosen = rng.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]
    return chosen(seed, rng)


def _meta(seed: Seed, rng: random.Random) -> Mutation:
    kind, meta = seed.kind, copy.deepcopy(seed.meta)
    if rng.random() < 0.03:
        return "kind", assemble(rng.choice(ODD), meta, seed.sections)
    what = change_json(meta, rng)
    return f"meta {what}", assemble(kind, meta, seed.sections)


def _entry(seed: Seed, rng: random.Random) -> Mutation:
    name = rng.choice(list(seed.sections))
    field = rng.choice(["offset", "size", "dtype", "shape", "sha256"])
    old = {"dtype": seed.sections[name][1], "shape": seed.sections[name][2]}.get(field, 64)
    if field == "shape" and rng.random() < 0.6:
        shape = seed.sections[name][2]
        # The same number of elements in another shape gets past the first check.
        value: Any = rng.choice([shape[::-1], [*shape, 1], [1, *shape], [int(np.prod(shape))]])
    elif field == "dtype":
        value = rng.choice(["<f4", "<i4", "<u4", "|u1", "|i1", "<f2", "<f8", "|O", "<c8", 3])
    else:
        value = rng.choice([*ODD, old])
    changes = {name: {field: value}}
    return f"entry {field}", assemble(seed.kind, seed.meta, seed.sections, changes)


def _content(seed: Seed, rng: random.Random) -> Mutation:
    sections = dict(seed.sections)
    arrays = [n for n, (content, _, _) in sections.items() if content and not _is_opaque(n)]
    name = rng.choice(arrays)
    content, dtype, shape = sections[name]
    sections[name] = (change_array(content, dtype, rng), dtype, shape)
    return f"content {name.rpartition('/')[2]}", assemble(seed.kind, seed.meta, sections)


def _payload(seed: Seed, rng: random.Random) -> Mutation:
    sections = dict(seed.sections)
    opaque = [n for n in sections if _is_opaque(n)]
    if not opaque:
        # A saved model: its description is the header's meta.
        return _meta(seed, rng) if rng.random() < 0.6 else _content(seed, rng)
    name = rng.choice(opaque)
    content, dtype, _ = sections[name]
    if name.endswith(".json"):
        value = json.loads(content)
        what = change_json(value, rng)
        changed = json.dumps(value).encode()
        if rng.random() < 0.02:
            what, changed = "nesting", b"[" * 100_000
    else:
        what, changed = change_payload(name, content, rng)
    sections[name] = (changed, dtype, [len(changed)])
    return f"{name.rpartition('.')[2]} {what}", assemble(seed.kind, seed.meta, sections)


def _stale(seed: Seed, rng: random.Random) -> Mutation:
    file = bytearray(assemble(seed.kind, seed.meta, seed.sections))
    for _ in range(rng.randint(1, 4)):
        file[rng.randrange(len(file))] ^= 1 << rng.randrange(8)
    return "stale digest", bytes(file if rng.random() < 0.7 else file[: rng.randrange(len(file))])


def _is_opaque(name: str) -> bool:
    return name.endswith((".json", ".onnx", ".tflite", ".ptl", ".pte"))


def change_json(value: Any, rng: random.Random) -> str:
    """Change one value somewhere in a JSON object or list, in place."""
    places = list(_places(value))
    holder, key = rng.choice(places)
    old, what = holder[key], rng.choice(["odd", "odd", "odd", "delete", "near", "copy", "grow"])
    if what == "near" and isinstance(old, int | float) and not isinstance(old, bool):
        holder[key] = old + rng.choice([-1, 1, 0.5, 1000])
    elif what == "delete":
        del holder[key]
    elif what == "copy":
        other, name = rng.choice(places)
        holder[key] = copy.deepcopy(other[name])
    elif what == "grow" and isinstance(old, list) and old:
        holder[key] = old * rng.choice([2, 50, 3000])
    else:
        holder[key] = copy.deepcopy(rng.choice(ODD))
    return f"{what} {key if isinstance(key, str) and key.isidentifier() else 'entry'}"


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += _places(value[key])
    return found


def change_array(content: bytes, dtype: str, rng: random.Random) -> bytes:
    """Change some elements of an array."""
    array = np.frombuffer(content, dtype).copy()
    place = rng.randrange(len(array))
    stop = min(len(array), place + rng.choice([1, 1, 8, len(array)]))
    if array.dtype.kind == "f":
        array[place:stop] = rng.choice([np.nan, np.inf, -np.inf, 0, -1, 1e-40, 6e4, -6e4])
    else:
        info = np.iinfo(array.dtype)
        odd = [info.min, info.max, 0, 1, len(array) - 1, len(array), len(array) + 1]
        array[place:stop] = rng.choice([v for v in odd if info.min <= v <= info.max])
    if rng.random() < 0.2:
        array = array[::-1]
    return array.tobytes()
