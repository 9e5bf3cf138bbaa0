"""Two documents compared field by field: settings in YAML, config.json and runtime.json, words of a command line.

A field is called what its reader calls it: `process.args[1]`, `env PORT`, `capability CAP_SYS_TIME`, `mount /srv`.
What is compared the other way round gives the same fields, with before and after in each other's place.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

# Documents of configs and containers are a dozen levels deep; what is deeper is compared as one value.
_DEEPEST = 32
# Lists shorter than this are told element by element, if elements were only replaced, or added at the end.
_MOST_BY_POSITION = 64

Key = Callable[[Any], str]


class Change(NamedTuple):
    """One field that differs; None stands for a side that does not have it. `where` is `file:line` of the setting."""

    field: str
    before: Any
    after: Any
    where: str = ""

    def reversed(self) -> Change:
        """The change the other way round."""
        return self._replace(before=self.after, after=self.before)


class Listed(NamedTuple):
    """How the elements of a list are told apart: by what `key` makes of them, shown behind `noun`.

    `value` is what of an element the key does not say; nothing if the key is all.
    """

    noun: str
    key: Key
    value: Callable[[Any], Any] = lambda element: element


def _field(name: str) -> Key:
    return lambda element: str(element.get(name, "")) if isinstance(element, dict) else _text(element)


def _variable(element: Any) -> str:
    return _text(element).partition("=")[0]


def _assigned(element: Any) -> Any:
    return _text(element).partition("=")[2]


def _bound(element: Any) -> str:
    """The place in the container that a bind such as `/etc/site:/srv:ro` is seen at."""
    parts = _text(element).split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _text(element: Any) -> str:
    return element if isinstance(element, str) else json.dumps(element, sort_keys=True)


CONFIG_JSON: Mapping[str, Listed] = {
    "process.env": Listed("env", _variable, _assigned),
    "process.rlimits": Listed("rlimit", _field("type")),
    "process.user.additionalGids": Listed("additional gid", _text),
    "mounts": Listed("mount", _field("destination")),
    "linux.devices": Listed("device", _field("path")),
    "linux.namespaces": Listed("namespace", _field("type")),
    "linux.maskedPaths": Listed("masked path", _text),
    "linux.readonlyPaths": Listed("read-only path", _text),
}
RUNTIME_JSON: Mapping[str, Listed] = {
    "mounts": Listed("runtime mount", _field("destination")),
    "mkdir": Listed("runtime mkdir", _text),
    "cgroups": Listed("runtime cgroup", _text),
    "interfaces": Listed("runtime interface", _field("name")),
}
SETTINGS: Mapping[str, Listed] = {
    "env": Listed("env", _variable, _assigned),
    "capabilities": Listed("capability", _text),
    "capabilities.add": Listed("capability", _text),
    "ambient": Listed("ambient capability", _text),
    "binds": Listed("bind", _bound),
    "binds.add": Listed("bind", _bound),
    "tmpfs": Listed("tmpfs", _bound),
    "mounts": Listed("mount", _field("destination")),
    "devices": Listed("device", _field("path")),
    "rlimits": Listed("rlimit", _text),
    "additionalGids": Listed("additional gid", _text),
    "maskedPaths": Listed("masked path", _text),
    "readonlyPaths": Listed("read-only path", _text),
    "platforms": Listed("platform", _text),
    "runtime.mkdir": Listed("runtime mkdir", _text),
    "runtime.cgroups": Listed("runtime cgroup", _text),
    "runtime.mounts": Listed("runtime mount", _field("destination")),
    "runtime.interfaces": Listed("runtime interface", _field("name")),
}
FILES: Mapping[str, Listed] = {"": Listed("", _field("path"))}
_CAPABILITIES = "process.capabilities"


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; to Python `true` and 1 are."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict | list):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return bool(one == other)


class _Spot(NamedTuple):
    """Where two values stand: the way there as tables have it, what that is called, and the ways with positions."""

    way: str = ""
    field: str = ""
    old: str = ""
    new: str = ""

    def at(self, name: str) -> _Spot:
        """The spot of a name in both."""
        return _Spot(*(f"{one}.{name}" if one else name for one in self))

    def element(self, position: int) -> _Spot:
        """The spot of an element of two lists."""
        return _Spot(f"{self.way}[]", *(f"{one}[{position}]" for one in self[1:]))


def changes(
    before: Any,
    after: Any,
    lists: Mapping[str, Listed],
    *,
    lines: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> list[Change]:
    """What differs between two documents.

    `lists` says of the lists in them, by the way there, what they hold; `lines` where what is in each is written, by
    the way with positions: `env[1]`.
    """
    return list(_Comparing(lists, lines).changes(_Spot(), before, after))


class _Comparing:
    """Two documents while they are compared."""

    def __init__(
        self, lists: Mapping[str, Listed], lines: tuple[Mapping[str, str], Mapping[str, str]]
    ) -> None:
        self._lists = lists
        self._lines = lines

    def changes(self, spot: _Spot, before: Any, after: Any, *, depth: int = 0) -> Iterator[Change]:
        """What differs between the two values at a spot."""
        if same(before, after):
            return
        is_deep = depth >= _DEEPEST
        if not is_deep and spot.way == _CAPABILITIES and _are_sets(before, after):
            yield from _capabilities(before or {}, after or {})
        elif not is_deep and isinstance(before, dict) and isinstance(after, dict):
            for name in sorted({*before, *after}):
                yield from self.changes(spot.at(name), before.get(name), after.get(name), depth=depth + 1)
        elif not is_deep and spot.way in self._lists and _are_lists(before, after):
            yield from self._keyed(spot, before or [], after or [], depth=depth)
        elif not is_deep and _are_lists(before, after) and _is_by_position(before, after):
            for position in range(max(len(before), len(after))):
                pair = (_at(before, position), _at(after, position))
                yield from self.changes(spot.element(position), *pair, depth=depth + 1)
        else:
            yield self._change(spot, before, after)

    def _keyed(
        self, spot: _Spot, before: Sequence[Any], after: Sequence[Any], *, depth: int
    ) -> Iterator[Change]:
        listed = self._lists[spot.way]
        old, new = _by_key(before, listed.key), _by_key(after, listed.key)
        places = [{key: place for place, key in enumerate(side)} for side in (old, new)]
        for key in sorted({*old, *new}):
            one, other = old.get(key), new.get(key)
            name = " ".join(filter(None, (listed.noun, key)))
            inner = _Spot(
                "[]", name, f"{spot.old}[{places[0].get(key)}]", f"{spot.new}[{places[1].get(key)}]"
            )
            if isinstance(one, dict) and isinstance(other, dict):
                # What is in an element is called after it: `mount /srv source`.
                for change in self.changes(inner, one, other, depth=depth + 1):
                    yield change._replace(field=f"{name} {change.field[len(name) + 1 :]}")
            elif not same(one, other):
                values = (None if side is None else listed.value(side) for side in (one, other))
                yield self._change(inner, *values)
        common = [key for key in old if key in new]
        if common != [key for key in new if key in old]:
            yield Change(f"order of {spot.field or listed.noun}", list(old), list(new))

    def _change(self, spot: _Spot, before: Any, after: Any) -> Change:
        return Change(spot.field, before, after, self._where(spot, before, after))

    def _where(self, spot: _Spot, before: Any, after: Any) -> str:
        """Where it is written, or was if it is gone."""
        old, new = self._lines
        now = new.get(spot.new, "") if after is not None else ""
        return now or (old.get(spot.old, "") if before is not None else "")


def _are_lists(before: Any, after: Any) -> bool:
    return all(value is None or isinstance(value, list) for value in (before, after))


def _at(values: Sequence[Any], position: int) -> Any:
    return values[position] if position < len(values) else None


def _is_by_position(before: Any, after: Any) -> bool:
    """Whether elements were only replaced or added at the end: a list that was shifted is told as a whole."""
    if before is None or after is None or max(len(before), len(after)) > _MOST_BY_POSITION:
        return False
    shorter = min(len(before), len(after))
    return len(before) == len(after) or same(before[:shorter], after[:shorter])


def _by_key(values: Iterable[Any], key: Key) -> dict[str, Any]:
    """The elements by key; of several with one key the later ones are numbered."""
    found: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for value in values:
        name = key(value)
        seen[name] += 1
        while (numbered := name if seen[name] == 1 else f"{name} #{seen[name]}") in found:
            seen[name] += 1
        found[numbered] = value
    return found


def _are_sets(before: Any, after: Any) -> bool:
    return all(
        value is None
        or (
            isinstance(value, dict)
            and all(
                isinstance(names, list) and all(isinstance(name, str) for name in names)
                for names in value.values()
            )
        )
        for value in (before, after)
    )


def _capabilities(before: Mapping[str, list[str]], after: Mapping[str, list[str]]) -> Iterator[Change]:
    """By capability, with the sets it is in: five lists that nearly always say the same."""
    old, new = _sets_of(before), _sets_of(after)
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield Change(f"capability {name}", old.get(name), new.get(name))


def _sets_of(sets: Mapping[str, list[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind in sorted(sets):
        for name in dict.fromkeys(sets[kind]):
            found.setdefault(name, []).append(kind)
    return found


def word_changes(before: str, after: str) -> list[Change]:
    """What differs between two kernel command lines: words by what stands before their `=`."""
    old, new = before.split(), after.split()
    ours, theirs = _by_variable(old), _by_variable(new)
    found: list[Change] = []
    for key in sorted({*ours, *theirs}):
        words, others = ours.get(key, []), theirs.get(key, [])
        found += _pairs(key, _less(words, others), _less(others, words))
    if not found and old != new:
        # A word has no space in it; one may well be called `order`.
        found.append(Change("order of words", before, after))
    return found


def _by_variable(words: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in words:
        found.setdefault(word.partition("=")[0], []).append(word)
    return found


def _less(words: Sequence[str], others: Sequence[str]) -> list[str]:
    """The words without as many of each as the others have: the last ones stay."""
    spare = Counter(others)
    left = []
    for word in words:
        if spare[word]:
            spare[word] -= 1
        else:
            left.append(word)
    return left


def _pairs(key: str, before: Sequence[str], after: Sequence[str]) -> Iterator[Change]:
    for position in range(max(len(before), len(after))):
        yield Change(key, _at(before, position), _at(after, position))


def mapping_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What differs between two flat mappings, by name."""
    return [
        Change(name, before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if not same(before.get(name), after.get(name))
    ]
