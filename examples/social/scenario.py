"""Which artist next, and who else to follow? On the device, from what friends listen to.

python -m examples.run social --data FOLDER
"""

from __future__ import annotations

from pathlib import Path

from edgerec import Dataset
from edgerec.data.readers import read_dataset
from examples import rankers
from examples.contest import Baseline, Contest, held_out, lightgcn, usual
from examples.social.links import compare_links
from examples.table import Row

#: What is tried, four settings for each method that has any.
OURS = [
    {"model": f"social:layers={layers},weight=0.5", "learning_rate": 0.03, "epochs": epochs}
    for layers in (1, 2)
    for epochs in (4, 8)
]
LIGHTGCN = lightgcn(4, 8, learning_rate=0.03)
BASELINES = (
    *usual(
        ((32, 10.0, 5.0), (32, 10.0, 50.0), (128, 10.0, 50.0), (128, 30.0, 50.0)),
        k=(20, 50, 100, 200),
    ),
    Baseline("EASE", rankers.ease, (100.0, 300.0, 1000.0, 3000.0)),
)


def read(folder: Path) -> Dataset:
    """Artists listened to, in the given split, and friendships."""
    columns = {"user": "1", "item": "2"}
    return read_dataset(
        folder / "data1.txt",
        test=folder / "test1.txt",
        format="tsv",
        header=False,
        columns=columns,
        friends=folder / "trustnetwork.txt",
    )


def run(folder: Path, seed: int, out: Path, trials: int = 4) -> list[Row]:
    """Train, compress, and recommend with the bundle itself; ``trials`` settings per method."""
    data = read(folder / "lastfm")

    # 1. Settings are chosen on a fifth of what training has.
    held = held_out(data).split_random(0.2, seed, "valid").on_valid()
    contest = Contest(data, held, 20, seed, out, trials)

    # 2. Artists. What friends listen to is a vector in a file of the user's own.
    rows, _ = contest.enter("social", "edgerec", OURS)

    # 3. The same without friends, and the usual baselines.
    rows.append(contest.compare("LightGCN, without friends", LIGHTGCN))
    rows += [contest.against(one) for one in BASELINES]

    # 4. Friends: which of two users is one?
    return rows + compare_links(data, seed, out)
