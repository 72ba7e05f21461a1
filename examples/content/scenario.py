"""Which place next? On the device, from the places that someone has been to.

python -m examples.run content --data FOLDER
"""

from __future__ import annotations

from pathlib import Path

from edgerec.data.readers import read_dataset
from examples import rankers
from examples.contest import Baseline, Contest, held_out, lightgcn, usual
from examples.table import Row

#: What is tried, four settings for each method that has any.
OURS = [
    {"recency": recency, "tilt": tilt, "history_length": 1000}
    for recency in (0.0, 1.2)
    for tilt in (0.0, 0.04)
]
LIGHTGCN = lightgcn(8, 16)
BASELINES = (
    *usual(
        ((64, 10.0, 5.0), (64, 10.0, 50.0), (128, 10.0, 50.0), (128, 30.0, 50.0)),
        k=(20, 50, 100, 200),
    ),
    Baseline("GF-CF", rankers.graph_filter, (0.1, 0.3, 0.5, 1.0)),
)


def run(folder: Path, seed: int, out: Path, trials: int = 4) -> list[Row]:
    """Train, compress, and recommend with the bundle itself; ``trials`` settings per method."""
    # 1. The published split: a line per user, whose last places are the test.
    path = folder / "gowalla"
    data = read_dataset(path / "train.txt", test=path / "test.txt", format="train.txt")

    # 2. Settings are chosen on the last fifth of what training has.
    held = held_out(data).split_recent(0.2, "valid").on_valid()
    contest = Contest(data, held, 20, seed, out, trials)

    # 3. Ours, compressed to half and measured on the device, and the baselines.
    rows, _ = contest.enter("content", "edgerec", OURS)
    rows.append(contest.compare("LightGCN", LIGHTGCN))
    return rows + [contest.against(one) for one in BASELINES]
