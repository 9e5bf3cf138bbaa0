"""A difference between two systems as lines for people, before they are painted or put into a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from kitbuild.compare.difference import Difference, PackageChange, SectionDifference, Sizes
from kitbuild.compare.files import FileChange, state_of
from kitbuild.compare.snapshot import File
from kitbuild.compare.values import Change
from kitbuild.report.text import human_size, one_line, plural

Mark = Literal["+", "-", "~", " ", "#"]

MARKS: dict[str, Mark] = {"added": "+", "removed": "-", "changed": "~"}
# What a screen holds, of every section that differs.
MOST_FILES = 10
_MOST_FIELDS = 20
_LONGEST_VALUE = 100
# What is more is another thing altogether.
_MOST_PERCENT = 1000
_MOST_FACTOR = 10_000


class Line(NamedTuple):
    """One line, how deep it stands, and what became of what it tells: " " only explains, "#" leads others."""

    mark: Mark
    depth: int
    text: str


class Group(NamedTuple):
    """The lines that belong together, below a first one."""

    title: Line
    lines: tuple[Line, ...]


def groups(difference: Difference, *, everything: bool = False) -> Iterator[Group]:
    """All that differs, group by group; `everything` leaves nothing out."""
    if difference.flags:
        lines = _capped(difference.flags, _flag, 1, "flag", everything=everything)
        yield Group(Line("#", 0, "flags"), tuple(lines))
    if difference.cmdline:
        yield Group(
            Line("#", 0, "kernel command line"),
            tuple(_capped(difference.cmdline, _word, 1, "word", everything=everything)),
        )
    for section in difference.sections:
        yield Group(_title(section), tuple(_section_lines(section, everything=everything)))
    if difference.packages:
        lines = _capped(difference.packages, _package, 1, "package", everything=everything)
        yield Group(Line("#", 0, "packages of the SBOM"), tuple(lines))
    if difference.medium:
        lines = _capped(difference.medium, _file, 1, "file", everything=everything)
        yield Group(Line("#", 0, "on the medium"), tuple(lines))


def size_line(sizes: Sizes) -> str:
    """`31.2 MiB -> 31.9 MiB (+700 KiB, +2.2 %)`, or the one size if nothing changed."""
    if sizes.before is None or sizes.after is None:
        known = sizes.before if sizes.after is None else sizes.after
        return "unknown" if known is None else f"{human_size(known)} on one side, unknown on the other"
    if sizes.before == sizes.after:
        return human_size(sizes.after)
    whole = " -> ".join(dict.fromkeys((human_size(sizes.before), human_size(sizes.after))))
    return f"{whole} ({growth_text(sizes.growth)}{percent_text(sizes, before=', ')})"


def percent_text(sizes: Sizes, *, before: str) -> str:
    """The growth in percent behind `before`, as a factor if it is large, nothing if it is next to none."""
    percent = sizes.growth * 100 / sizes.before if sizes.before else 0.0
    if percent > _MOST_PERCENT:
        factor = (sizes.after or 0) / (sizes.before or 1)
        return f"{before}x{factor:.0f}" if factor < _MOST_FACTOR else ""
    return f"{before}{percent:+.1f} %" if abs(percent) >= 0.05 else ""


def growth_text(growth: int) -> str:
    """`+1.5 KiB`, `-12 B`, `+0 B`."""
    return f"{'-' if growth < 0 else '+'}{human_size(abs(growth))}"


def counts_text(section: SectionDifference) -> str:
    """What differs in a section, in numbers: `2 files added, 1 changed; 3 packages`."""
    counted = []
    for noun, several in (("file", section.files), ("package", section.packages)):
        states = [one.state for one in several]
        numbers = [
            f"{states.count(state)} {state}" for state in ("added", "removed", "changed") if state in states
        ]
        if numbers:
            first, *rest = numbers
            number, _, state = first.partition(" ")
            counted.append(", ".join([f"{plural(int(number), noun)} {state}", *rest]))
    # How a container runs mostly follows from its settings.
    fields = len(section.settings) or len(section.runtime)
    if section.image:
        counted.append("another image")
    if fields:
        counted.append(plural(fields, "setting"))
    return "; ".join(counted)


def _title(section: SectionDifference) -> Line:
    mark = MARKS[section.state]
    size = section.size
    if section.state == "changed":
        return Line(mark, 0, one_line(section.name) + (f"  {size_line(size)}" if size.growth else ""))
    whole = size.after if section.state == "added" else size.before
    facts = [] if whole is None else [human_size(whole)]
    if section.files:
        facts.append(plural(len(section.files), "file"))
    if section.packages:
        facts.append(plural(len(section.packages), "package"))
    return Line(mark, 0, "  ".join([one_line(section.name), ", ".join(facts)]).rstrip())


def _section_lines(section: SectionDifference, *, everything: bool) -> Iterator[Line]:
    yield from _fields(section.image, 1, everything=True)
    # What the settings say is not told again by what follows from them, unless the image has its share.
    yield from _fields(section.settings, 1, everything=everything)
    if not section.settings or section.image or everything:
        yield from _fields(section.runtime, 1, everything=everything)
    if section.state != "changed" and not everything:
        return
    if section.packages:
        yield Line("#", 1, "packages")
        yield from _capped(section.packages, _package, 2, "package", everything=everything)
    if section.files:
        yield Line("#", 1, "files")
        yield from _capped(section.files, _file, 2, "file", everything=everything)


def _capped(
    several: Sequence[Any], line: Callable[[Any, int], Line], depth: int, noun: str, *, everything: bool
) -> Iterator[Line]:
    # One line more says as much as that there is one more.
    shown = several if everything or len(several) <= MOST_FILES + 1 else several[:MOST_FILES]
    yield from (line(one, depth) for one in shown)
    if len(shown) < len(several):
        yield Line(" ", depth, f"and {plural(len(several) - len(shown), f'more {noun}')} (use --all)")


def _fields(several: Sequence[Change], depth: int, *, everything: bool) -> Iterator[Line]:
    shown = several if everything or len(several) <= _MOST_FIELDS + 1 else several[:_MOST_FIELDS]
    yield from (_field(change, depth) for change in shown)
    if len(shown) < len(several):
        yield Line(" ", depth, f"and {plural(len(several) - len(shown), 'more field')} (use --all)")


def _field(change: Change, depth: int) -> Line:
    state = state_of(change.before, change.after)
    # Of one that came or went its name may say all; of one that changed it does not.
    field = change.field if state != "changed" or change.field.startswith(("capability ", "image")) else ""
    before, after = (value_text(value, field) for value in (change.before, change.after))
    said = {"added": after, "removed": before, "changed": f"{before} -> {after}"}[state]
    where = f"  ({one_line(change.where)})" if change.where else ""
    return Line(MARKS[state], depth, f"{one_line(change.field)}{': ' if said else ''}{said}{where}")


def _flag(change: Change, depth: int) -> Line:
    """A flag; of lists only what came and went."""
    before, after = (
        value.split(",") if isinstance(value, str) else [] for value in (change.before, change.after)
    )
    if max(len(before), len(after)) < 2 or not before or not after or {*before} == {*after}:
        return _field(change, depth)
    parts = [("without", [one for one in before if one not in after])]
    parts.append(("with", [one for one in after if one not in before]))
    said = "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names)
    return Line("~", depth, f"{one_line(change.field)}: {_cut(one_line(said))}")


def _word(change: Change, depth: int) -> Line:
    if change.field == "order of words":
        order = f"in another order: {one_line(str(change.before))} -> {one_line(str(change.after))}"
        return Line("~", depth, order)
    words = [one_line(str(word)) for word in (change.before, change.after) if word is not None]
    return Line(MARKS[state_of(change.before, change.after)], depth, " -> ".join(words))


def value_text(value: Any, field: str = "") -> str:
    """A value in one short line; nothing if the name of its field ends with it."""
    if value and isinstance(value, str) and (field == value or field.endswith(f" {value}")):
        return ""
    if field.startswith("capability ") and isinstance(value, list):
        return (
            "" if value == ["bounding", "effective", "inheritable", "permitted"] else f"in {', '.join(value)}"
        )
    if isinstance(value, dict):
        text = ", ".join(f"{name} {_plain(one)}" for name, one in value.items())
    elif field.startswith("image") and isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False)
    return _cut(one_line(text))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _plain(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _package(change: PackageChange, depth: int) -> Line:
    versions = [", ".join(several) for several in (change.before, change.after) if several]
    return Line(MARKS[change.state], depth, one_line(f"{change.name} {' -> '.join(versions)}".rstrip()))


def _file(change: FileChange, depth: int) -> Line:
    before, after = change.before, change.after
    path = one_line(change.path) or "(the whole file)"
    if before is None or after is None:
        one = after or before
        assert one is not None
        return Line(MARKS[change.state], depth, f"{path}  {_what(one)}")
    facts = [_fact(field, before, after) for field in change.fields]
    return Line("~", depth, f"{path}  {', '.join(facts)}")


def _what(file: File) -> str:
    if file.kind == "file":
        return human_size(file.size)
    if file.kind in ("symlink", "hardlink"):
        return f"{'->' if file.kind == 'symlink' else 'hard link to'} {one_line(file.target)}"
    return (
        file.kind if file.kind in ("directory", "fifo", "socket") else f"{file.kind} device {_device(file)}"
    )


def _device(file: File) -> str:
    return f"{file.device[0]}:{file.device[1]}"


def _fact(field: str, before: File, after: File) -> str:
    if field == "content":
        if before.size == after.size:
            return "other content"
        return (
            f"{human_size(before.size)} -> {human_size(after.size)}, {growth_text(after.size - before.size)}"
        )
    pairs = {
        "kind": (f"{before.kind} ({_what(before)})", f"{after.kind} ({_what(after)})"),
        "mode": (f"{before.mode:04o}", f"{after.mode:04o}"),
        "owner": (f"{before.uid}:{before.gid}", f"{after.uid}:{after.gid}"),
        "target": (one_line(before.target), one_line(after.target)),
        "device": (_device(before), _device(after)),
        "attributes": (_names(before), _names(after)),
        "time": (_time(before), _time(after)),
    }
    one, other = pairs[field]
    return f"{field} {one} -> {other}"


def _names(file: File) -> str:
    return one_line(", ".join(name for name, _ in file.xattrs)) or "none"


def _time(file: File) -> str:
    import time

    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(file.mtime // 1_000_000_000))
    except (ValueError, OverflowError, OSError):
        return str(file.mtime)
