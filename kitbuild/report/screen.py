"""Screen: a few lines at the end of a terminal that are drawn over and over, below text that stays.

Between two drawings the cursor waits where the picture begins. A terminal that is made narrower breaks the lines of
the picture anew, but takes the cursor along with its first one: drawing from there and erasing what is below leaves
no line behind, whatever the size was. Nothing has to be given back to the terminal at the end, not even by a program
that is killed. Source: ECMA-48; "Synchronized Output" (private mode 2026), which others ignore.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from kitbuild.report.channel import Channel

_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_REST_OF_LINE, _BELOW = "\x1b[K", "\x1b[J"


class Screen:
    """Writes to one terminal, from several threads."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.RLock()
        self._picture: tuple[str, ...] = ()
        self._is_closed = False

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal now."""
        try:
            columns, lines = os.get_terminal_size(self._channel.fileno())
        except (OSError, ValueError):
            columns = lines = 0
        # Some terminals say 0, when nobody told them.
        return columns or 80, lines or 24

    def draw(self, lines: Sequence[str]) -> None:
        """Replaces the picture; a line is narrower than the screen, and all of them are fewer than its lines."""
        with self._lock:
            if not self._is_closed and (lines or self._picture):
                self._picture = tuple(lines)
                self._write(self._drawn())

    def above(self, text: str) -> None:
        """Writes lines that stay, above the picture."""
        with self._lock:
            stays = "".join(f"{line}{_REST_OF_LINE}\n" for line in text.split("\n"))
            self._write(stays if not self._picture else f"{_BELOW}{stays}{self._drawn()}")

    def close(self) -> None:
        """Takes the picture away; there is none any more."""
        with self._lock:
            self.draw(())
            self._is_closed = True

    def _drawn(self) -> str:
        lines = f"{_REST_OF_LINE}\n".join(self._picture)
        up = f"\x1b[{len(self._picture) - 1}A" if len(self._picture) > 1 else ""
        return f"\r{lines}{_BELOW}{up}\r"

    def _write(self, text: str) -> None:
        self._channel.write(f"{_BEGIN}{text}{_END}")
        self._channel.flush()
