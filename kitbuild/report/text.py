"""How values are written for people, the same in every report."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from kitbuild.event import BuildFinished

# Less is not worth a word.
_LEAST_SAVED_SECONDS = 0.1


def human_size(size: int) -> str:
    """`size` bytes in binary units, three digits or so: `512 B`, `1.5 KiB`, `250 MiB`."""
    if size < 1024:
        return f"{size} B"
    amount, unit = size / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        # What would be written with four digits belongs to the next unit.
        if amount < 999.5:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if amount >= 99.95 else f"{amount:.1f} {unit}"


def human_seconds(seconds: float) -> str:
    """A duration: `0.42 s`, `12.3 s`, `2 min 5 s`."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def amount(done: int, size: int) -> str:
    """How much of `size` bytes: `12.5 of 300 MiB`; just how much if `size` is 0."""
    if not size:
        return human_size(done)
    left, unit = human_size(done).split()
    whole = human_size(size)
    return f"{left} of {whole}" if whole.endswith(f" {unit}") else f"{left} {unit} of {whole}"


def plural(count: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def closing_line(event: BuildFinished) -> str:
    """How a build ended, in one line: `41 nodes: 3 run (2 elsewhere), 38 cached (3 remote; 12.3 s saved), 0.42 s`."""
    counts = event.counts
    parts = [f"{counts.ran + counts.sent} run" + (f" ({counts.sent} elsewhere)" if counts.sent else "")]
    notes = [f"{counts.far} remote"] if counts.far else []
    if counts.saved >= _LEAST_SAVED_SECONDS:
        notes.append(f"{human_seconds(counts.saved)} saved")
    parts.append(f"{counts.near + counts.far} cached" + (f" ({'; '.join(notes)})" if notes else ""))
    if counts.failed:
        parts.append(f"{counts.failed} failed")
    if counts.left:
        parts.append(f"{counts.left} left")
    return f"{plural(counts.nodes, 'node')}: {', '.join(parts)}, {human_seconds(event.seconds)}"


def printable(text: str) -> str:
    """`text` without anything a terminal would obey: names in images and configs are anybody's.

    Control characters and bytes that are no UTF-8 become escapes such as `\\x1b`; tabs and newlines stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_harmless(character) else _escaped(character) for character in text)


def one_line(text: str) -> str:
    """`text` as `printable` gives it, on one line: a name with a line break in it begins no other.

    Machines that build for others obey lines that begin with `::`.
    """
    return printable(text).replace("\n", "\\n")


def encodable(text: str, encoding: str) -> str:
    """`text` with what `encoding` cannot write replaced by escapes."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def use_color(stream: TextIO) -> bool:
    """Whether to colour what goes to `stream`: a terminal that can, unless the environment says otherwise.

    NO_COLOR forbids it, FORCE_COLOR and CLICOLOR_FORCE demand it, in this order; empty and `0` (but of NO_COLOR)
    count as not set.
    """
    environment = os.environ
    if environment.get("NO_COLOR"):
        return False
    if any(environment.get(name, "") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return stream.isatty() and environment.get("TERM") != "dumb"


def painted(text: str, style: str, *, color: bool) -> str:
    """`text` in an ANSI style (`1;31`: bold red) if `color`."""
    return f"\x1b[{style}m{text}\x1b[0m" if color else text


def _is_harmless(character: str) -> bool:
    # `isprintable` is false for every space but the ASCII one; these two are common in what people write.
    return character in "\t\n" or character.isprintable() or character in "\u00a0\u3000"


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
