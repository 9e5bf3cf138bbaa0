"""A report for a terminal: the plain lines, and below them what is running now, redrawn in place."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from kitbuild.event import BuildFinished, Event
from kitbuild.report.lines import LinesReport
from kitbuild.report.screen import Screen
from kitbuild.report.text import amount, human_seconds, human_size, plural, use_color

if TYPE_CHECKING:
    from rich.text import Text

    from kitbuild.report.activity import Activity, Task

# More running nodes than this are only counted: the picture must leave room for what is above it.
_MOST_SHOWN = 8
_REDRAW_SECONDS = 0.125
# A build that is over sooner shows nothing, and does without rich.
_FIRST_SECONDS = 0.2
_BAR_WIDTH = 24
_NARROW = 60
# Wider lines are harder to read, and to break anew when a window gets narrower.
_MOST_COLUMNS = 100


class ConsoleReport(LinesReport):
    """The lines of LinesReport, and live progress while anything runs.

    rich is imported by the thread that draws, so a build with nothing to do never pays for it.
    """

    # A line with all of them is broken by most windows; who needs them has `--json`, or a log.
    _digits = 12

    def __init__(self, stream: TextIO, *, verbosity: int) -> None:
        super().__init__(stream, verbosity=verbosity)
        self._screen = Screen(self._channel)
        self._paint: Callable[[Text], str] | None = None
        self._has_color = use_color(stream)

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, BuildFinished):
            self._screen.close()
        super().__call__(event)

    def write(self, text: str) -> None:
        """Writes `text` above the picture."""
        if self._activity is None:
            super().write(text)
        else:
            self._screen.above(text)

    def close(self) -> None:
        """Takes the picture away."""
        super().close()
        self._screen.close()

    def watch(self) -> None:
        """Draws until the report is closed."""
        seconds = _FIRST_SECONDS
        while not self._ended.wait(seconds):
            self.redraw()
            seconds = _REDRAW_SECONDS

    def redraw(self) -> None:
        """Draws what goes on now."""
        activity = self._activity
        if activity is None:
            return
        if activity.is_idle():
            self._screen.draw(())
            return
        columns, rows = self._screen.size()
        # The last column stays free: what is written there makes some terminals begin a new line.
        lines = picture(
            activity, width=min(columns - 1, _MOST_COLUMNS), height=rows - 1, fancy=self._is_fancy()
        )
        self._screen.draw([self._painted(line) for line in lines])

    def _is_fancy(self) -> bool:
        return self._channel.encoding.lower().replace("-", "") == "utf8"

    def _painted(self, line: Text) -> str:
        if self._paint is None:
            from rich.console import Console

            console = Console(
                file=io.StringIO(),
                force_terminal=self._has_color,
                color_system="standard" if self._has_color else None,
                width=_MOST_COLUMNS + 1,
                legacy_windows=False,
            )

            def paint(line: Text) -> str:
                with console.capture() as painted:
                    console.print(line, end="", soft_wrap=True, highlight=False)
                return painted.get()

            self._paint = paint
        return self._paint(line)


def picture(activity: Activity, *, width: int, height: int, fancy: bool = True) -> list[Text]:
    """What goes on, as at most `height` lines of at most `width` cells: a line a task, and how far all is."""
    now = activity.clock()
    tasks = list(activity.running.values())
    if activity.task is not None:
        tasks.append(activity.task)
    room = max(0, min(_MOST_SHOWN, height - 1))
    shown = tasks if len(tasks) <= room else tasks[: max(0, room - 1)]
    lines = [_task(task, now, width, fancy) for task in shown]
    if len(tasks) > len(shown) and room:
        lines.append(_cut(f"  and {len(tasks) - len(shown)} more", width, "dim", fancy))
    if activity.nodes:
        lines.append(_overall(activity, width, fancy))
    return lines[-height:] if height > 0 else []


def _task(task: Task, now: float, width: int, fancy: bool) -> Text:

    facts = []
    if task.elsewhere:
        facts.append("elsewhere")
    if task.done:
        facts.append(amount(task.done, task.size))
        if task.rate and width >= _NARROW:
            facts.append(f"{human_size(int(task.rate))}/s")
    left = task.seconds_left() if task.done else None
    facts.append(human_seconds(now - task.started) if left is None else f"{_rough(left)} left")
    stats = "  ".join(facts)
    text = _cut(f"  {task.title}", max(8, width - len(stats) - 2), "", fancy)
    text.append(" " * max(2, width - text.cell_len - len(stats)))
    text.append(stats, "cyan")
    return _fitting(text, width, fancy)


def _overall(activity: Activity, width: int, fancy: bool) -> Text:
    from rich.text import Text

    counts = activity.counts()
    done = min(activity.nodes, activity.nodes - counts["left"])
    text = Text("  ")
    if width >= _NARROW:
        cells = _BAR_WIDTH * done // activity.nodes
        full, empty = ("━", "─") if fancy else ("#", "-")
        text.append(full * cells, "green").append(empty * (_BAR_WIDTH - cells), "dim").append("  ")
    pieces = [f"{done} of {plural(activity.nodes, 'node')}"]
    pieces.append(", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "left"))
    seconds = activity.seconds_left()
    if seconds is not None:
        pieces.append(f"about {_rough(seconds)} left")
    if download := activity.downloading():
        pieces.append(f"remote cache: {human_size(download.done)}, {human_size(int(download.rate))}/s")
    return _joined(text, pieces, width, fancy)


def _joined(text: Text, pieces: Sequence[str], width: int, fancy: bool) -> Text:
    """As many of the pieces as fit; the first at least."""
    for number, piece in enumerate(pieces):
        gap = "  " if number else ""
        if number and text.cell_len + len(gap + piece) > width:
            break
        text.append(gap + piece, "bold" if not number else "")
    return _fitting(text, width, fancy)


def _cut(text: str, width: int, style: str, fancy: bool) -> Text:
    from rich.text import Text

    return _fitting(Text(text.replace("\n", " ").replace("\t", " "), style=style), width, fancy)


def _fitting(text: Text, width: int, fancy: bool) -> Text:
    text.truncate(max(1, width), overflow="ellipsis" if fancy else "crop")
    text.end = ""
    return text


def _rough(seconds: float) -> str:
    """A guess, which has no hundredths: `5 s`, `2 min`."""
    return f"{max(1, round(seconds))} s" if seconds < 99 else f"{round(seconds / 60)} min"
