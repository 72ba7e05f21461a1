"""Libraries that search for the nearest of many vectors, for ``benchmarks.nearest``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgerec.model.codecs import F32

__all__ = ["TOP", "overlap", "peers"]

#: The length of lists.
TOP = 20

#: From a user vector float32[d] to rows.
Search = Callable[[F32], NDArray[Any]]


def peers(rows: F32, users: F32, exact: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Yield a row per library and setting: overlap, bytes, and milliseconds per search.

    Args:
        rows: float32[n, d], to search by inner product.
        users: float32[users, d].
        exact: int64[users, TOP], the best rows of each.
    """
    for library, build in (("faiss IVF", faiss), ("usearch HNSW f16", usearch), ("ScaNN", scann)):
        for setting, size, search in build(rows):
            found = np.stack([search(user) for user in users])
            start = time.perf_counter()
            for user in users:
                search(user)
            spent = 1000 * (time.perf_counter() - start) / len(users)
            yield {
                "library": library,
                "setting": setting,
                "overlap": overlap(found, exact),
                "bytes": size,
                "ms": spent,
            }


def overlap(found: NDArray[Any], exact: NDArray[np.int64]) -> float:
    """The mean share of the best rows int[users, TOP] that are found."""
    pairs = zip(found.tolist(), exact.tolist(), strict=True)
    return float(np.mean([len({*a} & {*b}) / TOP for a, b in pairs]))


def faiss(rows: F32) -> Iterator[tuple[str, int, Search]]:
    """Inverted lists of residuals in 16 codewords per row, and of rows in 8 bits per number."""
    import faiss

    faiss.omp_set_num_threads(1)
    lists, width = len(rows) // 64, rows.shape[1]
    lists = min(lists, 4096)  # as many as are trained in reasonable time
    for codes in ("PQ16", "SQ8"):
        index = faiss.index_factory(width, f"IVF{lists},{codes}", faiss.METRIC_INNER_PRODUCT)
        index.train(rows[:: max(1, len(rows) // (64 * lists))])
        index.add(rows)
        size = len(faiss.serialize_index(index))
        for share in (0.05, 0.1):
            probes = max(1, round(share * lists))

            def search(user: F32, index: Any = index, probes: int = probes) -> NDArray[Any]:
                index.nprobe = probes
                return index.search(user[None], TOP)[1][0]

            yield f"{lists} lists, {codes}, {share:.0%} read", size, search


def usearch(rows: F32) -> Iterator[tuple[str, int, Search]]:
    """A graph of rows in half precision; in 8 bits, it finds half of the best."""
    from usearch.index import Index

    index = Index(ndim=rows.shape[1], metric="ip", dtype="f16")
    index.add(np.arange(len(rows)), rows, threads=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        index.save(str(path))
        size = path.stat().st_size
    for breadth in (64, 512):

        def search(user: F32, breadth: int = breadth) -> NDArray[Any]:
            index.expansion_search = breadth
            return index.search(user, TOP, threads=1).keys

        yield f"expansion {breadth}", size, search


def scann(rows: F32) -> Iterator[tuple[str, int, Search]]:
    """Lists of rows in anisotropic codes, of which the best are scored again in float."""
    try:
        import scann
    except ImportError:
        return
    builder = scann.scann_ops_pybind.builder(rows, TOP, "dot_product")
    leaves = max(2, round(len(rows) ** 0.5))
    tree = builder.tree(
        num_leaves=leaves,
        num_leaves_to_search=leaves // 20,
        training_sample_size=min(len(rows), 250_000),
    )
    searcher = tree.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(200).build()
    with tempfile.TemporaryDirectory() as folder:
        searcher.serialize(folder)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    for share in (0.05, 0.1):

        def search(user: F32, share: float = share) -> NDArray[Any]:
            return searcher.search(user, leaves_to_search=max(1, round(share * leaves)))[0]

        yield f"{leaves} leaves, {share:.0%} read, 200 scored again", size, search
