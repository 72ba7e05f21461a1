"""Where torch computes: on the CPU, or on an accelerator.

What trains makes the chosen device torch's default, so what creates tensors names none. Everything
that is returned or written is on the CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch
from torch import nn

from edgerec.errors import OptionError

__all__ = ["accelerator", "on_accelerator", "seeded"]

_CHOSEN: ContextVar[str] = ContextVar("accelerator", default="cpu")


@contextlib.contextmanager
def accelerator(name: str) -> Iterator[None]:
    """Train, fine-tune and compute gradients on a device, within a ``with`` block.

    Args:
        name: such as ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        OptionError: torch does not know it, or cannot use it here.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise OptionError(
            f"accelerator: expected a device that torch can use here, such as cpu, got {name!r} "
            f"({reason})"
        ) from None
    token = _CHOSEN.set(name)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


@contextlib.contextmanager
def on_accelerator(module: nn.Module | None = None) -> Iterator[None]:
    """Make the chosen device torch's default, and move a module there and back."""
    with torch.device(_CHOSEN.get()) as device:
        if module is None:
            yield
            return
        module.to(device)
        try:
            yield
        finally:
            module.to("cpu")


def seeded(seed: int) -> torch.Generator:
    """A generator of random numbers on the default device."""
    return torch.Generator(torch.get_default_device()).manual_seed(seed)
