"""What peers make of the same trained model, beside ours, in one run.

    python -m benchmarks.quality_peers [--gowalla FOLDER] [--users 2000]

Each takes the fp32 model (gather past rows, add them up, score all items), quantizes it in
its own way, and ranks all items for the same random test users in its own runtime, one
thread. MovieLens-100K by default. ``bytes an item`` is the whole file, or all tensors where
there is none, less the catalogue, which peers do not have. It writes
``benchmarks/results/quality_peers.json`` and ``quality_peers.md``. Needs the ``bench`` extra.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import edgerec
from benchmarks.quality import OPTIONS, one_of
from edgerec.atomic import write_text
from edgerec.bundle import Bundle
from edgerec.codecs import F32
from edgerec.data import Dataset
from edgerec.device_model import DeviceModel
from edgerec.quality import Quality, evaluate, evaluation_users, quality_of
from edgerec.reference import Reference
from edgerec.score import Scorer

RESULTS = Path(__file__).parent / "results"

#: (history int32[H], weights float32[H]) -> scores float32[n].
Scores = Callable[[NDArray[np.int32], F32], F32]

console = Console()


@dataclass(frozen=True)
class Peer:
    """A quantized model of somebody's: its name, its bytes, and how it scores."""

    name: str
    nbytes: int
    scores: Scores


def rows_of(model: DeviceModel) -> tuple[F32, F32]:
    """The plain model's two tables float32[n, d]: past rows, and candidate rows."""
    items = model.tables["items"].decode()
    return items * model.tables["past_scale"].decode(), items


def onnxruntime_peers(model: DeviceModel, folder: Path) -> Iterator[Peer]:
    """fp32 as it is, and after ``onnxruntime.quantization.quantize_dynamic``."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import QuantType, quantize_dynamic

    past, candidates = rows_of(model)
    length = model.history_length
    nodes = [
        helper.make_node("Gather", ["past", "history"], ["rows"]),
        helper.make_node("MatMul", ["weights", "rows"], ["user"]),
        helper.make_node("MatMul", ["user", "candidates"], ["scores"]),
    ]
    values = {"past": past, "candidates": np.ascontiguousarray(candidates.T)}
    graph = helper.make_graph(
        nodes,
        "plain",
        [
            helper.make_tensor_value_info("history", TensorProto.INT64, [length]),
            helper.make_tensor_value_info("weights", TensorProto.FLOAT, [1, length]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, len(candidates)])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    plain, small = folder / "plain.onnx", folder / "dynamic.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), plain)
    quantize_dynamic(plain, small, weight_type=QuantType.QInt8, per_channel=True)
    for name, path in (
        ("onnxruntime, fp32", plain),
        ("onnxruntime, quantize_dynamic", small),
    ):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def scores(history: NDArray[np.int32], weights: F32, session: Any = session) -> F32:
            feed = {"history": np.maximum(history, 0).astype(np.int64), "weights": weights[None]}
            found: F32 = session.run(None, feed)[0][0]
            return found

        yield Peer(name, path.stat().st_size, scores)


def litert_peers(model: DeviceModel, folder: Path) -> Iterator[Peer]:
    """TensorFlow's fp32 conversion as it is, and after ai-edge-quantizer's recipes."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    past, candidates = (tf.constant(t) for t in rows_of(model))
    length = model.history_length

    class Plain(tf.Module):  # type: ignore[misc]  # tensorflow has no types
        @tf.function(
            input_signature=[
                tf.TensorSpec([length], tf.int32, "history"),
                tf.TensorSpec([1, length], tf.float32, "weights"),
            ]
        )
        def score(self, history: Any, weights: Any) -> Any:
            user = tf.matmul(weights, tf.gather(past, history))
            return {"scores": tf.matmul(user, candidates, transpose_b=True)}

    plain = Plain()
    concrete = plain.score.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], plain)
    path = folder / "plain.tflite"
    path.write_bytes(converter.convert())
    files = {"LiteRT, fp32": path}
    for name in ("dynamic_wi8_afp32", "weight_only_wi8_afp32", "dynamic_wi4_afp32"):
        tool = quantizer.Quantizer(str(path))
        tool.load_quantization_recipe(getattr(recipe, name)())
        files[f"ai-edge-quantizer, {name}"] = folder / f"{name}.tflite"
        tool.quantize().export_model(str(files[f"ai-edge-quantizer, {name}"]), overwrite=True)
    for name, file in files.items():
        interpreter = Interpreter(str(file), num_threads=1)
        runner = interpreter.get_signature_runner()

        def scores(history: NDArray[np.int32], weights: F32, runner: Any = runner) -> F32:
            feed = {"history": np.maximum(history, 0), "weights": weights[None]}
            found: F32 = runner(**feed)["scores"][0].copy()
            return found

        yield Peer(name, file.stat().st_size, scores)


