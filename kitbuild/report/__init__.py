"""The only places that print a build.

Each report takes the events of kitbuild.event and is closed at the end; what it needs is imported when it is
opened, so that a build with nothing to do imports next to nothing.

A report has told every NodeFailed in full by the time BuildError is raised, so whoever catches that one has
nothing left to print.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Protocol, TextIO

from kitbuild.event import Event

ReportKind = Literal["auto", "console", "lines", "json", "quiet"]


class Report(Protocol):
    """A Reporter that has an end. It never raises: a report nobody reads falls silent."""

    def __call__(self, event: Event) -> None:
        """Takes one event."""

    def close(self) -> None:
        """Ends the report, whether the build came to its end or not; it takes no more events."""


def open_report(kind: ReportKind, *, verbosity: int, stream: TextIO, profile: Path | None = None) -> Report:
    """A report of this kind onto `stream`.

    `auto` is `console` on a terminal and `lines` everywhere else, and where CI is set. `verbosity` is 0 for
    failures, warnings, outputs and a closing line, 1 for each node with the reason it runs, 2 for what it gave.
    """
    if kind == "json":
        from kitbuild.report.json import JsonReport

        return JsonReport(stream)
    from kitbuild.report.lines import LinesReport, QuietReport

    if kind == "quiet":
        return QuietReport(stream)
    if kind == "console" or (kind == "auto" and _is_live(stream)):
        from kitbuild.report.console import ConsoleReport

        return ConsoleReport(stream, verbosity=verbosity)
    return LinesReport(stream, verbosity=verbosity)


def _is_live(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
