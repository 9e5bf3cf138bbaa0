"""YAML text, byte for byte as one of two Go emitters writes it: METADATA as yaml.v2, DRY_RUN as yaml.v3.

Both put a text in the plainest form that reads back as that text. What would be read as a number, a boolean, a date
or null is in double quotes; what YAML's syntax forbids in single ones; several lines are a literal block. They differ
in indentation, in the folding of long lines and in what they make of tabs.

Different on purpose, where what Go writes does not read back as the same text: U+2028 and U+2029 are escaped, and of
a text that starts with a byte order mark only that mark; in DRY_RUN a block that starts with a space, a tab or an
empty line keeps that line and says its true indentation.

Source: YAML 1.2.2, chapters 7 and 8; gopkg.in/yaml.v2 2.4 and gopkg.in/yaml.v3 3.0, encode.go and emitterc.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cmp_to_key, lru_cache
from typing import Any, NamedTuple

from kitbuild.config.scalars import STRING, tag_of


class Style(NamedTuple):
    """What the two emitters do differently.

    `step`: columns a mapping is indented by. `width`: column after which a line is broken at the next space, or None.
    `tabs_in_blocks`: whether a literal block may hold a tab. `digits_first`: how keys are sorted, see `_compared`.
    """

    step: int
    width: int | None
    indented_lists: bool
    tabs_in_blocks: bool
    digits_first: bool


METADATA = Style(step=2, width=80, indented_lists=False, tabs_in_blocks=False, digits_first=False)
DRY_RUN = Style(step=4, width=None, indented_lists=True, tabs_in_blocks=True, digits_first=True)

# The keys and most values of a config: nothing in them can be mistaken for anything.
_HARMLESS = re.compile(r"[A-Za-z/][A-Za-z0-9/._-]*\Z")
_WORDS = frozenset(
    ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF")
)
_DATE = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})\Z")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]{1,9})?\Z")
_ZONE = re.compile(r"(?:Z|[-+][0-9]{2}:[0-9]{2})\Z")
_SIXTIES = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_LONE_UNDERSCORE = re.compile(r"(?<![0-9])_|_(?![0-9])")
_INDICATOR = re.compile(
    r"""\A(?:---|\.\.\.|[#,\[\]{}&*!|>'"%@`]|[-?:](?:[ \t]|\Z))"""  # at the start
    r"""|:(?:[ \t]|\Z)|(?<=[ \t\n\0])\#""",  # further on
)
_SPECIAL = re.compile(r"[^\n\x20-\x7e]")
_ESCAPED = re.compile(r'["\\\n]|' + _SPECIAL.pattern)
# The same beyond ASCII; compiled when there is such a text, which takes longer than writing a config.
_SPECIAL_WIDE = r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]"
_ESCAPED_WIDE = r'["\\\n]|' + _SPECIAL_WIDE
_NAMED = dict(
    zip('\0\a\b\t\n\v\f\r\x1b"\\\x85\u2028\u2029', ("0", *"abtnvfre", '"', "\\", *"NLP"), strict=True)
)
_SPACE = re.compile(r"(?<=[^ ]) (?=[^ ])")
_FIRST_SPACE = re.compile(r"(?<=[^ ]) (?=.)")
_LINE_END = re.compile("[\n\r\x85\u2028\u2029]")
_LONGEST_KEY = 128  # bytes; a longer one is written after `? `


def yaml_text(value: Mapping[str, Any], style: Style) -> str:
    """`value` (mappings, lists, text, integers, booleans, None) as a document; keys in the order they have."""
    return "\n".join(_mapping(value, 0, style)) + "\n"


def sorted_keys(value: Mapping[str, Any], style: Style) -> dict[str, Any]:
    """A mapping in the order in which Go writes a map: as a reader expects, with `eth2` before `eth10`."""

    def compared(one: str, other: str) -> int:
        return _compared(one, other, style)

    return {key: value[key] for key in sorted(value, key=cmp_to_key(compared))}


class _Room(NamedTuple):
    """Where a scalar is written: the column it starts in, the indentation of its further lines and of its parent."""

    column: int
    indent: int
    parent: int


def _mapping(value: Mapping[str, Any], indent: int, style: Style) -> Iterator[str]:
    """The lines of a mapping whose keys stand in column `indent` (from 0)."""
    space = " " * indent
    for key, item in value.items():
        head = f"{space}{_key(key, indent, style)}:"
        if not item or not isinstance(item, (Mapping, list, tuple)):
            room = _Room(len(head) - head.rfind("\n"), _deeper(indent, style), indent)
            yield f"{head} {_scalar(item, room, style)}"
            continue
        yield head
        if isinstance(item, Mapping):
            yield from _mapping(item, _deeper(indent, style), style)
        else:
            yield from _list(item, _deeper(indent, style) if style.indented_lists else indent, style)


def _list(items: Sequence[Any], indent: int, style: Style) -> Iterator[str]:
    """The lines of a list whose dashes stand in column `indent`."""
    dash = f"{' ' * indent}- "
    room = _Room(len(dash), indent + 2, indent)
    for item in items:
        if isinstance(item, Mapping) and item:
            first, *rest = _mapping(item, indent + 2, style)
            yield dash + first[len(dash) :]
            yield from rest
        else:
            yield dash + _scalar(item, room, style)


def _deeper(indent: int, style: Style) -> int:
    """Where what belongs to a key in column `indent` stands: yaml.v3 goes to the next multiple of its step."""
    return indent // style.step * style.step + style.step if style.indented_lists else indent + style.step


