"""Will this person warn others of that trader? On the device, from one's own ratings.

python -m examples.run risk --data FOLDER
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

import edgerec
from examples.bundles import ship
from examples.risk.network import Network, State
from examples.risk.picture import draw_reliability
from examples.risk.ratings import Ratings, facts, read_ratings
from examples.table import Row, kept_share

#: Time goes by: each share of all ratings is the past of those up to the next one.
LEARN = [(step / 100, (step + 5) / 100) for step in range(20, 70, 5)]
VALID, TEST = (0.7, 0.8), (0.8, 1.0)

#: A warning that was missed costs as much as this many false alarms.
MISSED = 10

#: What is tried, the same number of settings for each method; the best on VALID is taken.
OURS = [{"dropout": p, "decay": d} for p in (0.2, 0.4) for d in (0.1, 1.0)]
REGRESSION = [{"C": c} for c in (0.01, 0.1, 1.0, 10.0)]
BOOSTING = [{"num_leaves": n, "learning_rate": r} for n in (7, 31) for r in (0.03, 0.1)]


def run(folder: Path, seed: int, out: Path, epochs: int = 60) -> list[Row]:
    """Train, compress, and score the latest fifth of all ratings with the bundle itself."""
    ratings = read_ratings(folder / "bitcoin_otc")
    learn = [window(ratings, *one) for one in LEARN]
    valid, test = window(ratings, *VALID), window(ratings, *TEST)

    # 1. A network learns from ten moments, and an eleventh one says when to stop.
    found = [train(learn, valid, seed, epochs, **one) for one in OURS]
    network = max(found, key=lambda one: one[0])[1]

    # 2. Log-odds become probabilities on the ratings of VALID.
    with torch.no_grad():
        slope, shift = calibrate(network(State(valid[0]), valid[1]).numpy(), valid[1].warnings)
        last = network.rater.dense[-1]
        last.weight.mul_(slope)
        last.bias.mul_(slope)
        last.bias[-1] += shift
    network.eval()

    # 3. The graph of the test's moment is compiled away: tables, and a rater's two dense layers.
    past, asked = test
    with torch.no_grad():
        rows, said = network.tables(State(past))
    # A device knows whom it may be asked about, and what has ever been said.
    known = np.unique(past.traders)
    words = np.unique(past.traders + past.warnings * len(past.names))
    model = edgerec.from_torch(
        network.rater,
        {"items": rows[known], "past": said[words]},
        [past.names[one] for one in known],
        past_ids=[opinion(past, int(word)) for word in words],
        head="sigmoid",
        history_length=Network.history,
        normalization=1.0,
        context_width=rows.shape[1] - said.shape[1] - 1,
        drop_seen=False,
        repeats="keep",
    )
    whole, bundle = ship(model, "risk", out, "quantize:codec=int8")

    # 4. The file on the device answers, from what a rater knows: own ratings and own reputation.
    truth = asked.warnings
    ours, full = (answers(path, past, asked) for path in (bundle.path, whole.path))
    rows_out = [
        row("edgerec, int8 bundle", truth, ours, bundle.nbytes),
        row("edgerec, uncompressed", truth, full, whole.nbytes),
    ]
    rows_out[0]["kept"] = kept_share(rows_out[0], rows_out[1], "AP")

    # 5. Baselines see the same facts of both sides at the same moments.
    for name, make, settings in (
        ("logistic regression", regression, REGRESSION),
        ("gradient boosting", boosting, BOOSTING),
    ):
        rows_out.append(row(name, truth, baseline(make, settings, learn, valid, test, seed)))
    base = float(np.mean(valid[1].warnings))
    rows_out.append(row("always the share of warnings", truth, np.full(len(truth), base)))
    draw_reliability(truth, ours, out / "risk-reliability.png")
    return rows_out


def window(ratings: Ratings, start: float, end: float) -> tuple[Ratings, Ratings]:
    """The past at a moment, and later ratings of traders who were known by then."""
    past, later = ratings.part(0, start), ratings.part(start, end)
    known = np.isin(later.traders, past.traders)
    parts = (later.raters, later.traders, later.values, later.times)
    return past, Ratings(*(part[known] for part in parts), later.names)


def train(
    learn: list[tuple[Ratings, Ratings]],
    valid: tuple[Ratings, Ratings],
    seed: int,
    epochs: int,
    dropout: float,
    decay: float,
) -> tuple[float, Network]:
    """The average precision on VALID at its best epoch, and the network of that epoch."""
    torch.manual_seed(seed)
    states = [(State(past), later) for past, later in learn]
    now, truth = State(valid[0]), valid[1].warnings
    network = Network(now, dropout)
    optimizer = torch.optim.AdamW(network.parameters(), 0.01, weight_decay=decay)
    best, kept = -1.0, network.state_dict()
    for epoch in range(epochs):
        network.train()
        loss = torch.stack([
            torch.nn.functional.binary_cross_entropy_with_logits(
                network(state, later), torch.from_numpy(later.warnings).float()
            )
            for state, later in states
        ]).mean()  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch % 5 == 4:
            network.eval()
            with torch.no_grad():
                found = average_precision_score(truth, network(now, valid[1]).numpy())
            if found > best:
                best = float(found)
                kept = {name: one.clone() for name, one in network.state_dict().items()}
    network.load_state_dict(kept)
    return best, network.eval()


def calibrate(logits: NDArray[Any], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Platt's slope and shift (1999), which make log-odds of scores."""
    fitted = LogisticRegression(C=1e6).fit(logits[:, None], truth)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def answers(path: Path, past: Ratings, asked: Ratings) -> NDArray[np.float64]:
    """The probabilities that a bundle gives for each rating that was asked about."""
    said: dict[int, list[str]] = {}
    for rater, places in past.by_rater():
        words = past.traders[places] + past.warnings[places] * len(past.names)
        said[rater] = [opinion(past, int(word)) for word in words]
    found, known = np.zeros(len(asked)), facts(past)
    with edgerec.Scorer.open(path) as scorer:
        for rater, places in asked.by_rater():
            traders = [asked.names[one] for one in asked.traders[places]]
            own = said.get(rater, [])[-Network.history :]
            found[places] = scorer.score(own, traders, context=known[rater].tolist())
    return found


