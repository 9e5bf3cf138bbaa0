"""Options read back from their JSON values: the other way round from `kitbuild.node.plain`."""

from __future__ import annotations

import base64
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def decoded(hint: Any, value: Any) -> Any:
    """The value of type `hint` that `plain` made `value` of; raises ValueError for one that fits no such type.

    `hint` is what a field of a rule's options may have: str, int, bool, bytes, None, a Literal, a union of those, a
    tuple, or a NamedTuple of such fields.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return _checked(value, any(value == one and type(value) is type(one) for one in arguments), hint)
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, hint)
    if origin is tuple:
        return _tuple(arguments, value, hint)
    if hasattr(hint, "_fields"):
        return _named(hint, value)
    if hint is bytes:
        _checked(value, isinstance(value, dict) and value.keys() == {"base64"}, hint)
        return base64.b64decode(decoded(str, value["base64"]), validate=True)
    return _checked(value, type(value) is hint or (value is None and hint is type(None)), hint)


def _one_of(arguments: tuple[Any, ...], value: Any, hint: Any) -> Any:
    for kind in arguments:
        try:
            return decoded(kind, value)
        except ValueError:
            continue
    return _checked(value, False, hint)


def _tuple(arguments: tuple[Any, ...], value: Any, hint: Any) -> tuple[Any, ...]:
    _checked(value, isinstance(value, list), hint)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(decoded(arguments[0], item) for item in value)
    _checked(value, len(value) == len(arguments), hint)
    return tuple(decoded(kind, item) for kind, item in zip(arguments, value, strict=True))


def _named(hint: Any, value: Any) -> Any:
    _checked(value, isinstance(value, dict) and value.keys() == set(hint._fields), hint)
    hints = get_type_hints(hint)
    return hint(**{name: decoded(hints[name], item) for name, item in value.items()})


def _checked(value: Any, fits: bool, hint: Any) -> Any:
    if not fits:
        raise ValueError(f"expected {getattr(hint, '__name__', None) or hint}, got {str(value)[:100]!r}")
    return value
