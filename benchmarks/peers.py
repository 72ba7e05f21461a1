"""Measure one library's scan of a table, in this process: ``python -m benchmarks.peers NAME FILE``.

It prints one line of JSON with those columns of ``benchmarks.scoring`` that apply to a peer.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.kernels import KERNELS, kernel, session_of
from edgerec.device.bandwidth import time_alternately
from edgerec.device.bench import peak_rss_bytes
from edgerec.model.codecs import F32

TOP = 20

#: The time limit of each of the two measurements, in seconds; it cuts slow libraries short.
SECONDS = 5

#: A function from a user vector float32[d] to the rows of the TOP best items.
Scan = Callable[[F32], NDArray[Any]]


def numpy_fp32(table: F32, _: str) -> tuple[Scan, int, str]:
    """A matrix product and a partition, in numpy."""
    return lambda u: np.argpartition(-(table @ u), TOP)[:TOP], table.nbytes, "numpy"


def onnxruntime_fp32(table: F32, _: str) -> tuple[Scan, int, str]:
    """MatMul and TopK, with the table as an initializer."""
    from onnx import helper, numpy_helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["table", "user"], ["scores"]),
            helper.make_node("TopK", ["scores", "k"], ["values", "rows"], axis=0),
        ],
        "peer",
        [value("user", 1, [table.shape[1], 1])],
        [value("rows", 7, [TOP, 1])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([TOP]), "k")],
    )
    session = session_of(graph)
    return (
        lambda u: session.run(None, {"user": u[:, None]})[0][:, 0],
        table.nbytes,
        "onnxruntime",
    )


def faiss(table: F32, key: str) -> tuple[Scan, int, str]:
    """An index made by faiss's index factory, with the inner product as its metric."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.index_factory(table.shape[1], key, faiss.METRIC_INNER_PRODUCT)
    index.train(table[:100_000])
    index.add(table)
    width = table.shape[1]
    bits = {"Flat": 32 * width, "SQ8": 8 * width, "SQ4": 4 * width, "PQ16x4fs": 4 * 16}[key]
    return lambda u: index.search(u[None], TOP)[1][0], len(table) * bits // 8, "faiss-cpu"


def usearch_i8(table: F32, _: str) -> tuple[Scan, int, str]:
    """Exact search over int8 vectors."""
    from usearch.index import search

    step = np.abs(table).max() / 127
    codes = np.rint(table / step).astype(np.int8)

    def scan(u: F32) -> NDArray[Any]:
        query = np.rint(u / (np.abs(u).max() / 127)).astype(np.int8)
        return search(codes, query[None], TOP, metric="ip", exact=True, threads=1).keys.ravel()

    return scan, codes.nbytes, "usearch"


def litert_full_int8(table: F32, _: str) -> tuple[Scan, int, str]:
    """A product and TopK, with the full-integer quantization of TensorFlow's own converter."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    weights = tf.constant(table)

    @tf.function(input_signature=[tf.TensorSpec([1, table.shape[1]], tf.float32)])  # type: ignore[untyped-decorator,unused-ignore]
    def score(user: Any) -> Any:
        return tf.math.top_k(tf.matmul(user, weights, transpose_b=True), TOP).indices

    converter = tf.lite.TFLiteConverter.from_concrete_functions([score.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    users = np.random.default_rng(5).standard_normal((20, 1, table.shape[1]), np.float32)
    converter.representative_dataset = lambda: ([user] for user in users)
    content = converter.convert()
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    read, written = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def scan(u: F32) -> NDArray[Any]:
        interpreter.set_tensor(read["index"], u[None])
        interpreter.invoke()
        return interpreter.get_tensor(written["index"])[0]

    return scan, len(content), "ai-edge-litert"


def kernel_alone(runtime: str) -> Callable[[F32, str], tuple[Scan, int, str]]:
    """A runtime's own integer kernel, which finds no rows."""

    def make(table: F32, codec: str) -> tuple[Scan, int, str]:
        run, nbytes = kernel(table, runtime, codec)

        def scan(u: F32) -> NDArray[Any]:
            run(u)
            return np.empty(0, np.int64)

        return scan, nbytes, runtime

    return make


PEERS: dict[str, Callable[[F32, str], tuple[Scan, int, str]]] = {
    "numpy fp32": numpy_fp32,
    "onnxruntime fp32": onnxruntime_fp32,
    "faiss": faiss,
    "usearch i8": usearch_i8,
    "litert full int8": litert_full_int8,
    **{name: kernel_alone(name.partition(":")[2].partition(" ")[0]) for name in KERNELS},
}


def main() -> None:
    """Print the figures of the library that the command line names."""
    name, path = sys.argv[1:]
    table = np.load(path)
    users = np.random.default_rng(2).standard_normal((50, table.shape[1]), np.float32)
    exact = [np.argpartition(-(table @ u), TOP)[:TOP] for u in users]
    library, _, key = name.partition(" ")
    make = PEERS.get(name) or PEERS[library]
    start = time.perf_counter()
    scan, nbytes, distribution = make(table, key)
    load = (time.perf_counter() - start) * 1e3
    start = time.perf_counter()
    scan(users[0])
    first = (time.perf_counter() - start) * 1e3
    times: list[float] = []
    shared = []
    while len(times) < 200 and sum(times) < SECONDS * 1e3:
        i = len(times)
        start = time.perf_counter()
        rows = scan(users[i % len(users)])
        times.append((time.perf_counter() - start) * 1e3)
        shared.append(len({*rows.tolist()} & {*exact[i % len(users)].tolist()}) / TOP)
    peak = peak_rss_bytes()
    count = max(3, min(30, int(SECONDS * 1e3 / np.median(times))))
    reads, scans = time_alternately(nbytes, lambda i: scan(users[i % len(users)]), count)
    floor, scanned = np.percentile(reads, 50), np.percentile(scans, 50)
    figures = {
        "runtime": f"{distribution} {version(distribution.partition('+')[0])}",
        "file bytes": nbytes,
        "load": load,
        "first": first,
        "p50": np.percentile(times, 50),
        "p95": np.percentile(times, 95),
        "from memory": scanned,
        "floor": floor,
        "÷ floor": scanned / floor,
        # This includes the float table, because building the index needs it.
        "RSS MB": peak / 1e6,
        **({} if library.startswith("kernel:") else {"overlap": np.mean(shared)}),
    }
    print(json.dumps(figures, default=float))


if __name__ == "__main__":
    main()
