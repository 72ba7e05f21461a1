"""What item features change for items that were trained on, and for small students, on Beauty.

    python -m benchmarks.item_features FOLDER

FOLDER has Beauty.txt and its attributes. The last item of each user is the test. The same
attributes, shuffled among items, are the control. A student of 16 columns learns from the
interactions alone, from a teacher of 128 columns, and from one that reads attributes as well.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import edgerec
from benchmarks.cold_start import beauty
from edgerec.data.dataset import Dataset
from edgerec.data.features import Features
from edgerec.model.device_model import DeviceModel

console = Console()


def main() -> None:
    """Print NDCG@20 and Recall@20 without features, with them, and with shuffled ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of Beauty.txt and its attributes")
    data = beauty(parser.parse_args().folder).split_last()
    features = data.item_features
    if features is None:
        raise SystemExit("Beauty has no attributes")
    order = np.random.default_rng(0).permutation(len(data.items))
    shuffled = {name: column.take(order) for name, column in features.columns.items()}
    control = dataclasses.replace(data, item_features=Features(data.items, shuffled))
    for name, given, chosen in (
        ("without", data, None),
        ("attributes", data, "attributes"),
        ("shuffled", control, "attributes"),
    ):
        report(name, trained(given, features=chosen), given)
    report("student of 16 columns", trained(data, dim=16), data)
    for name, given, chosen in (
        ("128 columns", data, None),
        ("128 columns with attributes", data, "attributes"),
        ("128 columns with shuffled attributes", control, "attributes"),
    ):
        teacher = trained(given, dim=128, features=chosen)
        report(f"teacher of {name}", teacher, given)
        student = trained(data, dim=16, teacher=teacher)
        report(f"student of 16 columns, taught by {name}", student, data)


def trained(data: Dataset, **options: Any) -> DeviceModel:
    """A model of the data in order of time."""
    return edgerec.train(data, history_length=200, recency=1.2, **options).to_device_model()


def report(name: str, model: DeviceModel, data: Dataset) -> None:
    """Print the quality of a model."""
    found = edgerec.evaluate(model, data)
    console.print(f"{name}: NDCG@20 {found.ndcg:.4f}, Recall@20 {found.recall:.4f}")


if __name__ == "__main__":
    main()
