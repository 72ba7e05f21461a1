"""Flags out of a dataclass, so that every option is defined once."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, TypeVar

import typer

from edgerec.model.options import describe_options

__all__ = ["flags_of", "given"]

Command = TypeVar("Command", bound=Callable[..., Any])


def flags_of(cls: type[Any], leave_out: Collection[str] = ()) -> Callable[[Command], Command]:
    """Give a command one flag for each field of a dataclass, in place of its ``**options``.

    A flag that is not given is None, so that a command can tell what was given.

    Args:
        cls: the dataclass, whose fields have their help in ``metadata["help"]``.
        leave_out: names of fields without a flag.
    """

    def give(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        hints = typing.get_type_hints(cls)
        flags = [
            _flag(option["name"], hints[option["name"]], option["help"], option["default"])
            for option in describe_options(cls)
            if option["name"] not in leave_out
        ]
        command.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]  # what inspect reads
        return command

    return give


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that a user gave."""
    return {name: value for name, value in options.items() if value is not None}


def _flag(name: str, hint: Any, text: str, default: Any) -> inspect.Parameter:
    kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind is not type(None)]
    said = "" if default is None else f"; {default} by default"
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[kinds[0] | None, typer.Option(help=text + said)],
    )
