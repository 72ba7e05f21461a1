"""The libraries that ``benchmarks.quality_peers`` compares with, on the same trained tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.model.codecs import F32
from edgerec.model.device_model import DeviceModel

#: A function from (history int32[H], weights float32[H]) to scores float32[n].
Scores = Callable[[NDArray[np.int32], F32], F32]


@dataclass(frozen=True)
class Peer:
    """A model quantized by another library: its name, size in bytes and scoring function."""

    name: str
    nbytes: int
    scores: Scores


def rows_of(model: DeviceModel) -> tuple[F32, F32]:
    """The two tables float32[n, d] of the plain model: past rows and candidate rows."""
    items = model.tables["items"].decode()
    return items * model.tables["past_scale"].decode(), items


def onnxruntime_peers(model: DeviceModel, folder: Path) -> Iterator[Peer]:
    """The fp32 model, unchanged and after ``onnxruntime.quantization.quantize_dynamic``."""
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
    """TensorFlow's fp32 conversion, unchanged and after ai-edge-quantizer's recipes."""
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
    """Embeddings quantized by torchao: int8 per row, and int4 per group of 32."""
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
        # torchao stores int4 unpacked, in one byte per number; this counts it as if it were packed.
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
    """Candidate rows in faiss indexes; a past row is its candidate row times a float16 per item."""
    import faiss

    faiss.omp_set_num_threads(1)
    items = model.tables["items"].decode()
    ratio = model.tables["past_scale"].decode().astype(np.float16).astype(np.float32)
    n, d = items.shape
    for name in ("SQ8", "SQ4", "PQ32", "OPQ16,PQ16", "OPQ8,PQ8"):
        # Training 256 centroids per subspace needs more rows than a small catalogue has.
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
