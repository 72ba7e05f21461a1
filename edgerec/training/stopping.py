"""Early stopping: keep the epoch that is best on interactions held out to choose by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgerec.data.dataset import Dataset
from edgerec.data.quality import evaluate, evaluation_users
from edgerec.model.device_model import DeviceModel

__all__ = ["EarlyStopping"]

#: The most users that an epoch is judged by.
_USERS = 2000


class EarlyStopping:
    """Judges a model after each epoch, and keeps the parameters of the best one.

    Args:
        module: the model that is trained.
        lower: makes a DeviceModel of it.
        dataset: with validation interactions.
        patience: how many epochs in a row may be no better.
        seed: the seed of the choice of users.

    Raises:
        DataError: there are no validation interactions.
    """

    def __init__(
        self,
        module: nn.Module,
        lower: Callable[[], DeviceModel],
        dataset: Dataset,
        patience: int,
        seed: int,
    ) -> None:
        self.module, self.lower, self.patience = module, lower, patience
        self.part = dataset.on_valid()
        self.users = evaluation_users(self.part, _USERS, seed)
        self.judged: list[float] = []
        self._best: dict[str, NDArray[np.float32]] = {}

    def judge(self) -> float:
        """Evaluate the model as it is now; return its NDCG@20."""
        model = self.lower()
        self.module.train()
        own = getattr(self.module, "users", None)
        vectors = None if own is None else own.numpy(force=True)
        found = evaluate(model, self.part, users=self.users, user_vectors=vectors).ndcg
        if not self.judged or found > max(self.judged):
            self._best = {n: p.numpy(force=True).copy() for n, p in self.module.named_parameters()}
        self.judged.append(found)
        return found

    @property
    def is_over(self) -> bool:
        """Whether enough epochs in a row were no better."""
        return bool(self.judged) and len(self.judged) - 1 - self.best_epoch >= self.patience

    @property
    def best_epoch(self) -> int:
        """The number of the best epoch, from 0."""
        return int(np.argmax(self.judged))

    def restore(self) -> None:
        """Give the model the parameters of the best epoch."""
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                parameter.copy_(torch.from_numpy(self._best[name]))

    def state(self) -> dict[str, NDArray[Any]]:
        """What has to be kept to go on after an interruption, as arrays by name."""
        return {"judged": np.array(self.judged)} | {f"best/{n}": a for n, a in self._best.items()}

    def load(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on from what ``state`` returned."""
        self.judged = state["judged"].tolist()
        self._best = {n[5:]: np.array(a) for n, a in state.items() if n.startswith("best/")}
