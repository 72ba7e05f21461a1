"""What will they buy next? On the device, from what they bought, in order.

python -m examples.run shop --data FOLDER
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from edgerec import Dataset, Features
from edgerec.data.readers import read_dataset
from examples import rankers
from examples.contest import Baseline, Contest, held_out, lightgcn, usual
from examples.table import Row

#: What is tried, four settings for each method that has any.
OURS = [
    {
        "model": "historygcn:tied=false",
        "predict": "next",
        "recency": recency,
        "epochs": epochs,
        "features": "attributes",
        "user_weight": 0.0,
    }
    for recency in (1.2, 1.8)
    for epochs in (4, 6)
]
LIGHTGCN = lightgcn(8, 16)
BASELINES = (
    *usual(
        ((64, 10.0, 5.0), (128, 10.0, 5.0), (128, 10.0, 50.0), (128, 30.0, 5.0)),
        k=(20, 50, 100, 200),
    ),
    Baseline("EASE", rankers.ease, (100.0, 300.0, 1000.0, 3000.0)),
    Baseline("Markov chain", rankers.markov, (0.0, 0.3, 0.6, 0.9)),
)


def read(folder: Path, shuffled: int | None = None) -> Dataset:
    """What each customer bought, in order, and the attributes of each product.

    With the seed ``shuffled``, every product has those of another one.
    """
    data = read_dataset(folder / "Beauty.txt", format="train.txt")
    listed = json.loads((folder / "Beauty_item2attributes.json").read_text("utf-8"))
    products, labels = list(listed), [[str(one) for one in labels] for labels in listed.values()]
    if shuffled is not None:
        np.random.default_rng(shuffled).shuffle(products)
    return data.with_features(Features.of(products, categories={"attributes": labels}))


def run(folder: Path, seed: int, out: Path, trials: int = 4) -> list[Row]:
    """Train, compress, and recommend with the bundle itself; ``trials`` settings per method."""
    # 1. The last purchase of each customer is the test, and the one before it chooses settings.
    data = read(folder / "beauty").split_last()
    held = held_out(data).split_last(part="valid").on_valid()
    contest = Contest(data, held, 10, seed, out, trials)

    # 2. Ours, compressed to half and measured on the device.
    rows, best = contest.enter("shop", "edgerec", OURS)

    # 3. The same without attributes, with those of other products, and without the order.
    rows.append(contest.compare("without attributes", [{**best, "features": None}]))
    control = dataclasses.replace(contest, data=read(folder / "beauty", seed).split_last())
    rows.append(control.compare("with shuffled attributes", [best]))
    rows.append(contest.compare("predicting any product", [{**best, "predict": "any"}]))

    # 4. LightGCN, and baselines that do or do not know the order.
    rows.append(contest.compare("LightGCN", LIGHTGCN))
    return rows + [contest.against(one) for one in BASELINES]