def torchao_peers(model: DeviceModel, folder: Path) -> Iterator[Peer]:
    """Embeddings quantized by torchao, int8 a row and int4 a group of 32."""
    import torch
    from torchao.quantization import IntxWeightOnlyConfig, quantize_
    from torchao.quantization.granularity import PerAxis, PerGroup

    torch.set_num_threads(1)
    for name, dtype, granularity, bits in (
        ("torchao, int8 embedding", torch.int8, PerAxis(0), 8),
        ("torchao, int4 embedding, groups of 32", torch.int4, PerGroup(32), 4),
    ):
        past, candidates = (
            torch.nn.Embedding.from_pretrained(torch.from_numpy(t)) for t in rows_of(model)
        )
        both = torch.nn.ModuleList([past, candidates])
        config = IntxWeightOnlyConfig(weight_dtype=dtype, granularity=granularity)
        quantize_(both, config, lambda module, _: isinstance(module, torch.nn.Embedding))
        weights_of = [e.weight for e in both]
        # Its int4 lies unpacked, a byte a number; counted as if it were packed.
        nbytes = sum(
            w.qdata.numel() * bits // 8 + w.scale.numel() * 4 + w.zero_point.numel()
            for w in weights_of
        )

        def scores(
            history: NDArray[np.int32],
            weights: F32,
            past: Any = past,
            candidates: Any = candidates,
        ) -> F32:
            with torch.no_grad():
                rows = past(torch.from_numpy(np.maximum(history, 0)).long())
                user = torch.from_numpy(weights)[None] @ rows
                found: F32 = (user @ candidates.weight.dequantize().T)[0].numpy()
            return found

        yield Peer(name, nbytes, scores)


def faiss_peers(model: DeviceModel, folder: Path) -> Iterator[Peer]:
    """Candidate rows in faiss's indexes; past rows are theirs times a half float an item."""
    import faiss

    faiss.omp_set_num_threads(1)
    items = model.tables["items"].decode()
    ratio = model.tables["past_scale"].decode().astype(np.float16).astype(np.float32)
    n, d = items.shape
    for name in ("SQ8", "SQ4", "PQ32", "OPQ16,PQ16", "OPQ8,PQ8"):
        # Subspaces of 256 centroids want more rows than a small catalogue has.
        spec = name if "PQ" not in name or n > 9984 else f"{name}x6"
        index = faiss.index_factory(d, spec, faiss.METRIC_INNER_PRODUCT)
        index.train(items)
        index.add(items)
        path = folder / "index.faiss"
        faiss.write_index(index, str(path))
        past = index.reconstruct_n(0, n) * ratio

        def scores(
            history: NDArray[np.int32], weights: F32, index: Any = index, past: F32 = past
        ) -> F32:
            user = weights @ past[np.maximum(history, 0)]
            values, rows = index.search(user[None], len(past))
            found = np.empty(len(past), np.float32)
            found[rows[0]] = values[0]
            return found

        yield Peer(f"faiss, {spec}", path.stat().st_size + 2 * n, scores)


PEERS = (onnxruntime_peers, litert_peers, torchao_peers, faiss_peers)

#: Our chains: what is asked for, and the target it runs on. Not tflite: its two runtimes and
#: TensorFlow do not bear each other in one process.
OURS = {
    "int8": ("quantize:codec=int8", "onnx"),
    "int4": ("quantize:codec=int4", "onnx"),
    "pq, 32 bytes": ("pq:bytes=32", "numpy"),
    "pq, 16 bytes": ("pq:bytes=16", "numpy"),
    "pq, 8 bytes": ("pq:bytes=8", "numpy"),
}