def _key(text: str, indent: int, style: Style) -> str:
    if len(text.encode()) <= _LONGEST_KEY and not _LINE_END.search(text):
        return _text(text, _Room(0, 0, 0), style._replace(width=None))
    # A key that is no simple one: `? key`, and the value after a `: ` of its own.
    room = _Room(indent + 2, _deeper(indent, style), indent)
    return f"? {_text(text, room, style)}\n{' ' * indent}"


def _scalar(value: Any, room: _Room, style: Style) -> str:
    """A value in one piece, though perhaps of several lines."""
    if isinstance(value, str):
        return _text(value, room, style)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return str(value) if isinstance(value, int) else "{}" if isinstance(value, Mapping) else "[]"


def _text(text: str, room: _Room, style: Style) -> str:
    if _is_harmless(text):
        return text
    special = _SPECIAL if text.isascii() else re.compile(_SPECIAL_WIDE)
    if "\n" in text:
        found = special.search(text.replace("\t", "") if style.tabs_in_blocks else text)
        if found or text.endswith(" ") or " \n" in text:
            return _double_quoted(text, room, style)
        return _block(text, room)
    if special.search(text) or _resolves(text):
        return _double_quoted(text, room, style)
    if text[0] == " " or text[-1] == " " or _INDICATOR.search(text):
        quoted = text.replace("'", "''")
        return f"'{_folded(quoted, room._replace(column=room.column + 1), style)}'"
    return _folded(text, room, style)


@lru_cache(maxsize=1024)  # the keys of a config are few, and most of its texts
def _is_harmless(text: str) -> bool:
    """Whether the text stands for itself wherever it is: a look that settles nearly all texts."""
    return _HARMLESS.match(text) is not None and text not in _WORDS and tag_of(text) == STRING


def _resolves(text: str) -> bool:
    """Whether the text without quotes would be read as something else, be it by YAML 1.1."""
    if text in _WORDS or text == "":
        return True
    # Where a number starts with a point, Go wants a digit on both sides of every `_`.
    if text[0] == "." and _LONE_UNDERSCORE.search(text):
        return False
    tag = tag_of(text)
    if tag != STRING:
        return text != "<<"
    return text[0] in "+-0123456789" and (_SIXTIES.match(text) is not None or _is_time(text))


def _is_time(text: str) -> bool:
    """Whether Go's yaml takes the text for a point in time: a date, perhaps a time after a space or `T`."""
    separator = next((character for character in text if character in "Tt "), "")
    date, _, rest = text.partition(separator) if separator else (text, "", "")
    day = _DATE.match(date)
    if day is None:
        return False
    year, month, number = map(int, day.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if (
        not 1 <= month <= 12
        or not 1 <= number <= (31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
    ):
        return False
    if not separator:
        return True
    zone = _ZONE.search(rest)
    # With `T` there is a time zone, with a space there is none.
    if (zone is None) != (separator == " "):
        return False
    clock = _TIME.match(rest[: zone.start()] if zone else rest)
    return clock is not None and all(
        int(part) < most for part, most in zip(clock.groups(), (24, 60, 60), strict=True)
    )


def _folded(text: str, room: _Room, style: Style, *, at: re.Pattern[str] = _SPACE) -> str:
    """The text, broken at the first space after the column where lines end."""
    column = room.column
    if style.width is None or column + len(text) <= style.width:
        return text
    pieces: list[str] = []
    start = 0
    for space in at.finditer(text):
        if column + space.start() - start > style.width:
            pieces += text[start : space.start()], "\n", " " * room.indent
            start, column = space.end(), room.indent
            if text[start] == " ":
                # Of several spaces the line break stands for one; the others would be dropped without this.
                pieces.append("\\")
                column += 1
    return "".join((*pieces, text[start:]))


def _double_quoted(text: str, room: _Room, style: Style) -> str:
    escaped = (_ESCAPED if text.isascii() else re.compile(_ESCAPED_WIDE)).sub(_escape, text)
    return f'"{_folded(escaped, room._replace(column=room.column + 1), style, at=_FIRST_SPACE)}"'


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in _NAMED:
        return f"\\{_NAMED[character]}"
    number = ord(character)
    return (
        f"\\x{number:02X}"
        if number < 0x100
        else f"\\u{number:04X}"
        if number < 0x10000
        else f"\\U{number:08X}"
    )


def _block(text: str, room: _Room) -> str:
    hint = str(room.indent - room.parent) if text[0] in " \t\n" else ""
    chomp = "" if text.endswith("\n") else "-"
    if text == "\n" or text.endswith("\n\n"):
        chomp = "+"
    space = " " * room.indent
    lines = text.removesuffix("\n").split("\n")
    return "\n".join((f"|{hint}{chomp}", *(space + line if line else "" for line in lines)))


def _compared(one: str, other: str, style: Style) -> int:
    """Below 0 if `one` stands first: letters after other characters, runs of digits by their value."""
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left == right:
            continue
        if left.isalpha() and right.isalpha():
            return ord(left) - ord(right)
        if left.isalpha() or right.isalpha():
            # yaml.v3 puts `a1b` before `a1-`: after a digit, letters come first.
            after_digit = style.digits_first and at > 0 and one[at - 1].isdecimal()
            return -1 if left.isalpha() == after_digit else 1
        return _numbers_compared(one, other, at) or ord(left) - ord(right)
    return len(one) - len(other)


def _numbers_compared(one: str, other: str, at: int) -> int:
    """Compares the digits from `at` on, which is where the texts begin to differ."""
    before = re.search(r"[0-9]*\Z", one[:at])
    # A zero behind other digits is part of their number; otherwise it leads one.
    lead = "1" if "0" in (one[at], other[at]) and before and before[0].strip("0") else ""
    left, right = (re.match(r"[0-9]*", text[at:])[0] for text in (one, other))  # type: ignore[index]
    return int(lead + left or "0") - int(lead + right or "0") or len(left) - len(right)
