"""Small generated data with the schema of the real files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

__all__ = ["beauty", "gowalla", "herb", "lastfm", "mooccube", "otc"]


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


def listeners(
    users: int, items: int, each: int, rng: np.random.Generator, groups: int = 8
) -> list[list[int]]:
    """Items of each user, four fifths of them of the user's own group, in random order."""
    weights = 1 / np.sqrt(np.arange(1, items + 1))
    own = np.where(np.arange(items) % groups == np.arange(groups)[:, None], 4 * groups, 1.0)
    found = []
    for user in range(users):
        share = weights * own[user % groups]
        count = int(rng.integers(each // 2, each + 1))
        found.append(rng.choice(items, count, replace=False, p=share / share.sum()).tolist())
    return found


def mooccube(folder: Path, users: int = 600, items: int = 120) -> None:
    """Courses of eight fields; the facts name the field, and a teacher of it."""
    rng = np.random.default_rng(0)
    (folder / "mooccube").mkdir(parents=True)
    lines = [
        f"{user}\t{item}\t{label}"
        for user, own in enumerate(listeners(users, items, 10, rng))
        for item, label in [*((one, 1) for one in own), (int(rng.integers(items)), 0)]
    ]
    (folder / "mooccube" / "ratings_final.txt").write_text("\n".join(lines) + "\n")
    facts = [f"{one}\t0\t{500 + one % 8}\n{one}\t1\t{600 + one % 24}" for one in range(items)]
    (folder / "mooccube" / "kg_final.txt").write_text("\n".join(facts) + "\n")


def gowalla(folder: Path, users: int = 600, items: int = 400) -> None:
    """A line per user: the user, then places."""
    rng = np.random.default_rng(0)
    (folder / "gowalla").mkdir(parents=True)
    own = listeners(users, items, 20, rng)
    # Every place is in the first file, as in the real one.
    own = [[*past, user % items] for user, past in enumerate(own)]
    for name, part in (("train", slice(2, None)), ("test", slice(0, 2))):
        lines = [
            " ".join(map(str, [user, *dict.fromkeys(past[part])])) for user, past in enumerate(own)
        ]
        (folder / "gowalla" / f"{name}.txt").write_text("\n".join(lines) + "\n")


def beauty(folder: Path, users: int = 600, items: int = 300) -> None:
    """Products in an order: after product i, most customers buy one of the next three."""
    rng = np.random.default_rng(0)
    (folder / "beauty").mkdir(parents=True)
    lines = []
    for user in range(users):
        past = [int(rng.integers(items))]
        for _ in range(int(rng.integers(4, 10))):
            step = int(rng.integers(1, 4)) if rng.random() < 0.7 else int(rng.integers(items))
            past.append((past[-1] + step) % items)
        lines.append(" ".join(str(one + 1) for one in [user, *dict.fromkeys(past)]))
    (folder / "beauty" / "Beauty.txt").write_text("\n".join(lines) + "\n")
    labels = {str(item + 1): [item // 10, 100 + item % 4] for item in range(items)}
    (folder / "beauty" / "Beauty_item2attributes.json").write_text(json.dumps(labels))


def lastfm(folder: Path, users: int = 400, items: int = 300) -> None:
    """Listeners of eight scenes, who are friends with others of their scene."""
    rng = np.random.default_rng(0)
    (folder / "lastfm").mkdir(parents=True)
    own = listeners(users, items, 16, rng)
    for name, part in (("data1", slice(2, None)), ("test1", slice(0, 2))):
        lines = [f"{user}\t{item}\t1" for user, past in enumerate(own) for item in past[part]]
        (folder / "lastfm" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    pairs = set()
    while len(pairs) < 6 * users:
        a, b = rng.integers(users, size=2).tolist()
        if a != b and (a % 8 == b % 8 or rng.random() < 0.02):
            pairs |= {(a, b), (b, a)}
    lines = [f"{a}\t{b}" for a, b in sorted(pairs)]
    (folder / "lastfm" / "trustnetwork.txt").write_text("\n".join(lines) + "\n")