def our_peers(model: DeviceModel, data: Dataset, folder: Path) -> Iterator[tuple[str, int, Scorer]]:
    """Our bundles of the same model."""
    for name, (chain, target) in OURS.items():
        small = edgerec.compress(model, chain, dataset=data)
        bundle = edgerec.export(small, target, folder / "ours.edgerec", top_k=20)
        catalogue = sum(
            size for part, size in sections(bundle).items() if part.startswith("items/")
        )
        yield f"edgerec, {name}, {target}", bundle.nbytes - catalogue, Scorer.open(bundle.path)


def sections(bundle: Bundle) -> dict[str, int]:
    """Bytes of each section of a bundle."""
    from edgerec.container import Container

    container = Container(bundle.path)
    return {name: container.nbytes(name) for name in container.names}


def measure(data: Dataset, model: DeviceModel, count: int) -> Iterator[dict[str, Any]]:
    """Yield a row a peer."""
    users = evaluation_users(data, count)
    before = evaluate(model, data, users=users)
    n = len(model.items)

    def row(name: str, nbytes: int, lists: NDArray[np.int32], times: list[float]) -> dict[str, Any]:
        quality: Quality = quality_of(lists, data, users)
        kept, shared = quality.kept(before)
        found = {
            "dataset": data.name,
            "name": name,
            "bytes_per_item": nbytes / n,
            "ndcg": quality.ndcg,
            "ndcg_kept": kept,
            "overlap": shared,
            "p50_ms": float(np.median(times)) * 1e3,
        }
        console.print(found)
        return found

    histories, oracle = [data.train.of(int(user)) for user in users], Reference(model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for make in PEERS:
            for peer in make(model, folder):
                lists, times = np.empty((len(users), 20), np.int32), []
                for place, seen in enumerate(histories):
                    history, weights = oracle.pad(seen)
                    start = time.perf_counter()
                    scores = peer.scores(history, weights)
                    scores[seen] = -np.inf
                    top = np.argpartition(-scores, 20)[:20]
                    lists[place] = top[np.argsort(-scores[top])]
                    times.append(time.perf_counter() - start)
                yield row(peer.name, peer.nbytes, lists, times)
        for name, nbytes, scorer in our_peers(model, data, folder):
            lists, times = np.full((len(users), 20), -1, np.int32), []
            for place, seen in enumerate(histories):
                ids = [data.items.ids[int(i)] for i in seen]
                start = time.perf_counter()
                found = scorer.recommend(ids, 20)
                times.append(time.perf_counter() - start)
                lists[place] = [data.items.rows[r.id] for r in found]
            yield row(name, nbytes, lists, times)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, a table a data set."""
    text = [
        "Made by `python -m benchmarks.quality_peers [--gowalla FOLDER]`. One seed, random test "
        "users, one thread.",
        "",
    ]
    for data in dict.fromkeys(r["dataset"] for r in rows):
        text += [
            f"### {data}",
            "",
            "| | bytes/item | NDCG@20 | NDCG kept | overlap@20 | p50 ms |",
            "|---|---|---|---|---|---|",
        ]
        text += [
            f"| {r['name']} | {r['bytes_per_item']:.1f} | {r['ndcg']:.4f} | {r['ndcg_kept']:.1%} "
            f"| {r['overlap']:.3f} | {r['p50_ms']:.2f} |"
            for r in rows
            if r["dataset"] == data
        ]
        text.append("")
    return "\n".join(text)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gowalla", help="folder with train.txt and test.txt")
    parser.add_argument("--users", type=int, default=2000)
    arguments = parser.parse_args()
    # Peers warn about versions of each other's packages.
    warnings.simplefilter("ignore")
    written = RESULTS / "quality_peers.json"
    rows: list[dict[str, Any]] = json.loads(written.read_text("utf-8")) if written.exists() else []
    data = one_of(arguments.gowalla)
    model = edgerec.train(data, seed=0, **OPTIONS[data.name]).to_device_model()
    rows = [r for r in rows if r["dataset"] != data.name]
    # Written after each row, so that an interrupted run keeps what it has.
    for row in measure(data, model, arguments.users):
        rows.append(row)
        write_text(written, json.dumps(rows, indent=1) + "\n")
        write_text(RESULTS / "quality_peers.md", table(rows))
    console.print(table(rows), markup=False)


if __name__ == "__main__":
    main()
