"""The rows by whose products RecBole's models score users and items."""

from __future__ import annotations

from edgerec.plugin import F32
from edgerec_recbole.checkpoint import Checkpoint

__all__ = ["embeddings", "stored_rows"]


def embeddings(saved: Checkpoint) -> tuple[F32, F32]:
    """The embeddings of users and of items, without those of [PAD].

    Raises:
        ModelError: there are none.
    """
    return (
        saved.parameter("user_embedding.weight")[1:],
        saved.parameter("item_embedding.weight")[1:],
    )


def stored_rows(saved: Checkpoint) -> tuple[F32, F32] | None:
    """The final rows, which a model has kept if it was evaluated before it was saved.

    Raises:
        ModelError: they are not stored as expected.
    """
    users, items = (saved.others.get(name) for name in ("restore_user_e", "restore_item_e"))
    if users is None or items is None:
        return None
    return saved.numbers(users, "restore_user_e")[1:], saved.numbers(items, "restore_item_e")[1:]
