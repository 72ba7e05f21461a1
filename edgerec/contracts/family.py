"""Family: makes the graph neural network that ``train`` trains."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

__all__ = ["Family"]


class Family(abc.ABC):
    """A family of GNNs. Subclasses are frozen dataclasses; their fields are options.

    A family's package keeps heavy imports inside ``make``, so that listing plugins stays fast.
    """

    #: The name, unique among installed families.
    name: ClassVar[str]

    @abc.abstractmethod
    def make(self, n_users: int, n_items: int, dim: int) -> Any:
        """Make an untrained network.

        Args:
            n_users: number of users.
            n_items: number of items.
            dim: d, width of the item vectors.

        Returns:
            An ``edgerec.learn.GNN``. torch's generator is seeded, so its random numbers repeat.
        """
