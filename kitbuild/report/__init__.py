"""The only places that print a build.

Each report takes the events of kitbuild.event; what it needs is imported when it is opened, so that a build with
nothing to do imports next to nothing.

A report has told every NodeFailed in full by the time BuildError is raised, so whoever catches that one has
nothing left to print. All other errors are told by who ends the program; here they are events for programs alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

from kitbuild.errors import BuildError, ConfigErrors, KitbuildError
from kitbuild.event import BuildFinished, Event, Failed, NodeFailed, Outcome, Warned
from kitbuild.node import Node
from kitbuild.report.tally import Tally

if TYPE_CHECKING:
    from kitbuild.graph import Graph
    from kitbuild.record import Origins
    from kitbuild.report.places import Places

ReportKind = Literal["auto", "console", "lines", "json", "quiet"]

# What a config or command line that is wrong, and a build that was stopped, end with.
_REFUSED, _INTERRUPTED = 2, 130


class Report(Protocol):
    """A Reporter that has an end. It never raises: a report nobody reads falls silent."""

    def __call__(self, event: Event) -> None:
        """Takes one event."""

    def close(self) -> None:
        """Ends the report, whether the build came to its end or not; it takes no more events."""


class BuildReport:
    """Several reports as one. It may be told from any thread; each of them is told one event at a time.

    `finish` or `fail` ends it, once: what is told after BuildFinished goes nowhere.
    """

    def __init__(self, reports: Sequence[Report] = ()) -> None:
        self.reports = tuple(reports)
        self._tally = Tally()
        # Of one thread again and again: an interrupt may come while an event is told.
        self._telling = threading.RLock()
        self._began = time.monotonic()
        self._is_over = False
        self._located: Callable[[], Places] | None = None

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        with self._telling:
            if not self._is_over:
                self._tally(event)
                event = self._placed(event)
                for report in self.reports:
                    report(event)

    def locate(self, graph: Graph, origins: Callable[[], Origins]) -> None:
        """From now on nodes of `graph` that fail are told with their place in the configs."""

        def places() -> Places:
            from kitbuild.report.places import Places

            return Places(graph, origins())

        self._located = cache(places)

    def finish(self) -> None:
        """The build is done; raises KitbuildError if events for a program are lost."""
        self._end("done", 0)
        lost = next(filter(None, (getattr(report, "lost", None) for report in self.reports)), None)
        if lost is not None:
            raise KitbuildError(f"cannot write to stdout: {lost.strerror}")

    def fail(self, error: BaseException) -> None:
        """The build was ended by `error`."""
        if isinstance(error, KeyboardInterrupt):
            self._end("interrupted", _INTERRUPTED)
            return
        mistakes = error.errors if isinstance(error, ConfigErrors) else (error,)
        for mistake in mistakes:
            if isinstance(mistake, Exception) and not isinstance(mistake, BuildError):
                self(Failed(mistake))
        status = error.exit_status if isinstance(error, KitbuildError) else 1
        self._end("refused" if status == _REFUSED else "failed", status)

    def cached(self, nodes: Iterable[Node]) -> int:
        """How many of `nodes` had their result in a cache."""
        return self._tally.cached(nodes)

    def _placed(self, event: Event) -> Event:
        if self._located is None or not isinstance(event, NodeFailed):
            return event
        return event._replace(error=self._located().placed(event.node, event.error))

    def _end(self, outcome: Outcome, status: int) -> None:
        with self._telling:
            seconds = round(time.monotonic() - self._began, 6)
            self(BuildFinished(outcome, status, self._tally.counts(), seconds))
            self._is_over = True
            for report in self.reports:
                report.close()


def open_report(
    kind: ReportKind, *, verbosity: int, stream: TextIO, profile: Path | None = None
) -> BuildReport:
    """A report of this kind onto `stream`.

    `auto` is `console` on a terminal and `lines` everywhere else, and where CI is set. `verbosity` is 0 for
    failures, warnings, outputs and a closing line, 1 for each node with the reason it runs, 2 for what it gave.
    A `profile` is written to that file besides; raises KitbuildError if it cannot be.
    """
    report = BuildReport()
    reports = [_opened(kind, verbosity=verbosity, stream=stream)]
    if os.environ.get("GITHUB_STEP_SUMMARY"):
        from kitbuild.report.summary import SummaryReport

        reports.append(SummaryReport(Path(os.environ["GITHUB_STEP_SUMMARY"])))
    if profile is not None:
        from kitbuild.report.profile import ProfileReport

        # The first to hear of the end: what it has to say of that, the others still tell.
        reports.insert(0, ProfileReport(profile, warn=lambda message: report(Warned(message))))
    report.reports = tuple(reports)
    return report


def _opened(kind: ReportKind, *, verbosity: int, stream: TextIO) -> Report:
    if kind == "json":
        from kitbuild.report.json import JsonReport

        return JsonReport(stream)
    if kind == "console" or (kind == "auto" and _is_live(stream)):
        from kitbuild.report.console import ConsoleReport

        return ConsoleReport(stream, verbosity=verbosity)
    from kitbuild.report.lines import LinesReport, QuietReport

    dialect = None
    if os.environ.get("GITHUB_ACTIONS") or os.environ.get("GITLAB_CI"):
        from kitbuild.report.ci import dialect_of

        dialect = dialect_of()
    if kind == "quiet":
        return QuietReport(stream, dialect=dialect)
    return LinesReport(stream, verbosity=verbosity, dialect=dialect)


def _is_live(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
