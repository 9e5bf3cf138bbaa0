"""A report as plain lines: for logs, pipes and machines that build."""

from __future__ import annotations

from typing import TextIO

from kitbuild.event import (
    BuildFinished,
    Event,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeStarted,
    OutputWritten,
    RemoteUsed,
    Warned,
)
from kitbuild.report.channel import Channel
from kitbuild.report.errors import format_failure, format_warning
from kitbuild.report.text import (
    human_seconds,
    human_size,
    painted,
    plural,
    printable,
    use_color,
)


class LinesReport:
    """Writes each event worth telling as a line or a few, and how the build ended when it is closed."""

    def __init__(self, stream: TextIO, *, verbosity: int) -> None:
        self._channel = Channel(stream)
        self._verbosity = verbosity
        self._color = use_color(stream)
        self._finished: BuildFinished | None = None

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, BuildFinished):
            # Outputs are written after the nodes are done, and the closing line closes.
            self._finished = event
            return
        text = text_of(event, verbosity=self._verbosity, color=self._color)
        if text is not None:
            self.write(text)

    def write(self, text: str) -> None:
        """Writes `text` and a newline."""
        self._channel.write(f"{text}\n")
        self._channel.flush()

    def close(self) -> None:
        """Writes the closing line of a build that came to its end."""
        if self._finished is not None:
            self.write(closing_line(self._finished))
            self._finished = None


class QuietReport(LinesReport):
    """Tells failures and nothing else."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, verbosity=0)

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, NodeFailed):
            super().__call__(event)


def text_of(event: Event, *, verbosity: int, color: bool) -> str | None:
    """The lines for an event, None if it is not worth telling at this verbosity.

    0: failures, warnings and outputs; 1: also what is cached and what runs and why; 2: also what nodes gave.
    """
    match event:
        case NodeFailed(node, error):
            return format_failure(node.name, error, color=color)
        case Warned(message, node):
            return format_warning(message, node.name if node else "", color=color)
        case OutputWritten():
            return _output(event, color)
        case RemoteUsed():
            return _remote(event)
        case _ if verbosity < 1:
            return None
        case NodeCached(node):
            return f"{painted('cached:', '32', color=color)} {printable(node.name)}"
        case NodeStarted(node, why):
            return f"{painted('run:', '33', color=color)} {printable(f'{node.name}: ' + '; '.join(why))}"
        case NodeFinished() if verbosity > 1:
            return _finished(event)
    return None


def closing_line(event: BuildFinished) -> str:
    """How the build ended, in one line."""
    nodes = event.ran + event.cached + event.failed + event.left
    counts = [f"{event.ran} run", f"{event.cached} cached"]
    if event.failed:
        counts.append(f"{event.failed} failed")
    if event.left:
        counts.append(f"{event.left} left")
    return f"{plural(nodes, 'node')}: {', '.join(counts)}, {human_seconds(event.seconds)}"


def _output(event: OutputWritten, color: bool) -> str:
    how = human_seconds(event.seconds) if event.fresh else "up to date"
    path = painted(printable(str(event.path)), "1", color=color)
    return f"{path}  {human_size(event.digest.size)}  {event.digest.oci}  {how}"


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
