"""cluster: put similar items next to each other, so that a device reads a few blocks of them.

A scan that reads every row takes at least as long as the memory takes to deliver the table. With
items in clusters, a device scores the centroids, and then only the rows of the clusters that suit
the user (``edgerec.model.blocks`` has the equation). What it misses that way is lost quality, which
is measured on the file like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from edgerec.plugin import (
    Blocks,
    CompressError,
    Compressor,
    Context,
    DeviceModel,
    OptionError,
    hookimpl,
    normalize,
)

#: The plugin API version that this plugin was written for.
edgerec_api = 2


@dataclass(frozen=True)
class Cluster(Compressor):
    """Reorder the catalogue into clusters of equal size, of which a device reads a few.

    Items are similar if their candidate rows point in similar directions. The file grows by about
    five bytes per item, most of them for the order of the ids, and a recommendation takes a
    fraction of the time.
    """

    name: ClassVar[str] = "cluster"
    quicker: ClassVar[tuple[Mapping[str, Any], ...]] = ({"read": 0.1}, {"read": 0.05})

    height: int = field(
        default=64,
        metadata={"help": "items per cluster; onnx is fastest with multiples of 64"},
    )
    read: float = field(
        default=0.1,
        metadata={"help": "the share of the clusters that is read for a recommendation"},
    )

    def __post_init__(self) -> None:
        if self.height < 2:
            raise OptionError(f"cluster.height: expected at least 2, got {self.height}")
        if not 0 < self.read < 1:
            raise OptionError(f"cluster.read: expected between 0 and 1, got {self.read:g}")

    def compress(self, model: DeviceModel, context: Context) -> DeviceModel:
        """Cluster the directions of candidates, and put the rows of all tables in that order."""
        blocks = self._blocks(model)
        from edgerec_cluster.balanced import in_clusters

        def progress(done: int, total: int) -> None:
            context.progress(done, total, "clusters")

        rows = normalize(model.tables[model.head.table].decode())
        order = in_clusters(rows, self.height, context.seed, progress)
        return model.take(order).with_blocks(blocks)

    def outline(self, model: DeviceModel) -> DeviceModel:
        """Return a model whose file has the order of the ids, as they are in another one."""
        blocks = self._blocks(model)
        if model.items.order is None:
            model = model.take(np.arange(len(model.items))[::-1])
        return model.with_blocks(blocks)

    def _blocks(self, model: DeviceModel) -> Blocks:
        """How many blocks are read.

        Raises:
            CompressError: there are too few items, or they are in clusters already.
        """
        if model.head.blocks is not None:
            raise CompressError("cluster: the items are in clusters already")
        for name, table in model.tables.items():
            if model.past is not None and name in model.gathered:
                continue  # rows of other past items stay where they are
            if table.codec.parts:
                raise CompressError(
                    f"cluster: the first rows of table {name!r} have a codec of their own, and "
                    "clusters would put others first; leave out popular, or leave out cluster"
                )
            if table.codec.learns:
                raise CompressError(
                    f"cluster: the codec of table {name!r} depends on the order of its rows; "
                    "cluster first"
                )
        count = Blocks(self.height, 1).count(len(model.items))
        read = max(2, round(self.read * count))
        if read >= count:
            raise CompressError(
                f"cluster: {len(model.items):,} items make only {count:,} clusters of "
                f"{self.height}, and all of them would be read; choose a smaller cluster.height or "
                "cluster.read, or leave out this step"
            )
        return Blocks(self.height, read)


@hookimpl
def edgerec_compressors() -> list[type[Compressor]]:
    """Provide cluster."""
    return [Cluster]
