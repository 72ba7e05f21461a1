"""What will they buy next? On the device, from what they bought, in order.

python -m examples.run shop --data FOLDER
"""

from __future__ import annotations

import json
from pathlib import Path

from edgerec import Dataset, Features
from edgerec.data.readers import read_dataset
from examples import rankers
from examples.contest import Baseline, Contest, held_out, lightgcn, usual
from examples.table import Row

#: What is tried, four settings for each method that has any.
OURS = [
    {"recency": recency, "epochs": epochs, "features": "attributes"}
    for recency in (0.8, 1.2)
    for epochs in (8, 16)
]
PLAIN = [one | {"features": None} for one in OURS]
LIGHTGCN = lightgcn(8, 16)
BASELINES = (
    *usual(
        ((64, 10.0, 5.0), (128, 10.0, 5.0), (128, 10.0, 50.0), (128, 30.0, 5.0)),
        k=(20, 50, 100, 200),
    ),
    Baseline("EASE", rankers.ease, (100.0, 300.0, 1000.0, 3000.0)),
    Baseline("Markov chain", rankers.markov, (0.0, 0.3, 0.6, 0.9)),
)


def read(folder: Path) -> Dataset:
    """What each customer bought, in order, and the attributes of each product."""
    data = read_dataset(folder / "Beauty.txt", format="train.txt")
    listed = json.loads((folder / "Beauty_item2attributes.json").read_text("utf-8"))
    labels = [[str(one) for one in labels] for labels in listed.values()]
    return data.with_features(Features.of(listed, categories={"attributes": labels}))


def run(folder: Path, seed: int, out: Path, trials: int = 4) -> list[Row]:
    """Train, compress, and recommend with the bundle itself; ``trials`` settings per method."""
    # 1. The last purchase of each customer is the test, and the one before it chooses settings.
    data = read(folder / "beauty").split_last()
    held = held_out(data).split_last(part="valid").on_valid()
    contest = Contest(data, held, 10, seed, out, trials)

    # 2. Ours, compressed to half and measured on the device.
    rows = contest.enter("shop", "edgerec", OURS)

    # 3. The same without attributes, and baselines that do or do not know the order.
    rows.append(contest.compare("edgerec without attributes", PLAIN))
    rows.append(contest.compare("LightGCN", LIGHTGCN))
    return rows + [contest.against(one) for one in BASELINES]
