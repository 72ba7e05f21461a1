"""Read teachers from files."""

from __future__ import annotations

from collections.abc import Sequence

from edgerec.plugin import CompressError, DeviceModel, EdgerecError

__all__ = ["read_teachers"]


def read_teachers(paths: Sequence[str]) -> list[DeviceModel]:
    """Read models that ``save_model`` wrote.

    Raises:
        CompressError: a file cannot be read as a model.
    """
    from edgerec.learn import load_model

    models = []
    for path in paths:
        try:
            models.append(load_model(path))
        except (OSError, EdgerecError) as error:
            raise CompressError(f"distill.teacher: {error}") from error
    return models
