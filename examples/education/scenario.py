"""Which course next? On the device, from the courses that a learner took.

python -m examples.run education --data FOLDER
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from edgerec import Dataset
from edgerec.data.side_edges import read_triples
from examples import rankers
from examples.contest import Baseline, Contest, held_out, lightgcn, usual
from examples.table import Row

#: What is tried, four settings for each method that has any. The network without the knowledge
#: graph has the same ones.
OURS = [
    {"model": "knowledge", "epochs": epochs, "temperature": temperature, "learning_rate": 0.01}
    for epochs in (8, 16)
    for temperature in (0.15, 0.25)
]
PLAIN = [one | {"model": "gat"} for one in OURS]
LIGHTGCN = lightgcn(4, 8, learning_rate=0.03, temperature=0.2, popularity=0.1)
BASELINES = (
    *usual(
        ((8, 10.0, 50.0), (32, 10.0, 50.0), (128, 10.0, 50.0), (128, 30.0, 100.0)),
        k=(10, 20, 50, 215),
    ),
    Baseline("EASE", rankers.ease, (30.0, 100.0, 300.0, 1000.0)),
)


def read(folder: Path, seed: int) -> Dataset:
    """Courses taken, a random fifth of each learner's held out, and facts about courses."""
    rated = np.loadtxt(folder / "ratings_final.txt", dtype=np.int64)
    taken = rated[rated[:, 2] == 1]
    data = Dataset.from_pairs(taken[:, 0], taken[:, 1], name="mooccube")
    facts, _ = read_triples(folder / "kg_final.txt", data.items.rows)
    return dataclasses.replace(data, triples=facts).split_random(0.2, seed)


def run(folder: Path, seed: int, out: Path, trials: int = 4) -> list[Row]:
    """Train, compress, and recommend with the bundle itself; ``trials`` settings per method."""
    data = read(folder / "mooccube", seed)

    # 1. Settings are chosen on a fifth of what training has.
    held = held_out(data).split_random(0.2, seed, "valid").on_valid()
    contest = Contest(data, held, 20, seed, out, trials)

    # 2. Courses with what is known of them, compressed to half and measured on the device.
    rows, _ = contest.enter("education", "edgerec", OURS)

    # 3. The same without the knowledge graph, and the usual baselines.
    rows.append(contest.compare("edgerec without the knowledge graph", PLAIN))
    rows.append(contest.compare("LightGCN", LIGHTGCN))
    return rows + [contest.against(one) for one in BASELINES]
