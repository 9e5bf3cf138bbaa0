"""Why a node is not cached: what it was made of last time and what it would be made of now, compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from kitbuild.node import Ingredients

# A reader takes in a handful of reasons; one changed image can bring hundreds.
_MOST_REASONS = 8
# A text longer than this is shown around its first difference; about half a terminal line.
_LONGEST_TEXT = 48
# Enough of a digest to tell two apart at sight.
_DIGEST_DIGITS = 8


# For every input the names of the nodes that give it, in the order of the ingredients.
Sources = Mapping[str, Sequence[str]]


def reasons(
    before: Ingredients | None, now: Ingredients, sources: Sources = MappingProxyType({})
) -> tuple[str, ...]:
    """Why a node with ingredients `now` has no result, as short sentences; at least one.

    `before` is what the node of the same name was made of last time, None if nobody remembers. With `sources` inputs
    are called by the names of the nodes they come from.
    """
    if before is None:
        return ("never built before",)
    if before.rule != now.rule:
        return (f"rule changed ({before.rule} -> {now.rule})",)
    found = [*_rule(before, now), *_tools(before, now), *_options(before, now)]
    found += _inputs(before, now, sources)
    if not found:
        return ("its result is no longer in the cache",)
    more = len(found) - _MOST_REASONS
    if more > 0:
        return (*found[:_MOST_REASONS], f"{more} more change{'s' if more > 1 else ''}")
    return tuple(found)


def _rule(before: Ingredients, now: Ingredients) -> Iterator[str]:
    if before.version != now.version:
        yield f"rule {now.rule} changed (version {before.version} -> {now.version})"


def _tools(before: Ingredients, now: Ingredients) -> Iterator[str]:
    old, new = dict(before.tools), dict(now.tools)
    for tool in _names(old, new):
        if tool not in old:
            yield f"{tool} is used now ({new[tool]})"
        elif tool not in new:
            yield f"{tool} is no longer used (was {old[tool]})"
        elif old[tool] != new[tool]:
            yield f"{tool} changed ({old[tool]} -> {new[tool]})"


def _options(before: Ingredients, now: Ingredients) -> Iterator[str]:
    for path, old, new in _differences("", before.options, now.options):
        yield f"{f'option `{path}`' if path else 'the options'} {_change(old, new)}"


def _inputs(before: Ingredients, now: Ingredients, sources: Sources) -> Iterator[str]:
    old, new = dict(before.inputs), dict(now.inputs)
    for name in _names(old, new):
        given, wanted = old.get(name, ()), new.get(name, ())
        if len(given) == len(wanted) == 1 and given != wanted:
            called = _called(name, sources.get(name, ()), position=0)
            yield f"{called} changed ({_digest(given[0])} -> {_digest(wanted[0])})"
            continue
        for position, left, right in _item_differences(given, wanted):
            path = f"{name}[{position}]"
            if right is _ABSENT:
                yield f"input `{path}` was removed (was {_digest(left)})"
                continue
            called = _called(path, sources.get(name, ()), position=position)
            if left is _ABSENT:
                yield f"{called} was added ({_digest(right)})"
            else:
                yield f"{called} changed ({_digest(left)} -> {_digest(right)})"


def _called(path: str, nodes: Sequence[str], *, position: int) -> str:
    return f"`{nodes[position]}`" if position < len(nodes) else f"input `{path}`"


def _names(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(old.keys() | new.keys())


def _digest(text: str) -> str:
    kind, _, digits = text.rpartition(":")
    algorithm = "sha256" if kind in ("blob", "tree", "extents") else kind
    return f"{algorithm}:{digits[:_DIGEST_DIGITS]}"


# -- differences of two JSON values: (path, value before, value now)

_Difference = tuple[str, Any, Any]
# Stands for the value of a field or item that one side does not have; None is a value of its own.
_ABSENT: Any = object()


def _differences(path: str, old: Any, new: Any) -> Iterator[_Difference]:
    if isinstance(old, dict) and isinstance(new, dict) and not (_is_bytes(old) or _is_bytes(new)):
        for name in _names(old, new):
            inner = f"{path}.{name}" if path else name
            yield from _differences(inner, old.get(name, _ABSENT), new.get(name, _ABSENT))
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
        left = old[position] if position < old_end else _ABSENT
        right = new[position] if position < new_end else _ABSENT
        if left is _ABSENT or right is _ABSENT or not _same(left, right):
            yield position, left, right


# -- a difference in words


def _change(old: Any, new: Any) -> str:
    if old is _ABSENT:
        return f"was added ({_shown(new)})"
    if new is _ABSENT:
        return f"was removed (was {_shown(old)})"
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
    return f"changed from {_shown(old)} to {_shown(new)}"


def _changed_line(old: str, new: str) -> str:
    before, now = old.split("\n"), new.split("\n")
    differences = list(_item_differences(before, now))
    position, left, right = differences[0]
    line = f"line {position + 1}"
    if left is _ABSENT:
        text = f"changed: {line} was added ({_shown(right)})"
    elif right is _ABSENT:
        text = f"changed: {line} was removed (was {_shown(left)})"
    else:
        left_shown, right_shown = _around_difference(left, right)
        text = f"changed: {line} from {left_shown} to {right_shown}"
    more = len(differences) - 1
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


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if _is_bytes(value):
        return f"{_length(value)} bytes"
    if isinstance(value, (list, dict)) and len(text := json.dumps(value, ensure_ascii=False)) > _LONGEST_TEXT:
        return f"{text[:_LONGEST_TEXT]}..."
    return json.dumps(value, ensure_ascii=False)


def _is_bytes(value: Any) -> bool:
    # How kitbuild.node.plain writes bytes.
    return isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str)


def _length(value: Mapping[str, str]) -> int:
    text = value["base64"]
    return len(text) // 4 * 3 - text.count("=", -2)
