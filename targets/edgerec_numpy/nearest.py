"""Score the rows of the blocks that suit the user, and no others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgerec.plugin import F32, Blocks, Bundle, Centroids, DeviceModel, Payload, TargetError, top_k
from edgerec_numpy.scan import Scan

__all__ = ["Nearest", "payload_of", "read_centroids"]

#: Rows scored at a time.
_ROWS = 8192


class Nearest:
    """Finds the best rows in the blocks whose centroids suit a user.

    Args:
        scan: scores rows.
        blocks: how rows are divided, and how many blocks are read.
        centroids: of each block.
        rows: the number of rows.
    """

    def __init__(self, scan: Scan, blocks: Blocks, centroids: Centroids, rows: int) -> None:
        self._scan, self._blocks, self._rows = scan, blocks, rows
        self._centroids = Centroids(centroids.codes.astype(np.float32), centroids.scale)

    def best(self, user: F32, k: int) -> tuple[NDArray[np.int32], F32]:
        """Rows and scores of the k highest, highest first, for float32[d]."""
        height = self._blocks.height
        score = self._scan.product(user, self._blocks.read * height)
        nearest, _ = top_k(self._centroids.scores(user), self._blocks.read)
        # In order, so that of rows with equal scores the lower one comes first.
        starts = np.sort(nearest).astype(np.int64)[:, None] * height
        step, found, rows = max(1, _ROWS // height), [], []
        for first in range(0, len(starts), step):
            part = (starts[first : first + step] + np.arange(height)).reshape(-1)
            part = part[part < self._rows]
            rows.append(part)
            found.append(score(part))
        every = np.concatenate(rows)
        positions, scores = top_k(np.concatenate(found), k)
        return every[positions].astype(np.int32), scores


def payload_of(centroids: Centroids) -> Payload:
    """What is stored of centroids."""
    return {"centroids/codes": centroids.codes, "centroids/scale": centroids.scale}


def read_centroids(bundle: Bundle, model: DeviceModel) -> Centroids:
    """Read the centroids of a bundle.

    Raises:
        TargetError: they are missing, or not those of the model's blocks.
    """
    names = payload_of(Centroids(np.zeros((0, 0), np.int8), np.zeros(0, np.float32)))
    if missing := [name for name in names if name not in bundle.payload]:
        raise TargetError(f"{bundle.path}: payload part {missing[0]!r} is missing; it is damaged")
    found = Centroids(*map(bundle.array, names))
    n, returned = len(model.items), bundle.signature.returned
    if model.head.blocks is None or model.head.blocks.least_rows(n) < returned:
        raise TargetError(
            f"{bundle.path}: top_k: its blocks may have fewer than the {returned:,} rows that a "
            "list takes; it is damaged"
        )
    blocks, width = model.head.blocks, model.width + 1
    count = blocks.count(n)
    for array, shape, dtype in (
        (found.codes, (count, width), np.int8),
        (found.scale, (width,), np.float32),
    ):
        if array.shape != shape or array.dtype != dtype or not np.isfinite(array).all():
            raise TargetError(
                f"{bundle.path}: centroids: expected finite {np.dtype(dtype)}{list(shape)}, got "
                f"{array.dtype}{list(array.shape)}; it is damaged"
            )
    return found
