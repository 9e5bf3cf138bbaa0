"""A report as plain lines: for logs, pipes and machines that build."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TextIO

from kitbuild.event import (
    BuildFinished,
    Event,
    FetchStarted,
    KeepStarted,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodesStarted,
    NodeStarted,
    OutputStarted,
    OutputWritten,
    RemoteUsed,
    RunsExpected,
    Warned,
)
from kitbuild.report.channel import Channel
from kitbuild.report.errors import format_failure, format_warning
from kitbuild.report.text import (
    amount,
    closing_line,
    human_seconds,
    human_size,
    painted,
    plural,
    printable,
    use_color,
)

if TYPE_CHECKING:
    from kitbuild.report.activity import Activity, Task
    from kitbuild.report.ci import Dialect

# Whoever reads a log takes a build for hung that says nothing for longer.
_SILENCE_SECONDS = 30.0
_MOST_NAMED = 3


class LinesReport:
    """Writes each event worth telling as a line or a few, and how the build ended.

    While something goes on there is a line every half minute at least. With a `dialect` that has folds each node that
    runs is told of in one, whatever the verbosity, until one fails: nothing is to stand below the error but the end.
    """

    # Digits of digests; 64 are all.
    _digits = 64

    def __init__(self, stream: TextIO, *, verbosity: int, dialect: Dialect | None = None) -> None:
        self._channel = Channel(stream)
        self._verbosity = verbosity
        self._color = use_color(stream)
        self._dialect = dialect
        self._writing = threading.RLock()
        self._activity: Activity | None = None
        # What was told before there was anything to follow.
        self._before: list[Event] = []
        self._spoke = time.monotonic()
        self._ended = threading.Event()
        self._folds = 0
        self._is_folded = False
        self._has_failed = False

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        self._follow(event)
        if isinstance(event, (NodesStarted, NodeFailed)):
            self._has_failed = isinstance(event, NodeFailed)
        folds = self._dialect is not None and self._dialect.folds and not self._has_failed
        if folds and isinstance(event, NodeStarted):
            self._write_folded(text_of(event, verbosity=1, color=self._color) or "")
            return
        text = text_of(event, verbosity=self._verbosity, color=self._color, digits=self._digits)
        if text is None:
            return
        if folds and isinstance(event, (NodeCached, NodeFinished)):
            self._write_folded(text)
        else:
            self._unfold()
            self.write(self._marked(event, text))

    def write(self, text: str) -> None:
        """Writes `text` and a newline."""
        with self._writing:
            self._spoke = time.monotonic()
            self._channel.write(f"{text}\n")
            self._channel.flush()

    def close(self) -> None:
        """Ends what is open."""
        self._ended.set()
        self._unfold()

    def tell_life(self) -> None:
        """Says what goes on, if nothing was said for long."""
        activity = self._activity
        with self._writing:
            is_silent = time.monotonic() - self._spoke >= _SILENCE_SECONDS
            if is_silent and activity is not None and not self._ended.is_set() and not activity.is_idle():
                text = self._plain(life(activity))
                (self._write_folded if self._is_folded else self.write)(text)

    # -- folds and marks

    def _plain(self, text: str) -> str:
        return self._dialect.plain(text) if self._dialect else text

    def _write_folded(self, text: str) -> None:
        assert self._dialect is not None
        with self._writing:
            if not self._is_folded:
                self._is_folded = True
                self._folds += 1
                self.write(self._dialect.fold("kitbuild: nodes that run", self._folds))
            self.write(self._plain(text))

    def _unfold(self) -> None:
        with self._writing:
            if self._is_folded and self._dialect is not None:
                self._is_folded = False
                self.write(self._dialect.unfold(self._folds))

    def _marked(self, event: Event, text: str) -> str:
        if self._dialect is None:
            return text
        mark = ""
        match event:
            case NodeFailed(node, error):
                mark = self._dialect.mark("error", f"{node.name}: {error.message}", error.where, error.hint)
            case Warned(message, node):
                message = f"{node.name}: {message}" if node else message
                mark = self._dialect.mark("warning", message, None, None)
        return "\n".join(filter(None, (self._dialect.plain(text), mark)))

    # -- life

    def _follow(self, event: Event) -> None:
        """Keeps an eye on what goes on from when there is anything; a build with nothing to do does without."""
        if self._activity is not None:
            self._activity(event)
            return
        if isinstance(event, (NodesStarted, NodeCached, RunsExpected)):
            self._before.append(event)
        if isinstance(event, (NodeStarted, FetchStarted, KeepStarted, OutputStarted)):
            from kitbuild.report.activity import Activity

            activity = Activity()
            for earlier in (*self._before, event):
                activity(earlier)
            self._before.clear()
            self._activity = activity
            threading.Thread(target=self.watch, name="kitbuild-report", daemon=True).start()

    def watch(self) -> None:
        """Runs in a thread of its own, from when something goes on until the report is closed."""
        while not self._ended.wait(max(1.0, self._spoke + _SILENCE_SECONDS - time.monotonic())):
            self.tell_life()


class QuietReport(LinesReport):
    """Tells failures and nothing else."""

    def __init__(self, stream: TextIO, *, dialect: Dialect | None = None) -> None:
        super().__init__(stream, verbosity=0, dialect=dialect)

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, NodeFailed):
            super().__call__(event)


def text_of(event: Event, *, verbosity: int, color: bool, digits: int = 64) -> str | None:
    """The lines for an event, None if it is not worth telling at this verbosity.

    Digests of outputs have so many `digits`. The verbosities are
    0: failures, warnings, outputs and the end; 1: also what is cached and what runs and why; 2: also what nodes gave.
    """
    match event:
        case NodeFailed(node, error):
            return format_failure(node.name, error, color=color)
        case Warned(message, node):
            return format_warning(message, node.name if node else "", color=color)
        case OutputWritten():
            return _output(event, color, digits)
        case RemoteUsed():
            return _remote(event)
        case BuildFinished(outcome, _, counts):
            # A build that never came to its nodes, or was stopped, has nothing to count.
            return closing_line(event) if counts.nodes and outcome in ("done", "failed") else None
        case _ if verbosity < 1:
            return None
        case NodeCached(node):
            return f"{painted('cached:', '32', color=color)} {printable(node.name)}"
        case NodeStarted(node, why):
            return f"{painted('run:', '33', color=color)} {printable(f'{node.name}: ' + '; '.join(why))}"
        case NodeFinished() if verbosity > 1:
            return _finished(event)
    return None


def life(activity: Activity) -> str:
    """What goes on, in one line: `still running: IMAGE: layer ...: tar, 120 of 300 MiB, 45 s; and 2 more`."""
    now = activity.clock()
    tasks = list(activity.running.values())
    if activity.task is not None:
        return f"still going on: {_so_far(activity.task, now)}"
    named = [_so_far(task, now) for task in tasks[:_MOST_NAMED]]
    if len(tasks) > _MOST_NAMED:
        named.append(f"and {len(tasks) - _MOST_NAMED} more")
    counts = activity.counts()
    return f"still running: {'; '.join(named)} ({counts['left']} of {plural(activity.nodes, 'node')} left)"


def _so_far(task: Task, now: float) -> str:
    done = f", {amount(task.done, task.size)}" if task.done else ""
    return f"{task.title}{done}, {human_seconds(now - task.started)}"


def _output(event: OutputWritten, color: bool, digits: int) -> str:
    how = human_seconds(event.seconds) if event.fresh else "up to date"
    path = painted(printable(str(event.path)), "1", color=color)
    parts = [path, human_size(event.digest.size), f"sha256:{event.digest.hex[:digits]}"]
    if event.fresh and event.cached:
        every = "all" if event.cached == event.nodes else f"{event.cached} of"
        parts.append(f"{every} {plural(event.nodes, 'node')} cached")
    return "  ".join([*parts, how])


def _finished(event: NodeFinished) -> str:
    artifact = event.artifact
    made = f"{artifact.kind} {human_size(artifact.digest.size)} sha256:{artifact.digest.hex[:12]}"
    return f"done: {printable(event.node.name)}: {made}, {human_seconds(event.seconds)}"


def _remote(event: RemoteUsed) -> str | None:
    """What was taken from and kept in a remote cache; nothing if that is nothing."""
    counts = []
    if event.asked or event.blobs:
        counts.append(f"took {event.results} of {plural(event.asked, 'result')}, {human_size(event.bytes)}")
    if event.kept_results or event.kept_blobs:
        counts.append(f"kept {plural(event.kept_results, 'result')}, {human_size(event.kept_bytes)}")
    if event.left:
        counts.append(f"{plural(event.left, 'result')} not kept")
    return f"{printable(event.place)}  {'; '.join(counts)}" if counts else None
