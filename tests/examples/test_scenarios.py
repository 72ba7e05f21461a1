"""Each scenario runs from end to end on a stand-in with the schema of its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("implicit", reason="the scenarios need `pip install edgerec[examples]`")
pytest.importorskip("lightgbm", reason="the scenarios need `pip install edgerec[examples]`")
pytest.importorskip("sklearn", reason="the scenarios need `pip install edgerec[examples]`")

from edgerec import Dataset
from examples import rankers
from examples import run as runner
from examples.content.scenario import run as run_content
from examples.contest import Baseline, Contest
from examples.education.scenario import run as run_education
from examples.health.scenario import run as run_health
from examples.risk.ratings import facts, read_ratings
from examples.risk.scenario import opinion, row, window
from examples.risk.scenario import run as run_risk
from examples.shop.scenario import run as run_shop
from examples.social.scenario import run as run_social
from examples.summary import compared, summarize
from examples.table import Row, table
from tests.examples.standins import beauty, gowalla, herb, lastfm, mooccube, otc

pytestmark = pytest.mark.slow


def checked(rows: list[Row], out: Path, name: str) -> dict[str, Row]:
    """Rows by method, after what holds of every scenario."""
    whole, small = (out / f"{name}{end}.edgerec" for end in ("-whole", ""))
    assert small.stat().st_size <= whole.stat().st_size / 2
    found = {one["method"]: one for one in rows}
    assert len(found) == len(rows)
    assert found["edgerec, int8 bundle"]["bytes"] == small.stat().st_size
    assert found["edgerec, int8 bundle"]["kept"] > 0.97
    return found


def test_risk(tmp_path: Path) -> None:
    otc(tmp_path)
    found = checked(run_risk(tmp_path, 0, tmp_path, epochs=10), tmp_path, "risk")
    ours, base = found["edgerec, int8 bundle"], found["always the share of warnings"]
    # Who is warned of is plain, and probabilities are better than one for all.
    for name in ("edgerec, int8 bundle", "logistic regression", "gradient boosting"):
        assert found[name]["AUC"] > 0.75, name
    assert ours["Brier"] < base["Brier"]
    assert ours["cost"] < base["cost"]
    assert (tmp_path / "risk-reliability.png").stat().st_size > 1000


def test_health(tmp_path: Path) -> None:
    herb(tmp_path)
    found = checked(run_health(tmp_path, 0, tmp_path, epochs=6), tmp_path, "health")
    # A list that knows the syndrome has 8 of 150 herbs by chance, and one that does not 8 of 600.
    assert found["edgerec, int8 bundle"]["P@5"] > 0.03
    assert found["popularity"]["P@5"] < 0.025


def beats(found: dict[str, Row], figure: str, others: tuple[str, ...], by: float) -> None:
    """What the device recommends is better than some baselines, by a factor."""
    ours = found["edgerec, int8 bundle"][figure]
    for name in others:
        assert ours > by * found[name][figure], name


def test_education(tmp_path: Path) -> None:
    mooccube(tmp_path)
    found = checked(run_education(tmp_path, 0, tmp_path, trials=2), tmp_path, "education")
    beats(found, "N@20", ("popularity",), 1.2)
    # The stand-in's facts say no more than the interactions, so they must at least not hurt.
    beats(found, "N@20", ("edgerec without the knowledge graph",), 0.9)


def test_content(tmp_path: Path) -> None:
    gowalla(tmp_path)
    found = checked(run_content(tmp_path, 0, tmp_path, trials=2), tmp_path, "content")
    beats(found, "N@20", ("popularity",), 1.2)
    assert found["GF-CF"]["N@20"] > 1.2 * found["popularity"]["N@20"]


def test_shop(tmp_path: Path) -> None:
    beauty(tmp_path)
    found = checked(run_shop(tmp_path, 0, tmp_path, trials=2), tmp_path, "shop")
    beats(found, "N@10", ("popularity",), 2)
    beats(found, "N@10", ("predicting any product",), 1.2)
    # Who follows the order is far better than who counts what was bought together.
    assert found["Markov chain"]["N@10"] > 1.2 * found["item-kNN (implicit)"]["N@10"]


def test_social(tmp_path: Path) -> None:
    lastfm(tmp_path)
    found = checked(run_social(tmp_path, 0, tmp_path, trials=2), tmp_path, "social")
    beats(found, "N@20", ("popularity",), 1.2)
    # Friends are of the same scene, which popularity does not know.
    assert found["edgerec, friends: int8 bundle"]["AUC"] > 0.75
    assert found["friends: popularity"]["AUC"] < 0.65


def by_hand() -> Dataset:
    """Three users and four items; what is held out is the last item of each."""
    return Dataset.from_pairs(np.repeat([0, 1, 2], 3), list("abdbcdabc")).split_last()


def test_baselines_by_hand() -> None:
    data = by_hand()
    users = np.arange(3)
    place = [data.items.rows[one] for one in "abcd"]
    counts = rankers.popularity(data)(users)[0, place]
    assert counts.tolist() == [2, 3, 1, 0]
    # After b comes c once, and b has three users; after a comes b twice, and a has two.
    chain = rankers.markov(data, 0.5)(users)[:, place]
    assert np.allclose(chain[0], [0, 0.5, 1 / 3, 0], atol=1e-3)
    # EASE solves a ridge regression per item, with no weight for the item itself.
    weights = rankers.ease(data, 2.0)(users)[:, place]
    seen = rankers.seen(data).toarray()[:, place]
    for item in range(3):
        rest = np.delete(np.arange(4), item)
        x = seen[:, rest]
        ridge = np.linalg.solve(x.T @ x + 2 * np.eye(3), x.T @ seen[:, item])
        assert np.allclose(weights[:, item], x @ ridge, atol=1e-5)
    # GF-CF adds a linear filter, and an ideal low-pass filter that is not symmetric.
    root = np.sqrt(np.maximum(seen.sum(0), 1))
    normal = seen / np.sqrt(seen.sum(1))[:, None] / root
    low = np.linalg.svd(normal)[2][:2]
    both = normal.T @ normal + 0.3 * np.diag(1 / root) @ low.T @ low @ np.diag(root)
    assert np.allclose(rankers.graph_filter(data, 0.3)(users)[:, place], seen @ both, atol=1e-5)


def test_settings_are_chosen_without_the_test(tmp_path: Path) -> None:
    data = by_hand()
    held = Dataset.from_pairs(data.histories.users, data.histories.items, name="held").split_last()
    asked = []

    def make(given: Dataset, setting: int) -> rankers.Ranker:
        asked.append((given, setting))
        return rankers.popularity(given)

    row = Contest(data, held, 2, 0, tmp_path, trials=2).against(Baseline("x", make, (1, 2, 3)))
    assert [setting for _, setting in asked] == [1, 2, 1]
    assert [given is data for given, _ in asked] == [False, False, True]
    # Nobody is recommended what they have.
    assert row["R@2"] == 1.0


def test_what_is_known_ends_at_the_moment(tmp_path: Path) -> None:
    otc(tmp_path)
    ratings = read_ratings(tmp_path / "bitcoin_otc")
    past, later = window(ratings, 0.7, 0.8)
    assert past.times[-1] < later.times[0]
    assert set(later.traders) <= set(past.traders)
    known = facts(past)
    # Only pasts of the same moment are the same.
    assert np.array_equal(known, facts(ratings.part(0, 0.7)))
    assert not np.array_equal(known, facts(ratings.part(0, 0.8)))
    assert np.abs(known.mean(0)).max() < 1e-5
    assert {opinion(past, 3), opinion(past, 3 + len(past.names))} == {
        f"+{past.names[3]}",
        f"-{past.names[3]}",
    }


def test_the_cost_by_hand() -> None:
    truth = np.array([True, True, False, False])
    # Above 1/11 it warns: one warning is missed (10), and there is one false alarm (1).
    found = row("x", truth, np.array([0.05, 0.2, 0.2, 0.05]))
    assert found["cost"] == 11 / 4
    assert found["AUC"] == 0.5


def test_the_summary_is_that_of_the_readmes() -> None:
    written = (runner.HERE / "README.md").read_text("utf-8")
    assert written == summarize(runner.NAMES), "run `python -m examples.summary`"
    for name in runner.NAMES:
        assert f"| [{name}](" in written


def test_the_best_baseline_by_hand() -> None:
    text = """<!-- table -->
