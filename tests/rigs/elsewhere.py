"""A stand-in for an accelerator: tensors that are said to be on ``xpu``, and computed on the CPU.

As on a real one, an operation on tensors of both devices fails, and so does ``numpy()`` of a tensor
that is elsewhere. Whether a tensor is there follows from its storage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["elsewhere"]

ELSEWHERE = torch.device("xpu")

#: What copies from one device to the other.
_COPIES = {torch.ops.aten.copy_.default}


class _Places:
    """Which storages are elsewhere, and which were made where no tensor tells the place."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[StorageWeakRef, str]] = {}

    def put(self, tensor: Tensor, place: str) -> None:
        ref = StorageWeakRef(tensor.untyped_storage())
        self._known[ref.cdata] = ref, place

    def of(self, tensor: Tensor) -> str:
        ref = StorageWeakRef(tensor.untyped_storage())
        known = self._known.get(ref.cdata)
        return "home" if known is None or known[0].expired() else known[1]


class _Operations(TorchDispatchMode):
    """Results are where the operands are, which have to be in one place."""

    def __init__(self, places: _Places) -> None:
        super().__init__()
        self.places = places

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        where = {self.places.of(x) for x in given if x.dim() or self.places.of(x) != "home"}
        if {"home", "away"} <= where and func not in _COPIES:
            raise RuntimeError(f"{func}: expected all tensors to be on the same device")
        result = func(*args, **(kwargs or {}))
        if func in _COPIES:
            return result
        # In backward passes, names of devices are not seen, so new tensors may be of either place.
        made = not given or "anywhere" in where
        place = "away" if "away" in where else "anywhere" if made else None
        for one in tree_leaves(result):
            if isinstance(one, Tensor) and place:
                self.places.put(one, place)
        if place == "away":
            for one in given:
                if self.places.of(one) == "anywhere":
                    self.places.put(one, "away")
        return result


class _Devices(TorchFunctionMode):
    """Names of devices in arguments and results."""

    def __init__(self, places: _Places) -> None:
        super().__init__()
        self.places = places

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, own = getattr(func, "__name__", ""), args[0] if args else None
        if isinstance(own, Tensor) and self.places.of(own) == "away":
            if func == Tensor.device.__get__:  # type: ignore[attr-defined]  # a descriptor
                return ELSEWHERE
            if func == Tensor.is_cpu.__get__:  # type: ignore[attr-defined]  # a descriptor
                return False
            if name == "numpy" and not (kwargs or {}).get("force"):
                raise TypeError("can't convert a tensor that is elsewhere to numpy")
        if func is torch.device or name == "_parse_to":
            return func(*args, **(kwargs or {}))
        asked: set[str] = set()

        def at_home(x: Any) -> Any:
            if not _is_name(x):
                return x
            asked.add("away" if torch.device(x).type == ELSEWHERE.type else "home")
            return torch.device("cpu")

        moves = name in ("to", "cpu", "as_tensor", "tensor")
        args, kwargs = tree_map(at_home, (args, kwargs or {}))
        if name == "cpu":
            asked = {"home"}
        if name == "new_tensor" and isinstance(own, Tensor):
            asked = {self.places.of(own)}
        if func in _device_constructors() and kwargs.get("device") is None:
            at_home(torch.get_default_device())
            kwargs["device"] = "cpu"
        result = func(*args, **kwargs)
        if not asked or not isinstance(result, Tensor):
            return result
        place = "away" if "away" in asked else "home"
        if moves and self.places.of(result) not in (place, "anywhere"):
            result = _Copy.apply(result)
        self.places.put(result, place)
        return result


class _Copy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        with torch._C._DisableTorchDispatch():
            return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


_GENERATOR = torch.Generator


class _Generator(_GENERATOR):
    def __new__(cls, device: Any = "cpu") -> Any:
        return _GENERATOR("cpu")


def _is_name(x: Any) -> bool:
    return isinstance(x, torch.device) or (isinstance(x, str) and x in ("xpu", "cpu"))


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """Make ``xpu`` a device that torch can use."""
    places = _Places()
    with pytest.MonkeyPatch.context() as patch, _Devices(places), _Operations(places):
        patch.setattr(torch, "Generator", _Generator)
        yield
