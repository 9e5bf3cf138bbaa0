"""A report for a terminal: the plain lines, and below them what is running now, redrawn in place."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, TextIO, cast

from kitbuild.event import (
    BuildFinished,
    BuildStarted,
    Event,
    FetchStarted,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeStarted,
    OutputStarted,
    OutputWritten,
)
from kitbuild.node import Node
from kitbuild.report.lines import LinesReport
from kitbuild.report.text import human_seconds, human_size, plural, printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

# More running nodes than this are only counted: the picture must fit above a prompt.
_MOST_SHOWN = 8
_REDRAWS_PER_SECOND = 8
# An output smaller than this is in place before anybody wonders.
_LARGE_BYTES = 1 << 28
# Networks are slower than disks.
_LARGE_FETCH_BYTES = 1 << 24


class _Progress(NamedTuple):
    """What the picture shows. Replaced as a whole, never changed: rich draws it from a thread of its own."""

    total: int = 0
    done: int = 0
    running: tuple[tuple[Node, float], ...] = ()
    # What is being written, and since when.
    writing: tuple[str, float] | None = None

    def started(self, node: Node, now: float) -> _Progress:
        return self._replace(running=(*self._without(node), (node, now)))

    def ended(self, node: Node) -> _Progress:
        return self._replace(done=self.done + 1, running=self._without(node))

    def _without(self, node: Node) -> tuple[tuple[Node, float], ...]:
        return tuple(entry for entry in self.running if entry[0] is not node)


class ConsoleReport(LinesReport):
    """The lines of LinesReport, and live progress from the first node that runs until the build is over.

    rich is imported when that node starts, so a build with nothing to do never pays for it.
    """

    def __init__(self, stream: TextIO, *, verbosity: int) -> None:
        super().__init__(stream, verbosity=verbosity)
        self._progress = _Progress()
        self._live: Live | None = None

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        match event:
            case BuildStarted(nodes):
                self._progress = _Progress(nodes)
            case NodeCached(node) | NodeFailed(node) | NodeFinished(node):
                self._progress = self._progress.ended(node)
            case NodeStarted(node, _):
                self._progress = self._progress.started(node, time.monotonic())
                self._show()
            case BuildFinished() | OutputWritten():
                self._hide()
            case FetchStarted(_, size) if size >= _LARGE_FETCH_BYTES:
                text = f"fetching up to {human_size(size)} from the remote cache"
                self._progress = self._progress._replace(writing=(text, time.monotonic()))
                self._show()
            case OutputStarted(path, size) if size >= _LARGE_BYTES:
                text = f"writing {path}, {human_size(size)}"
                self._progress = self._progress._replace(writing=(text, time.monotonic()))
                self._show()
        super().__call__(event)

    def write(self, text: str) -> None:
        """Writes `text` above the picture."""
        if self._live is None:
            super().write(text)
            return
        from rich.text import Text

        self._live.console.print(Text.from_ansi(text), soft_wrap=True)

    def close(self) -> None:
        """Takes the picture away and writes the closing line."""
        self._hide()
        super().close()

    def _show(self) -> None:
        if self._live is not None:
            return
        from rich.console import Console
        from rich.live import Live

        self._live = Live(
            # Through the channel: at a broken pipe rich would end the process.
            console=Console(file=cast("TextIO", self._channel)),
            get_renderable=self._picture,
            refresh_per_second=_REDRAWS_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def _hide(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        progress, now = self._progress, time.monotonic()
        if progress.writing is not None:
            text, started = progress.writing
            return Text(f"  {printable(text)}  {human_seconds(now - started)}", no_wrap=True)
        lines = [
            Text(
                f"  {printable(node.name)}  {human_seconds(now - started)}", no_wrap=True, overflow="ellipsis"
            )
            for node, started in progress.running[:_MOST_SHOWN]
        ]
        if len(progress.running) > _MOST_SHOWN:
            lines.append(Text(f"  and {len(progress.running) - _MOST_SHOWN} more"))
        # A node made again counts twice; the bar must not run over its end.
        done = min(progress.done, progress.total)
        overall = Table.grid(padding=(0, 1))
        overall.add_row(
            ProgressBar(total=progress.total or None, completed=done, width=30),
            f"{done} of {plural(progress.total, 'node')}",
        )
        return Group(*lines, overall)
