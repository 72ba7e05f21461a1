"""The table of capabilities: computed, whole, and the one the docs show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgerec.bundle import Bundle
from edgerec.codecs import Int8
from edgerec.device import Device
from edgerec.device_model import DeviceModel
from edgerec.host import Host
from edgerec.matrix import ENCODERS, capabilities, lines, markdown, op_model
from edgerec.ops import OPS
from edgerec.reference import Reference
from edgerec.target import Runner, Target

PAGE = Path(__file__).parent.parent / "docs" / "capabilities.md"


def test_every_op_has_a_model_that_uses_it() -> None:
    assert set(ENCODERS) == set(OPS)
    for kind in OPS:
        model = op_model(kind, Int8())
        assert kind in {op.kind for op in model.encoder}
        Reference(model)


def test_a_target_that_refuses_and_one_that_is_wrong_are_both_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numpy_target = type(Host().target("numpy"))
    load = numpy_target.load

    def refuse(self: Target, model: DeviceModel, device: Device | None) -> list[str]:
        return ["no Tanh"] if any(op.kind == "Tanh" for op in model.encoder) else []

    def load_wrong(self: Target, bundle: Bundle, *given: Any, **named: Any) -> Runner:
        runner = load(self, bundle, *given, **named)
        if "Softmax" not in {op.kind for op in bundle.model().encoder}:
            return runner

        def upside_down(history: Any, weights: Any) -> Any:
            ids, scores = runner(history, weights)
            return ids[::-1], scores

        return upside_down

    monkeypatch.setattr(numpy_target, "refuse", refuse)
    monkeypatch.setattr(numpy_target, "load", load_wrong)
    found = capabilities(targets=["numpy"])
    assert {c.op for c in found if c.reason} == {"Tanh", "Softmax"}
    assert {c.reason for c in found if c.op == "Tanh"} == {"no Tanh"}
    assert all("differs from the model" in c.reason for c in found if c.op == "Softmax")
    assert len(list(lines(found))) == 3
    assert "1. no Tanh" in markdown(found)


@pytest.mark.parametrize("target", ["numpy", "tflite", "onnx", "torchscript"])
def test_the_docs_show_what_is_measured(target: str) -> None:
    found = capabilities(targets=[target])
    page = PAGE.read_text("utf-8")
    for row in markdown(found).splitlines():
        if row.startswith(f"| {target} "):
            shown = next(r for r in page.splitlines() if r.startswith(f"| {target} "))
            assert row.split(" (")[0] == shown.split(" (")[0]
            assert [c[:3] for c in row.split(" | ")] == [c[:3] for c in shown.split(" | ")]
    for cell in found:
        assert not cell.reason or cell.reason in page
