"""Context: how what is known of a user becomes numbers, and what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from edgerec.errors import BundleError, ModelError, OptionError
from edgerec.files.fields import Fields
from edgerec.model.context import Context, Labels, Number, read_context
from edgerec.model.device_model import DeviceModel
from edgerec.testing.models import adverse_models

CONTEXT = Context(
    (Number("age", (10.0, 20.0, 40.0), (-1.0, 0.0, 1.0)), Labels("country", ("DE", "FR", "IT")))
)


@pytest.mark.parametrize(
    ("known", "coded"),
    [
        ({}, [0, 0, 0, 0]),
        ({"age": 10}, [-1, 0, 0, 0]),
        ({"age": 25}, [0.25, 0, 0, 0]),
        ({"age": np.float32(1000)}, [1, 0, 0, 0]),
        ({"age": -math.pi}, [-1, 0, 0, 0]),
        ({"country": "FR"}, [0, 0, 1, 0]),
        ({"country": ["IT", "DE"]}, [0, 1, 0, 1]),
        ({"country": []}, [0, 0, 0, 0]),
        ({"country": None, "age": 30}, [0.5, 0, 0, 0]),
        ({"country": np.array(["IT"])}, [0, 0, 0, 1]),
    ],
)
def test_codes_by_hand(known: dict[str, object], coded: list[float]) -> None:
    found = CONTEXT.code(known)
    assert found.dtype == np.float32
    assert found.tolist() == coded


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"aeg": 3}, r"^context: the model does not read aeg; it reads age, country$"),
        ({"age": "31"}, r"^context.age: expected a number, got '31'$"),
        ({"age": True}, r"^context.age: expected a number, got True$"),
        ({"age": math.nan}, r"^context.age: expected a finite number, got nan$"),
        ({"country": "US"}, r"^context.country: unknown label 'US'; known: DE, FR, IT; leave it"),
        ({"country": ["DE", "US"]}, r"unknown label 'US'"),
        ({"country": 7.0}, r"unknown label '7'"),
        ({"country": 7.5}, r"unknown label '7.5'"),
        ({"country": [None]}, r"^context.country: expected a label, got None$"),
        ({"country": b"DE"}, r"^context.country: expected a label, got b'DE'$"),
        ({"age": 10**400}, r"^context.age: expected a finite number, got 1000"),
    ],
)
def test_what_cannot_be_coded(known: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CONTEXT.code(known)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("", {}),
        ("age=31", {"age": 31}),
        ('{"country": ["DE"], "age": 4}', {"age": 4, "country": ["DE"]}),
        (" country = DE | IT , age = 3.5 ", {"age": 3.5, "country": ["DE", "IT"]}),
    ],
)
def test_text_of_the_command_line(text: str, known: dict[str, object]) -> None:
    assert CONTEXT.parse(text) == known


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age", r"^context: expected different names with a value each, such as age=…; got 'age'$"),
        ("age=", "expected different names"),
        ("age=3,age=4", "expected different names"),
        ('{"age"', r"^context: cannot be read as JSON"),
        ("age=old", r"^context.age: expected a number, got 'old'$"),
    ],
)
def test_text_that_says_nothing(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CONTEXT.parse(text)


def test_files_keep_it() -> None:
    meta = json.loads(json.dumps({"context": CONTEXT.to_json()}))
    assert read_context(Fields(meta), 4) == CONTEXT
    assert read_context(Fields({}), 4) is None
    # Other things may have this name, if the model reads no context.
    assert read_context(Fields(meta), 0) is None
    assert read_context(Fields({"context": "session"}), 4) is None


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [{"name": "age"}],
        [{"name": "age", "labels": []}],
        [{"name": "age", "labels": ["a", "a"]}],
        [{"name": "age", "labels": ["a", 3]}],
        [{"name": "", "labels": ["a"]}],
        [{"name": "a=b", "labels": ["a"]}],
        [{"name": "age", "labels": ["a"]}, {"name": "age", "labels": ["b"]}],
        [{"name": "age", "values": [1, 2], "ranks": [0]}],
        [{"name": "age", "values": [2, 1], "ranks": [0, 1]}],
        [{"name": "age", "values": [1, 1], "ranks": [0, 1]}],
        [{"name": "age", "values": ["1"], "ranks": [0]}],
        [{"name": "age", "values": [1], "ranks": [math.inf]}],
        [3],
        [{"name": "age", "labels": ["a", "b"]}],
    ],
)
def test_damaged_files(entries: Any) -> None:
    with pytest.raises(BundleError, match="context"):
        read_context(Fields({"context": entries}, "metadata"), 3)


def test_a_model_has_as_many_places() -> None:
    model = adverse_models()["situated"]

    def named(width: int) -> DeviceModel:
        labels = Labels("mood", tuple(f"m{n}" for n in range(width)))
        context = Context((labels,)).to_json()
        return model.replace(metadata={**model.metadata, "context": context})

    assert named(model.context_width).context is not None
    with pytest.raises(ModelError, match=r"^metadata.context: has 1 places, and the input context"):
        named(1)
    assert model.replace(metadata={"context": "mood"}).context is None
