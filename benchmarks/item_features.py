"""What item features change for items that were trained on, on Beauty.

    python -m benchmarks.item_features FOLDER

FOLDER has Beauty.txt and its attributes. The last item of each user is the test. The same
attributes, shuffled among items, are the control.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from rich.console import Console

import edgerec
from benchmarks.cold_start import beauty
from edgerec.data.features import Features

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
        trained = edgerec.train(given, features=chosen, history_length=200, recency=1.2)
        found = edgerec.evaluate(trained.to_device_model(), given)
        console.print(f"{name}: NDCG@20 {found.ndcg:.4f}, Recall@20 {found.recall:.4f}")


if __name__ == "__main__":
    main()
