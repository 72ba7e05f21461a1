"""The table of capabilities is computed, complete, and equal to the one in the docs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgerec.contracts.bundle import Bundle
from edgerec.contracts.host import Host
from edgerec.contracts.runner import Artefact
from edgerec.exporting.capabilities import _ENCODERS, capabilities, lines, markdown, op_model
from edgerec.model.codecs import Int8
from edgerec.model.device_model import DeviceModel
from edgerec.model.ops import OPS
from edgerec.model.oracle import Oracle
from edgerec_numpy import NumpyTarget

PAGE = Path(__file__).parents[2] / "docs" / "capabilities.md"


def test_every_op_has_a_model_that_uses_it() -> None:
    assert set(_ENCODERS) == set(OPS)
    for kind in OPS:
        model = op_model(kind, Int8())
        assert kind in {op.kind for op in model.encoder}
        Oracle(model)


@dataclass(frozen=True)
class Odd(NumpyTarget):
    """Refuses Tanh, and returns lists in reverse order if the encoder has a Softmax."""

    def refuse(self, model: DeviceModel) -> list[str]:
        """Refuse Tanh."""
        return ["no Tanh"] if any(op.kind == "Tanh" for op in model.encoder) else []

    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Artefact:
        """Reverse lists if the encoder has a Softmax."""
        artefact = super().load(bundle, runtime, threads)
        if "Softmax" not in {op.kind for op in bundle.model().encoder}:
            return artefact

        def in_reverse(history: Any) -> Any:
            ids, scores, user = artefact(history)
            real = ids >= 0
            return ids[real][::-1], scores[real], user

        return in_reverse


def test_refusals_and_wrong_results_are_both_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Host()
    monkeypatch.setitem(host._targets.entries, "numpy", Odd)
    found = capabilities(host, targets=["numpy"])
    assert {c.op for c in found if c.reason} == {"Tanh", "Softmax"}
    assert {c.reason for c in found if c.op == "Tanh"} == {"no Tanh"}
    assert all("differs from the model" in c.reason for c in found if c.op == "Softmax")
    assert len(list(lines(found))) == 3
    assert "1. no Tanh" in markdown(found)


@pytest.mark.parametrize("target", ["numpy", "tflite", "onnx", "torchscript"])
def test_the_docs_match_the_measurements(target: str) -> None:
    found = capabilities(targets=[target])
    page = PAGE.read_text("utf-8")
    for row in markdown(found).splitlines():
        if row.startswith(f"| {target} "):
            shown = next(r for r in page.splitlines() if r.startswith(f"| {target} "))
            assert row.split(" (")[0] == shown.split(" (")[0]
            assert [c[:3] for c in row.split(" | ")] == [c[:3] for c in shown.split(" | ")]
    for cell in found:
        assert not cell.reason or cell.reason in page


def test_a_target_refuses_ops_by_name() -> None:
    class Few(NumpyTarget):
        ops = ("Gather", "Mul", "ReduceSum")

    assert Few().refuse(op_model("Mul", Int8())) == []
    assert Few().refuse(op_model("Gelu", Int8())) == [
        "encoder: numpy has no Gelu; it has Gather, Mul, ReduceSum"
    ]