| method | R@20 | Brier | bytes | kept | CPU s | AUC |
|---|---|---|---|---|---|---|
| edgerec, int8 bundle | 0.4000 ± 0.0100 | 0.0900 | 1,000 | 99.0% | 5 | – |
| edgerec, uncompressed | 0.9000 | 0.0100 | 4,000 | – | 5 | – |
| without attributes | 0.8000 | 0.0200 | – | – | 5 | – |
| with shuffled attributes | 0.7000 | 0.0300 | – | – | 5 | – |
| A | 0.5000 ± 0.0200 | 0.1000 | – | – | 1 | – |
| B | 0.2000 | 0.1500 | – | – | 1 | – |
| edgerec, friends: int8 bundle | – | – | 10 | – | – | 0.9000 |
| friends: C | – | – | – | – | – | 0.8000 |

<!-- end -->
"""
    assert [*compared(text)] == [
        ["R@20", "0.4000 ± 0.0100", "0.5000 ± 0.0200 (A)", "-20.0%", "1,000", "99.0%"],
        ["Brier", "0.0900", "0.1000 (A)", "+10.0%", "1,000", "99.0%"],
        ["friends: AUC", "0.9000", "0.8000 (C)", "+12.5%", "10", "–"],
    ]
    assert [*compared("no table")] == []


@pytest.mark.parametrize("name", runner.NAMES)
def test_readmes(name: str) -> None:
    text = (runner.HERE / name / "README.md").read_text("utf-8")
    assert runner._TABLE.search(text)
    assert ("must not be used for" in text) == (name in ("health", "risk"))
    assert ("consent" in text) == (name in ("risk", "social"))
    assert f"python -m examples.run {name}" in text


def test_the_command_writes_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "risk").mkdir()
    readme = tmp_path / "risk" / "README.md"
    readme.write_text("before\n<!-- table -->\nold\n<!-- end -->\nafter\n")
    rows: Callable[..., list[Row]] = lambda data, seed, out: [{"method": "m", "P@5": seed / 10}]  # noqa: E731  # a stand-in
    monkeypatch.setattr("examples.risk.scenario.run", rows)
    monkeypatch.setattr(runner, "HERE", tmp_path)
    monkeypatch.setattr("sys.argv", ["run", "risk", "--seeds", "0", "2", "--out", str(tmp_path)])
    runner.main()
    text = readme.read_text()
    assert "| m | 0.1000 ± 0.1000 |" in text
    assert "old" not in text
    assert text.endswith("<!-- end -->\nafter\n")
    assert table([rows(None, 2, None)]) in capsys.readouterr().out
