"""onnx bundles return the oracle's lists in onnxruntime-web, the WebAssembly build.

The tests need Node and a folder in which ``npm install onnxruntime-web`` has run. The environment
variable ONNXRUNTIME_WEB names the folder; .ci/run creates one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgerec.device.scorer import Scorer
from edgerec.exporting.answers import Answer, Answers, compare_lists
from edgerec.exporting.export import export
from edgerec.exporting.proof import MAX_SCORE_ERROR, MIN_OVERLAP, sample_histories
from edgerec.model.codecs import Codec, Fp16, Fp32, Int4, Int8
from edgerec.testing import example_models
from edgerec.training.loop import train
from edgerec_pq.codec import PQ
from tests.rigs.tastes import tastes

ROOT = Path(__file__).parents[2]
NODE = shutil.which("node")
FOLDER = os.environ.get("ONNXRUNTIME_WEB", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not FOLDER, reason="ONNXRUNTIME_WEB does not name a folder with onnxruntime-web"
    ),
]

CODECS = [
    *(Fp32(), Fp16(), Int8(), Int8(symmetric=False), Int4(), Int4(symmetric=True)),
    PQ(4, 2, 8, runs=20, word_bits=4),
]


def run(folder: Path, job: dict[str, Any]) -> Any:
    """What the script prints for a job."""
    (folder / "job.json").write_text(json.dumps(job))
    script = ROOT / "tests" / "targets" / "recommend.mjs"
    module = ROOT / "examples" / "browser" / "edgerec.mjs"
    done = subprocess.run(
        [str(NODE), str(script), FOLDER, str(module), str(folder / "job.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_context_is_told_by_name(tmp_path: Path) -> None:
    data = tastes()
    trained = train(data, context="taste,age", epochs=1, dim=8, history_length=20)
    model = trained.to_device_model()
    bundle = export(model, "onnx", tmp_path / "x.edgerec", top_k=10)
    contexts: list[dict[str, Any]] = [{}, {"taste": "taste 2"}, {"taste": ["taste 0", "taste 1"]}]
    contexts += [{"age": age} for age in (0, 18, 30.5, 79, 200)]
    situations = [{"past": ["3", "8"], "context": known} for known in contexts]
    job = {"histories": [], "pasts": [], "situations": situations}
    with Scorer.open(bundle.path) as scorer:
        assert model.context is not None
        for known, (coded, items) in zip(
            contexts, run(tmp_path, job | {"bundle": str(bundle.path)})["situated"], strict=True
        ):
            np.testing.assert_allclose(coded, model.context.code(known), rtol=1e-6)
            expected = scorer.recommend(["3", "8"], 10, context=known)
            assert [item["id"] for item in items] == [item.id for item in expected]


@pytest.mark.parametrize("codec", CODECS, ids=str)
@pytest.mark.parametrize("name", ["sum", "dense", "attention", "transformer"])
def test_lists_match_the_oracle(name: str, codec: Codec, tmp_path: Path) -> None:
    # More rows than one block of the half-precision scan.
    model = example_models(5000, 32)[name]
    model = model.with_codec(codec, [n for n, t in model.tables.items() if t.shape[1] > 1])
    bundle = export(model, "onnx", tmp_path / "x.edgerec", top_k=20)
    histories = sample_histories(model, 100, seed=1)
    answers = Answers(model, histories, 20)
    ids, popular = model.items.ids, model.popular[10:30].tolist()
    # Items beyond the model's limit are not recommended either, so popular items are.
    pasts = [
        [ids[row] for row in (3, 1, 4)],
        [i for row, i in enumerate(ids) if row not in popular],
    ]
    given = [
        {"history": rows.tolist(), "candidates": np.maximum(candidates, 0).tolist()}
        for rows, candidates in zip(histories, answers.candidates, strict=True)
    ]
    found = run(tmp_path, {"bundle": str(bundle.path), "histories": given, "pasts": pasts})
    runs = iter(found["runs"])

    def answer(candidates: NDArray[np.int32]) -> Answer:
        ids, *floats = next(runs)
        scores, user, scored = (np.array(one, np.float32) for one in floats)
        return (
            np.array(ids, np.int32),
            scores,
            user,
            np.where(candidates < 0, np.float32(0), scored),
        )

    lists = [answer(candidates) for candidates in answers.candidates]
    parity = compare_lists(lists, answers)
    assert parity.overlap >= MIN_OVERLAP, parity
    assert parity.score_error <= MAX_SCORE_ERROR, parity
    # The browser example's recommendations are those of the Python scorer.
    for past, items in zip(pasts, found["lists"], strict=True):
        expected = Scorer(bundle).recommend(past, 10)
        assert [item["id"] for item in items] == [item.id for item in expected]
        assert [item["title"] for item in items] == [item.title for item in expected]
