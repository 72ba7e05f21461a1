"""How close a model without user rows comes to the one with them, on MovieLens-100K.

    python -m benchmarks.fold_in

ALS (Hu, Koren & Volinsky, ICDM 2008) with 32 columns, and LightGCN with user rows. The overlap is
that of top 20 lists of users whom the prediction was not fitted on; NDCG@20 is over all test users.
"""

from __future__ import annotations

import numpy as np
import torch
from rich.console import Console

import edgerec
from edgerec.data.dataset import Dataset
from edgerec.importing.fold_in import fold_in
from edgerec.model.integers import F32

#: Columns, rounds, confidence of an interaction, and regularization of ALS.
WIDTH, ROUNDS, CONFIDENCE, STRENGTH = 32, 8, 10.0, 10.0

console = Console()


def als(data: Dataset, seed: int = 0) -> tuple[F32, F32]:
    """User and item rows by alternating least squares."""
    rng = np.random.default_rng(seed)
    sides = [
        rng.normal(size=(n, WIDTH)).astype(np.float32) * np.float32(0.1)
        for n in (len(data.users), len(data.items))
    ]
    chosen = np.zeros((len(data.users), len(data.items)), bool)
    for user, past in enumerate(data.train.lists()):
        chosen[user, past] = True
    for _ in range(ROUNDS):
        for own, other, pairs in ((*sides, chosen), (*sides[::-1], chosen.T)):
            shared = other.T @ other + STRENGTH * np.eye(WIDTH)
            for row, mask in enumerate(pairs):
                part = other[mask]
                gram = shared + CONFIDENCE * part.T @ part
                own[row] = np.linalg.solve(gram, (1 + CONFIDENCE) * part.sum(0))
    return sides[0], sides[1]


def main() -> None:
    """Print both."""
    data = edgerec.load("ml-100k").split_random(0.2)
    trained = edgerec.train(data, model="lightgcn", layers=2, user_embedding=True)
    with torch.no_grad():
        users, items = trained.gnn(trained.graph)
    for name, rows in (("ALS", als(data)), ("LightGCN", (users, items))):
        found = fold_in(data, *rows)
        ndcg = edgerec.evaluate(found.model, data).ndcg
        console.print(
            f"{name}: overlap {found.before:.3f} with pooled rows, {found.overlap:.3f} folded in, "
            f"NDCG@20 {ndcg:.4f}"
        )


if __name__ == "__main__":
    main()
