"""Checkpoints: save and resume training, as arrays in a container, without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from edgerec.errors import OptionError
from edgerec.files.container import Container
from edgerec.files.container_writer import write_container

__all__ = ["load_kept", "load_state", "save_state"]

#: The version of the states that this edgerec writes and reads.
_FORMAT = 1


def save_state(
    path: str | Path,
    module: nn.Module,
    optimizer: Optimizer,
    options: Mapping[str, Any],
    epochs_done: int,
    loss: float,
    kept: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write parameters, the optimizer's moments, the epoch and its loss, atomically.

    ``kept`` are further arrays by name, which ``load_kept`` reads.
    """
    sections = {f"parameter/{n}": p.numpy(force=True) for n, p in module.named_parameters()}
    for index, entry in optimizer.state_dict()["state"].items():
        sections |= {f"optimizer/{index}/{k}": v.numpy(force=True) for k, v in entry.items()}
    sections |= {f"kept/{name}": array for name, array in (kept or {}).items()}
    sections["loss"] = np.array([loss])  # an array, because JSON has no NaN
    meta = {"format": _FORMAT, "options": dict(options), "epochs_done": epochs_done}
    write_container(path, "training", meta, sections)


def load_state(
    path: str | Path,
    module: nn.Module,
    optimizer: Optimizer,
    options: Mapping[str, Any],
) -> tuple[int, float]:
    """Restore what ``save_state`` wrote; return the epochs done and the loss of the last one.

    Both are 0 if there is no file.

    Raises:
        OptionError: the file was written with other options.
        BundleError: the file is damaged, or of another format version; remove it to start over.
    """
    if not Path(path).exists():
        return 0, 0.0
    container = Container(path)
    container.verify()
    written = container.meta.get("options", {})
    ours = dict(options)
    changed = sorted(k for k in ours.keys() | written.keys() if ours.get(k) != written.get(k))
    if container.kind != "training" or changed:
        raise OptionError(
            f"{path}: was written with another {', '.join(changed) or 'kind of file'}; use the "
            "same options to resume, or remove it to start over"
        )
    container.expect("training", _FORMAT)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.from_numpy(container.array(f"parameter/{name}").copy()))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name in container.names:
        if name.startswith("optimizer/"):
            _, index, key = name.split("/")
            state.setdefault(int(index), {})[key] = torch.from_numpy(container.array(name).copy())
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return int(container.meta["epochs_done"]), float(container.array("loss")[0])


def load_kept(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read the further arrays of a file that ``load_state`` has checked; none without a file."""
    if not Path(path).exists():
        return {}
    container = Container(path)
    names = [name for name in container.names if name.startswith("kept/")]
    return {name.removeprefix("kept/"): container.array(name).copy() for name in names}
