"""Explain: what differs between two JSON values, and how to say it in a few words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# A text longer than this is shown around its first difference; about half a terminal line.
_LONGEST_TEXT = 48
# Enough of a digest to tell two apart at sight.
_DIGEST_DIGITS = 8


def _names(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(old.keys() | new.keys())


def short_digest(text: str) -> str:
    """The digest in an input of ingredients ("tree:ab12..."), short: `sha256:ab12cd34`."""
    kind, _, digits = text.rpartition(":")
    algorithm = "sha256" if kind in ("blob", "tree", "extents") else kind
    return f"{algorithm}:{digits[:_DIGEST_DIGITS]}"


# -- differences of two JSON values: (path, value before, value now)

Difference = tuple[str, Any, Any]
# Stands for the value of a field or item that one side does not have; None is a value of its own.
ABSENT: Any = object()


def differences(path: str, old: Any, new: Any) -> list[Difference]:
    """Every difference of two JSON values, by the way there; `path` is the way to them."""
    try:
        return list(_differences(path, old, new))
    except RecursionError:  # nested hundreds deep, which nothing of ours is
        return [(path, old, new)]


def _differences(path: str, old: Any, new: Any) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict) and not (_is_bytes(old) or _is_bytes(new)):
        for name in _names(old, new):
            inner = f"{path}.{name}" if path else name
            yield from _differences(inner, old.get(name, ABSENT), new.get(name, ABSENT))
    elif isinstance(old, list) and isinstance(new, list):
        for position, left, right in _item_differences(old, new):
            yield from _differences(f"{path}[{position}]", left, right)
    elif type(old) is not type(new) or old != new:
        yield path, old, new


def _same(old: Any, new: Any) -> bool:
    # Not `==`, for which 1 is True.
    return next(_differences("", old, new), None) is None


def _item_differences(old: Sequence[Any], new: Sequence[Any]) -> Iterator[tuple[int, Any, Any]]:
    """What differs between two lists, without calling everything after one added item different.

    Items equal at both ends are set aside; what is left is compared in pairs, the longer side's rest being added
    or removed. Positions are in the list as it is now, those of removed items in the list as it was.
    """
    start = 0
    while start < min(len(old), len(new)) and _same(old[start], new[start]):
        start += 1
    same_end = 0
    while same_end < min(len(old), len(new)) - start and _same(old[-1 - same_end], new[-1 - same_end]):
        same_end += 1
    old_end, new_end = len(old) - same_end, len(new) - same_end
    for position in range(start, max(old_end, new_end)):
        left = old[position] if position < old_end else ABSENT
        right = new[position] if position < new_end else ABSENT
        if left is ABSENT or right is ABSENT or not _same(left, right):
            yield position, left, right


# -- a difference in words


def in_words(old: Any, new: Any) -> str:
    """What happened to a value: `changed from "a" to "b"`, `was added ("a")`; either may be ABSENT."""
    if old is ABSENT:
        return f"was added ({shown(new)})"
    if new is ABSENT:
        return f"was removed (was {shown(old)})"
    if _is_bytes(old) and _is_bytes(new):
        left, right = _length(old), _length(new)
        return (
            f"changed ({left} bytes -> {right} bytes)" if left != right else f"changed ({right} other bytes)"
        )
    if isinstance(old, str) and isinstance(new, str) and ("\n" in old or "\n" in new):
        return _changed_line(old, new)
    if isinstance(old, str) and isinstance(new, str):
        left_shown, right_shown = _around_difference(old, new)
        return f"changed from {left_shown} to {right_shown}"
    return f"changed from {shown(old)} to {shown(new)}"


def _changed_line(old: str, new: str) -> str:
    before, now = old.split("\n"), new.split("\n")
    found = list(_item_differences(before, now))
    position, left, right = found[0]
    line = f"line {position + 1}"
    if left is ABSENT:
        text = f"changed: {line} was added ({shown(right)})"
    elif right is ABSENT:
        text = f"changed: {line} was removed (was {shown(left)})"
    else:
        left_shown, right_shown = _around_difference(left, right)
        text = f"changed: {line} from {left_shown} to {right_shown}"
    more = len(found) - 1
    return f"{text} and {more} more line{'s' if more > 1 else ''}" if more else text


def _around_difference(old: str, new: str) -> tuple[str, str]:
    """Both texts in quotes, long ones cut to the surroundings of their first difference."""
    shorter = min(len(old), len(new))
    first = next((index for index in range(shorter) if old[index] != new[index]), shorter)
    start = 0 if max(len(old), len(new)) <= _LONGEST_TEXT else max(0, first - _LONGEST_TEXT // 2)
    return _quoted(old, start), _quoted(new, start)


def _quoted(text: str, start: int = 0) -> str:
    part = text[start : start + _LONGEST_TEXT]
    before = "..." if start else ""
    after = "..." if start + _LONGEST_TEXT < len(text) else ""
    return json.dumps(f"{before}{part}{after}", ensure_ascii=False)


def shown(value: Any) -> str:
    """A JSON value for people, cut if it is long."""
    if isinstance(value, str):
        return _quoted(value)
    if _is_bytes(value):
        return f"{_length(value)} bytes"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "..."
    return f"{text[:_LONGEST_TEXT]}..." if len(text) > _LONGEST_TEXT else text


def _is_bytes(value: Any) -> bool:
    # How kitbuild.node.plain writes bytes.
    return isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str)


def _length(value: Mapping[str, str]) -> int:
    text = value["base64"]
    return len(text) // 4 * 3 - text.count("=", -2)