def opinion(past: Ratings, word: int) -> str:
    """The id of a past item: +NAME for trust, and -NAME for a warning."""
    sign, trader = divmod(word, len(past.names))
    return "+-"[sign] + past.names[trader]


def pairs(past: Ratings, asked: Ratings) -> NDArray[np.float64]:
    """What a baseline reads: the facts of both sides, and what the trader said of the rater."""
    known = facts(past)
    said = dict(zip(zip(past.raters, past.traders, strict=True), past.values, strict=True))
    back = [said.get(pair, 0.0) / 5 for pair in zip(asked.traders, asked.raters, strict=True)]
    return np.column_stack([known[asked.raters], known[asked.traders], back])


def regression(seed: int, C: float) -> Any:
    """A logistic regression of scikit-learn."""
    return LogisticRegression(C=C, max_iter=2000)


def boosting(seed: int, **settings: Any) -> Any:
    """Boosted trees of lightgbm."""
    return lightgbm.LGBMClassifier(
        n_estimators=200, min_child_samples=40, verbose=-1, random_state=seed, n_jobs=1, **settings
    )


def baseline(
    make: Any,
    settings: list[dict[str, Any]],
    learn: list[tuple[Ratings, Ratings]],
    valid: tuple[Ratings, Ratings],
    test: tuple[Ratings, Ratings],
    seed: int,
) -> NDArray[np.float64]:
    """Probabilities of the setting that is best on VALID, calibrated there as well."""
    read = StandardScaler().fit(np.concatenate([pairs(*one) for one in learn]))
    x = read.transform(np.concatenate([pairs(*one) for one in learn]))
    y = np.concatenate([later.warnings for _, later in learn])
    fitted = [make(seed, **one).fit(x, y) for one in settings]

    def logits(model: Any, asked: tuple[Ratings, Ratings]) -> NDArray[np.float64]:
        p = model.predict_proba(read.transform(pairs(*asked)))[:, 1].clip(1e-6, 1 - 1e-6)
        return np.log(p / (1 - p))

    truth = valid[1].warnings
    best = max(fitted, key=lambda one: average_precision_score(truth, logits(one, valid)))
    slope, shift = calibrate(logits(best, valid), truth)
    return 1 / (1 + np.exp(-(slope * logits(best, test) + shift)))


def row(name: str, truth: NDArray[np.bool_], found: NDArray[Any], size: int | None = None) -> Row:
    """Figures of one method; the cost is that of warning above 1 / (1 + MISSED)."""
    warned = found >= 1 / (1 + MISSED)
    cost = np.mean(MISSED * (truth & ~warned) + (~truth & warned))
    return {
        "method": name,
        "AUC": float(roc_auc_score(truth, found)),
        "AP": float(average_precision_score(truth, found)),
        "Brier": float(brier_score_loss(truth, found)),
        "cost": float(cost),
        "bytes": size,
    }
