"""Small generated data with the schema of the real files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

__all__ = ["herb", "otc"]


def otc(folder: Path, traders: int = 600, ratings: int = 6000) -> None:
    """Ratings of traders, of whom every fourth is mostly warned of."""
    rng = np.random.default_rng(0)
    (folder / "bitcoin_otc").mkdir(parents=True)
    lines = ["FROM_NODE,TO_NODE,TRUST_INDEX,TIME_SINCE_EPOCH"]
    for number in range(ratings):
        rater, trader = rng.choice(traders, 2, replace=False)
        bad = rng.random() < (0.7 if trader % 4 == 0 else 0.03)
        value = -rng.integers(1, 11) if bad else rng.integers(1, 11)
        lines.append(f"{rater + 1},{trader + 1},{value},{1.3e9 + 86400.5 * number}")
    with gzip.open(folder / "bitcoin_otc" / "soc-sign-bitcoinotc.csv.gz", "wt") as stream:
        stream.write("\n".join(lines) + "\n")


def herb(folder: Path, symptoms: int = 400, herbs: int = 600) -> None:
    """Prescriptions in which symptoms of one of four syndromes get herbs of that syndrome."""
    rng = np.random.default_rng(0)
    data = folder / "herb"
    data.mkdir(parents=True)
    for name, count in (("sym", symptoms), ("herb", herbs)):
        order = rng.permutation(count)
        (data / f"{name}_mapping.txt").write_text(
            "".join(f"{name} no {number} {number}\n" for number in order), "utf-8"
        )
    for name, count in (("train", 1500), ("test", 100)):
        lines = []
        for _ in range(count):
            syndrome = rng.integers(4)
            own = [
                rng.choice(np.arange(syndrome, n, 4), size, replace=False)
                for n, size in ((symptoms, rng.integers(1, 4)), (herbs, 8))
            ]
            lines.append("\t".join(" ".join(map(str, one)) for one in own))
        (data / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (data / "symPair-5.txt").write_text("0 4\n1 5\n")
    (data / "herbPair-40.txt").write_text("0 4\n2 6\n")
