"""Runner: what a device needs of a target, which is to open its bundles in a runtime."""

from __future__ import annotations

import abc
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from edgerec.contracts.bundle import Bundle
from edgerec.errors import RuntimeMissingError, TargetError
from edgerec.model.codecs import F32

__all__ = ["CANDIDATES", "Artefact", "Runner", "ScoringArtefact"]

#: A loaded artefact, called as its ``Signature`` says: the arrays of the inputs in order, and a
#: tuple of those of the outputs. R is ``Signature.returned``; an artefact that skips padding may
#: return fewer, ``Signature.returned_for`` the number of past items.
Artefact = Callable[..., tuple[NDArray[Any], ...]]

#: C, the number of candidates that an artefact scores at a time.
CANDIDATES = 256


class ScoringArtefact(Protocol):
    """An artefact of signature 2 that also scores given candidates."""

    def __call__(self, history: NDArray[np.int32], *inputs: F32) -> tuple[NDArray[Any], ...]:
        """Recommend: (ids int32[R], scores float32[R], user float32[d])."""
        ...

    def score(self, history: NDArray[np.int32], *inputs_and_rows: NDArray[Any]) -> F32:
        """Score the rows int32[C] that follow the inputs: float32[C], 0 for a row of -1."""
        ...


class Runner(abc.ABC):
    """Opens the bundles of one target. It imports its runtime inside ``load``, never torch.

    Every ``Target`` is a Runner; a device uses no more of it than this.
    """

    #: The name of the target, unique among installed ones.
    name: ClassVar[str]

    #: The version of the call that its artefacts have (see ``Signature``).
    signature: ClassVar[int] = 1

    #: Whether a payload can do whatever the process can, or end it, because it is a program or
    #: because its runtime does not check it. Such a bundle runs only if the caller trusts it.
    needs_trust: ClassVar[bool] = False

    @abc.abstractmethod
    def runtimes(self) -> list[str]:
        """Names of the installed runtimes that can run this target, best first."""

    @abc.abstractmethod
    def load(self, bundle: Bundle, runtime: str | None = None, threads: int = 1) -> Artefact:
        """Open a bundle of this target in a runtime, by default the best one.

        Threads may call the artefact at the same time. If its runtime does not support that, the
        artefact holds a lock.

        Raises:
            RuntimeMissingError: the runtime is not installed.
        """

    def choose_runtime(self, runtime: str | None, hint: str) -> str:
        """Return the runtime to load in: the requested one, or the best that is installed.

        Args:
            runtime: one of ``runtimes()``, or none.
            hint: what to do if there is none, such as ``pip install onnxruntime``.

        Raises:
            RuntimeMissingError: the requested runtime is not installed, or none is.
        """
        installed = self.runtimes()
        if not installed or runtime not in (None, *installed):
            here = f", only {', '.join(installed)}" if installed else ""
            requested = f"runtime {runtime!r}" if runtime else "runtime"
            raise RuntimeMissingError(f"{self.name}: no {requested} here{here}; {hint}")
        return runtime or installed[0]

    def operators(self, bundle: Bundle) -> str:
        """The operators that a bundle uses, in the form that a reduced runtime build takes.

        Raises:
            TargetError: the target has no such list.
        """
        raise TargetError(f"target {self.name}: it has no list of operators to build for")

    def convert(self, bundle: Bundle, form: str, folder: Path) -> None:
        """Write a bundle's payload to a folder in another form that its runtime reads.

        Args:
            bundle: the bundle.
            form: the name of the form, such as ``ort``.
            folder: where to write.

        Raises:
            TargetError: the target has no such form.
        """
        raise TargetError(f"target {self.name}: it has no form {form!r} to unpack to")
