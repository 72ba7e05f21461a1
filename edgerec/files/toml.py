"""Read TOML that a user wrote, with errors that name the file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from edgerec.errors import OptionError

__all__ = ["read_toml"]


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: the file.
        what: what it should be, such as ``recipe``, for the message if it does not exist.

    Raises:
        OptionError: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise OptionError(f"{path}: no such {what}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise OptionError(f"{path}: not a TOML file: {error}") from None
