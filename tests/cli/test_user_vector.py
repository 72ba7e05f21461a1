"""`edgerec user-vector` writes the row of one user, and `edgerec score` reads it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import edgerec
from edgerec.cli import app
from edgerec.contracts.opening import load_model
from edgerec.data.dataset import Dataset
from edgerec.data.dataset_file import save_dataset
from edgerec.data.quality import evaluate, evaluation_users
from edgerec.device.scorer import Scorer
from edgerec.errors import DataError, EdgerecError, ModelError, OptionError
from edgerec.importing.torch_module import from_torch
from edgerec.model.model_file import save_model

WIDTH, USERS = 4, ["ann", "bob", "7"]
RNG = np.random.default_rng(0)
ROWS, ITEMS = RNG.normal(size=(3, WIDTH)), RNG.normal(size=(20, WIDTH)).astype(np.float32)

DAMAGED = ROWS.copy()
DAMAGED[1, 2] = np.nan


class Tower(nn.Module):
    """Past items and the user's own row."""

    def forward(self, items: Tensor, present: Tensor, user_vector: Tensor) -> Tensor:
        """Their sum."""
        return (items * present).sum(0) + user_vector


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows in each kind of file, ids, and two bundles."""
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", ROWS)
    np.savez("rows.npz", users=ROWS, items=ITEMS)
    nodes = torch.from_numpy(np.concatenate([ROWS, ITEMS]))
    torch.save({"embedding.weight": nodes, "alpha": torch.ones(2)}, "x.pt")
    torch.save({"user.weight": nodes[:3]}, "y.pt")
    Path("users.txt").write_text("\n".join(USERS) + "\n")
    model = from_torch(Tower(), {"items": ITEMS}, range(20))
    edgerec.export(model, "numpy", "own.edgerec").close()
    plain = edgerec.from_embeddings(range(20), ITEMS)
    edgerec.export(plain, "numpy", "plain.edgerec").close()
    return tmp_path


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


@pytest.mark.parametrize(
    "rows", ["rows.npy", "rows.npz:users", "x.pt", "x.pt:embedding.weight", "y.pt:user.weight"]
)
def test_the_row_of_a_user(folder: Path, rows: str) -> None:
    for user, row in zip(USERS, ROWS.astype(np.float32), strict=True):
        said = run("user-vector", rows, user, "--ids", "users.txt", "-o", "out.user")
        assert said == f"out.user: 4 numbers of user {user}; 144 bytes"
        assert np.array_equal(np.load("out.user"), row)


def test_its_help_has_an_example() -> None:
    assert "Example: edgerec user-vector rows.npy ann" in run("user-vector", "--help")


def test_the_users_of_a_data_set(folder: Path) -> None:
    data = Dataset.from_pairs(["c", "a", "b"], ["x", "y", "x"])
    save_dataset(data, "x.dataset")
    run("user-vector", "rows.npy", "b", "--data", "x.dataset", "-o", "out.user")
    assert np.array_equal(np.load("out.user"), ROWS[data.users.index("b")].astype(np.float32))


def test_scoring_with_it(folder: Path) -> None:
    given = ["rows.npy", "bob", "--ids", "users.txt", "-o", "bob.user", "--bundle", "own.edgerec"]
    run("user-vector", *given)
    score = ["score", "own.edgerec", "--history", "1,2"]
    found = json.loads(run(*score, "--user-vector", "bob.user", "--json"))
    with Scorer.open("own.edgerec") as scorer:
        wanted = scorer.recommend([1, 2], user_vector=ROWS[1].tolist())
    assert [one["id"] for one in found] == [one.id for one in wanted]
    with pytest.raises(
        OptionError, match=r"--user-vector: own\.edgerec reads the user's own row; "
    ):
        run(*score)
    with pytest.raises(
        OptionError, match=r"user_vector: no\.user: No such file or directory; `edg"
    ):
        run(*score, "--user-vector", "no.user")
    with pytest.raises(OptionError, match="user_vector: this model does not read any"):
        run("score", "plain.edgerec", "--history", "1", "--user-vector", "bob.user")


@pytest.mark.parametrize(
    ("rows", "user", "message"),
    [
        ("rows.npy", "zed", r"'zed': no such user; the ids of rows\.npy are 3, such as 'ann', 'b"),
        ("rows.npz", "ann", r"rows\.npz: has several arrays; name the rows of users, rows\.npz:N"),
        ("rows.npz:user", "ann", r"has no array 'user'; name .* among users, items"),
        ("rows.npz:items", "ann", r"--ids: expected 20 ids, one per row of rows\.npz:items, got 3"),
        ("short.npy", "ann", r"--ids: expected 2 ids, one per row of short\.npy, got 3"),
        ("short.pt", "ann", r"--ids: expected 2 ids, one per row of short\.pt, got 3"),
        ("y.pt", "ann", r"y\.pt: has no array 'embedding\.weight'; name .* among user\.weight"),
        ("nan.npy", "bob", r"nan\.npy: the row of user 'bob' has a number that is NaN, infinite"),
        ("whole.npy", "ann", r"whole\.npy: expected a matrix of floats, .* got int64 \[3, 4\]"),
        ("flat.npy", "ann", r"flat\.npy: expected a matrix of floats, .* got float64 \[4\]"),
        ("none.npy", "ann", r"none\.npy: no such file"),
        ("no.npz:x", "ann", r"no\.npz: is no file of arrays"),
        ("objects.npy", "ann", r"objects\.npy: is no file of arrays: .*allow_pickle|rray can't be"),
        (
            "users.txt",
            "ann",
            r"users\.txt: expected rows of users in a \.npy, \.npz, \.pt or \.pth",
        ),
    ],
)
def test_rows_that_are_refused(folder: Path, rows: str, user: str, message: str) -> None:
    np.save("short.npy", ROWS[:2])
    torch.save({"embedding.weight": torch.ones(2, 4)}, "short.pt")
    np.save("nan.npy", DAMAGED)
    np.save("whole.npy", np.ones((3, 4), np.int64))
    np.save("flat.npy", ROWS[0])
    np.save("objects.npy", np.array([[{}]], object))
    Path("no.npz").write_bytes(b"PK no archive")
    with pytest.raises((OptionError, ModelError), match=message):
        run("user-vector", rows, user, "--ids", "users.txt", "-o", "out.user")
    assert not Path("out.user").exists()


def test_other_users_of_rows_with_a_damaged_one(folder: Path) -> None:
    np.save("nan.npy", DAMAGED)
    run("user-vector", "nan.npy", "7", "--ids", "users.txt", "-o", "out.user")
    assert np.array_equal(np.load("out.user"), ROWS[2].astype(np.float32))


def test_ids_and_bundles_that_are_refused(folder: Path) -> None:
    np.save("wide.npy", np.ones((3, 5)))
    whole = ["user-vector", "rows.npy", "ann", "-o", "out.user"]
    for more in ([], ["--ids", "users.txt", "--data", "x.dataset"]):
        with pytest.raises(
            OptionError, match=r"--ids: rows have no ids; pass either --ids, .* --dat"
        ):
            run(*whole, *more)
    given = ["--ids", "users.txt", "-o", "out.user", "--bundle"]
    message = r"--bundle: own\.edgerec reads a user vector of 4 numbers, .* wide\.npy have 5; pass"
    with pytest.raises(OptionError, match=message):
        run("user-vector", "wide.npy", "ann", *given, "own.edgerec")
    with pytest.raises(OptionError, match=r"--bundle: plain\.edgerec reads no user vector, so it"):
        run("user-vector", "rows.npy", "ann", *given, "plain.edgerec")
    assert not Path("out.user").exists()
    for rows in ("rows.npy", "rows.npz:users"):
        given = ["--ids", "users.txt", "-o", rows.partition(":")[0]]
        with pytest.raises(OptionError, match=r"--out: .* is also an input"):
            run("user-vector", rows, "ann", *given)


def test_measuring_with_the_rows_of_all_users(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_dataset(dataset, "x.dataset")
    options = ["--model", "lightgcn:user_embedding=True", "--dim", "8", "--epochs", "4"]
    own = ["--user-vectors", "rows.npy"]
    run("train", "x.dataset", *options, "--save-user-vectors", "rows.npy", "-o", "x.model")
    model = load_model("x.model")
    wanted = evaluate(model, dataset, user_vectors=np.load("rows.npy"))
    users = evaluation_users(dataset, 50)
    fewer = evaluate(model, dataset, users=users, user_vectors=np.load("rows.npy"))
    # Moving every row by one matters, so these figures tell whose row is whose.
    shifted = evaluate(model, dataset, user_vectors=np.roll(np.load("rows.npy"), 1, axis=0))
    assert abs(shifted.ndcg - wanted.ndcg) > 0.005
    edgerec.export(model, "numpy", "x.edgerec", top_k=20)
    for name in ("x.model", "x.edgerec"):
        found = json.loads(run("evaluate", name, "--data", "x.dataset", *own, "--json"))
        assert found["ndcg"] == pytest.approx(wanted.ndcg, abs=1e-6), name
        some = run("evaluate", name, "--data", "x.dataset", *own, "--users", "50", "--json")
        assert json.loads(some)["ndcg"] == pytest.approx(fewer.ndcg, abs=1e-6), name
        with pytest.raises(OptionError, match=f"user_vectors: {name} reads vectors of width 8, g"):
            run("evaluate", name, "--data", "x.dataset")
    fewer_items = Dataset.from_pairs(list(dataset.users) * 2, ["i001"] * 120 + ["i002"] * 120)
    save_dataset(fewer_items.split_last(), "other.dataset")
    with pytest.raises(
        DataError, match=r"x\.edgerec: recommends 'i\d+', which pairs does not have"
    ):
        run("evaluate", "x.edgerec", "--data", "other.dataset", *own)
    np.save("few.npy", np.load("rows.npy")[1:])
    np.save("bad.npy", np.where(np.arange(8) == 3, np.nan, np.load("rows.npy")))
    wrong = {
        "few.npy": r"--user-vectors: expected 120 rows in few\.npy, one per user",
        "bad.npy": r"bad\.npy: row 0 has a number that is NaN",
    }
    for name, message in wrong.items():
        with pytest.raises(EdgerecError, match=message):
            run("evaluate", "x.model", "--data", "x.dataset", "--user-vectors", name)
    alone = edgerec.train(dataset, dim=8, epochs=1).to_device_model()
    save_model(alone, "alone.model")
    with pytest.raises(OptionError, match=r"user_vectors: alone\.model reads no user_vector"):
        run("evaluate", "alone.model", "--data", "x.dataset", *own)
