"""Convert text and TOML values to the options of a frozen dataclass, and check them.

The options of every plugin and every profile go through here, so that all errors read alike:
``budget.max_bundle_bytes: expected a positive integer, got -1``.

An option may itself be an object with a name and options, such as a codec. As text, those follow
its name, as in ``pq/subspaces=4/bits=8``; within another one it is put in parentheses.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from edgerec.errors import OptionError

__all__ = [
    "Named",
    "check_option_types",
    "describe_options",
    "format_spec",
    "from_options",
    "parse_spec",
    "plain",
]

T = TypeVar("T")

#: The classes that an option of a type may be an object of, by type and name.
Named = Mapping[type[Any], Mapping[str, type[Any]]]


def from_options(
    cls: type[T], values: Mapping[str, Any], where: str, named: Named | None = None
) -> T:
    """Instantiate a dataclass from options.

    Args:
        cls: a dataclass.
        values: option values; text is converted to the field's type.
        where: the prefix of option names in errors, ``where.option``.
        named: what options that are objects may be; by default, they have to be objects already.

    Raises:
        OptionError: an option is unknown, missing or of the wrong type.
    """
    fields = {f.name: f for f in _fields(cls)}
    if unknown := sorted(set(values) - set(fields)):
        known = ", ".join(fields) or "none"
        raise OptionError(f"{where}: unknown option {', '.join(unknown)}; options: {known}")
    hints = typing.get_type_hints(cls)
    given = {
        name: _convert(hints[name], v, f"{where}.{name}", named or {}) for name, v in values.items()
    }
    required = [
        f.name
        for f in fields.values()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing := sorted(set(required) - set(given)):
        raise OptionError(f"{where}: option {', '.join(missing)} is required")
    return cls(**given)


def parse_spec(spec: str) -> tuple[str, dict[str, str]]:
    """Split ``name:option=value,option=value``.

    Raises:
        OptionError: the text does not have that form.
    """
    name, _, rest = spec.partition(":")
    options: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise OptionError(f"{spec!r}: expected name:option=value,..., got {part!r}")
        if key.strip() in options:
            raise OptionError(f"{spec!r}: option {key.strip()} is given twice")
        options[key.strip()] = value.strip()
    if not name.strip():
        raise OptionError(f"{spec!r}: expected name:option=value,..., got no name")
    return name.strip(), options


def format_spec(thing: Any) -> str:
    """What ``parse_spec`` and ``from_options`` read back as an object with a name.

    Options that have their default are left out.
    """
    options = ",".join(f"{name}={_text(value)}" for name, value in _given(thing).items())
    return f"{thing.name}:{options}" if options else str(thing.name)


def _given(thing: Any) -> dict[str, Any]:
    """The options of an object that do not have their default."""
    return {
        f.name: value
        for f in _fields(type(thing))
        if (value := getattr(thing, f.name)) != f.default
    }


def plain(value: Any) -> Any:
    """An option as a JSON value: an object with a name becomes text."""
    is_object = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return _text(value) if is_object else value


def describe_options(cls: type[Any]) -> list[dict[str, Any]]:
    """List the options of a dataclass, each with its name, type, default and help."""
    hints = typing.get_type_hints(cls)
    return [
        {
            "name": f.name,
            "type": _type_name(hints[f.name]),
            "default": None if f.default is dataclasses.MISSING else plain(f.default),
            "help": f.metadata.get("help", ""),
        }
        for f in _fields(cls)
    ]


def check_option_types(cls: type[Any], objects: Collection[type[Any]] = ()) -> None:
    """Check that the type of each option is known at run time and can be converted to.

    Args:
        cls: a dataclass.
        objects: types of options that are objects.

    Raises:
        OptionError: one is not.
    """
    try:
        hints = typing.get_type_hints(cls)
    except (NameError, TypeError, AttributeError) as error:
        raise OptionError(
            f"the type of an option cannot be resolved at run time ({error}); import it outside "
            "`if TYPE_CHECKING`"
        ) from None
    for field in _fields(cls):
        if hints[field.name] not in objects and not _is_option(hints[field.name]):
            raise OptionError(
                f"{field.name}: an option cannot be {_type_name(hints[field.name])}; use int, "
                "float, bool, str, Literal, a tuple of one of them, or one of them | None"
            )


def _is_option(hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in arguments if a is not type(None)]
        return len(inner) == 1 and _is_option(inner[0])
    if origin is tuple:
        return len(arguments) == 2 and arguments[1] is Ellipsis and _is_option(arguments[0])
    return origin is typing.Literal or hint in (int, float, bool, str)


def _fields(cls: type[Any]) -> list[dataclasses.Field[Any]]:
    """The fields of a dataclass, with keyword-only ones, which bases define, last."""
    return sorted(dataclasses.fields(cls), key=lambda field: field.kw_only is True)


def _convert(hint: Any, value: Any, where: str, named: Named) -> Any:
    if hint in named and isinstance(value, str):
        return _named(hint, value, where, named)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None or value == "none":
            return None
        inner = next(a for a in arguments if a is not type(None))
        return _convert(inner, value, where, named)
    if origin is typing.Literal:
        for choice in arguments:
            if value == choice or (isinstance(value, str) and value == str(choice)):
                return choice
        choices = ", ".join(map(str, arguments))
        raise OptionError(f"{where}: expected one of {choices}; got {value!r}")
    if origin is tuple:
        parts = value.split("+") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise OptionError(f"{where}: expected a list, got {value!r}")
        return tuple(_convert(arguments[0], part, where, named) for part in parts)
    if hint is bool and isinstance(value, str) and value.lower() in ("true", "false", "yes", "no"):
        return value.lower() in ("true", "yes")
    try:
        if hint is int and isinstance(value, str):
            return int(value.replace("_", ""))
        if hint is float and isinstance(value, (str, int)) and not isinstance(value, bool):
            return float(value)
    except ValueError:
        pass
    if type(value) is not hint and not (hint in named and isinstance(value, hint)):
        raise OptionError(f"{where}: expected {_type_name(hint)}, got {value!r}")
    return value


def _named(hint: type[Any], text: str, where: str, named: Named) -> Any:
    """The object that a text like ``pq/subspaces=4`` describes."""
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "/" and not depth:
            parts.append("")
        else:
            parts[-1] += character
    name = parts[0].strip()
    if name not in named[hint]:
        known = ", ".join(sorted(named[hint]))
        raise OptionError(f"{where}: unknown {hint.__name__.lower()} {name!r}; known: {known}")
    options: dict[str, str] = {}
    for part in parts[1:]:
        key, equals, value = part.partition("=")
        if not equals or key in options:
            raise OptionError(f"{where}: expected name/option=value/..., each once; got {text!r}")
        options[key] = value[1:-1] if value.startswith("(") and value.endswith(")") else value
    return from_options(named[hint][name], options, f"{where} {name}", named)


def _text(value: Any, is_inner: bool = False) -> str:
    """An option as text, in the form that ``_convert`` reads."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [str(getattr(value, "name", type(value).__name__))]
        parts += [f"{key}={_text(option, True)}" for key, option in _given(value).items()]
        text = "/".join(parts)
        return f"({text})" if is_inner and len(parts) > 1 else text
    if isinstance(value, tuple):
        return "+".join(map(_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _type_name(hint: Any) -> str:
    names = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
    if inspect.isabstract(hint):  # the base of objects with a name
        return f"a {hint.__name__.lower()}"
    return names.get(hint, str(hint).replace("typing.", ""))
