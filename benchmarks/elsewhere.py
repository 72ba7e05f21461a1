r"""Train models with the libraries that ``edgerec import`` reads, in an environment of their own.

    python3.11 -m venv recbole
    recbole/bin/pip install recbole==1.2.1 torch "numpy<2" "pandas<2.2" scipy==1.11.4 \
        "setuptools<70"
    recbole/bin/python benchmarks/elsewhere.py recbole FOLDER

    python3.11 -m venv implicit; implicit/bin/pip install implicit==0.7.3
    implicit/bin/python benchmarks/elsewhere.py implicit FOLDER recbole/lib

RecBole's wheel has MovieLens-100K. FOLDER gets a folder per model: ``model.pth`` or ``model.npz``,
``train.inter`` with the interactions of training, ``users.txt`` and ``items.txt`` with an id per
row, and ``lists.csv`` with the library's own top 20 of each user. What is imported is compared with
them by ``python -m benchmarks.import_files FOLDER``. Nothing of edgerec is needed here.
"""

from __future__ import annotations

import csv
import importlib.util
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

#: RecBole's models, and for how many epochs each is trained.
RECBOLE = {"BPR": 40, "LightGCN": 60, "NGCF": 15, "SGL": 25, "SRGNN": 1}

#: implicit's models: class, module and options.
IMPLICIT: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ALS, α = 10": ("als", "AlternatingLeastSquares", {"alpha": 10, "regularization": 0.05}),
    "ALS, α = 1": ("als", "AlternatingLeastSquares", {}),
    "BPR of implicit": ("bpr", "BayesianPersonalizedRanking", {"iterations": 100}),
    "LMF": ("lmf", "LogisticMatrixFactorization", {"iterations": 30}),
}

TOP = 20


def write(
    folder: Path,
    pairs: Iterable[tuple[str, str]],
    lists: Iterable[tuple[str, Iterable[str]]],
    users: Iterable[str],
    items: Iterable[str],
) -> None:
    """Write what an import is compared with."""
    lines = ["user_id:token\titem_id:token", *(f"{user}\t{item}" for user, item in pairs)]
    (folder / "train.inter").write_text("\n".join(lines) + "\n")
    (folder / "users.txt").write_text("\n".join(users) + "\n")
    (folder / "items.txt").write_text("\n".join(items) + "\n")
    with (folder / "lists.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "item"])
        rows.writerows([user, item] for user, best in lists for item in best)


def interactions() -> Path:
    """The folder of MovieLens-100K in RecBole's wheel."""
    spec = importlib.util.find_spec("recbole")
    if spec is None or spec.origin is None:
        raise SystemExit("recbole is not installed here; see the docstring")
    return Path(spec.origin).parent / "dataset_example"


def recbole(name: str, folder: Path) -> None:
    """Train a model of RecBole."""
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed
    from recbole.utils.case_study import full_sort_topk

    options: dict[str, Any] = {
        **{"data_path": str(interactions()), "checkpoint_dir": str(folder), "use_gpu": False},
        **{"epochs": RECBOLE[name], "seed": 2020, "stopping_step": 100, "topk": [TOP]},
        **{"valid_metric": f"NDCG@{TOP}", "show_progress": False},
        **({"train_neg_sample_args": None} if name == "SRGNN" else {}),
        **({"learning_rate": 0.005} if name == "SGL" else {}),
    }
    config = Config(model=name, dataset="ml-100k", config_dict=options)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    model = get_model(name)(config, train._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
    trainer.saved_model_file = str(folder / "model.pth")
    trainer.fit(train, valid, verbose=False)
    saved = torch.load(folder / "model.pth", weights_only=False)  # written a moment ago
    model.load_state_dict(saved["state_dict"])
    model.load_other_parameter(saved["other_parameter"])
    user, item = dataset.uid_field, dataset.iid_field
    users = dataset.id2token(user, np.arange(1, dataset.user_num))
    items = dataset.id2token(item, np.arange(1, dataset.item_num))
    if name == "SRGNN":  # a session is what came before the test interaction
        feat = test.dataset.inter_feat
        whole = zip(feat[user], feat["item_id_list"].numpy(), feat["item_length"], strict=True)
        pairs = [
            (dataset.id2token(user, int(one)), token)
            for one, past, count in whole
            for token in dataset.id2token(item, past[: int(count)])
        ]
        asked, loader = feat[user].numpy(), test
    else:
        feat = train.dataset.inter_feat
        columns = (feat[user].numpy(), user), (feat[item].numpy(), item)
        pairs = list(zip(*(dataset.id2token(f, ids) for ids, f in columns), strict=True))
        # The loader of validation masks the items of training, and no others.
        asked, loader = np.arange(1, dataset.user_num), valid
    _, best = full_sort_topk(asked, model, loader, TOP)
    tokens = [dataset.id2token(item, row) for row in best.numpy()]
    lists = zip((dataset.id2token(user, int(one)) for one in asked), tokens, strict=True)
    write(folder, pairs, lists, users, items)


def implicit(name: str, folder: Path) -> None:
    """Train a model of implicit, on a random four fifths of MovieLens-100K."""
    import scipy.sparse

    source = next(Path(sys.argv[3]).glob("**/ml-100k.inter")) if len(sys.argv) > 3 else None
    if source is None:
        raise SystemExit("implicit: name a folder with ml-100k.inter, as recbole's wheel has it")
    with source.open(newline="") as file:
        rows = [line[:2] for line in list(csv.reader(file, delimiter="\t"))[1:]]
    users, items = ([*dict.fromkeys(side)] for side in zip(*rows, strict=True))
    places = [{one: row for row, one in enumerate(side)} for side in (users, items)]
    kept = np.random.default_rng(0).permutation(len(rows))[: len(rows) * 4 // 5]
    ends = np.array([[places[0][u], places[1][i]] for u, i in rows])[np.sort(kept)].T
    shape = len(users), len(items)
    seen = scipy.sparse.csr_matrix((np.ones(len(kept), np.float32), ends), shape=shape)
    module, kind, options = IMPLICIT[name]
    made = getattr(importlib.import_module(f"implicit.{module}"), kind)
    model = made(factors=32, random_state=0, num_threads=1, **options)
    model.fit(seen, show_progress=False)
    model.save(str(folder / "model.npz"))
    best, _ = model.recommend(np.arange(len(users)), seen, N=TOP)
    lists = ((users[u], [items[i] for i in row]) for u, row in enumerate(best))
    write(folder, ((users[u], items[i]) for u, i in ends.T), lists, users, items)


def main() -> None:
    """Train all models of a library."""
    library, folder = sys.argv[1], Path(sys.argv[2])
    run, names = {"recbole": (recbole, RECBOLE), "implicit": (implicit, IMPLICIT)}[library]
    if library == "recbole":
        sys.argv = sys.argv[:1]  # which it reads, too
    for name in names:
        own = folder / name
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        run(name, own)


if __name__ == "__main__":
    main()
