"""The summary of a GitHub Actions job: the outputs of a build, as a table in Markdown."""

from __future__ import annotations

import html
from contextlib import suppress
from pathlib import Path

from kitbuild.event import BuildFinished, Event, Failed, NodeFailed, OutputWritten
from kitbuild.report.text import closing_line, human_seconds, human_size, printable

# More errors than a reader takes in stand in the log.
_MOST_ERRORS = 20


class SummaryReport:
    """Appends to the file at `path` once the build is over; a summary that cannot be written is left out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outputs: list[OutputWritten] = []
        self._errors: list[str] = []

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        match event:
            case OutputWritten():
                self._outputs.append(event)
            case NodeFailed(node, error):
                self._errors.append(f"{node.name}: {error.message}")
            case Failed(error):
                self._errors.append(str(error))
            case BuildFinished():
                self._write(event)

    def close(self) -> None:
        """Nothing: it is written when the build finishes."""

    def _write(self, end: BuildFinished) -> None:
        lines = [f"### kitbuild: {end.outcome}", ""]
        if self._outputs:
            lines += ["| output | size | sha256 | time |", "|---|---:|---|---:|"]
            lines += [_row(output) for output in self._outputs]
            lines.append("")
        lines += [f"- {_text(error)}" for error in self._errors[:_MOST_ERRORS]]
        if len(self._errors) > _MOST_ERRORS:
            lines.append(f"- and {len(self._errors) - _MOST_ERRORS} more")
        lines += ["", *([closing_line(end), ""] if end.counts.nodes else ())]
        with suppress(OSError), self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write("\n".join(lines))


def _row(output: OutputWritten) -> str:
    how = human_seconds(output.seconds) if output.fresh else "up to date"
    size, digest = human_size(output.digest.size), output.digest.hex
    return f"| <code>{_text(str(output.path))}</code> | {size} | <code>{digest}</code> | {how} |"


def _text(text: str) -> str:
    """Text from anywhere as one line that Markdown takes for text."""
    line = " ".join(printable(text).split())
    escaped = html.escape(line, quote=False)
    return "".join(f"&#{ord(sign)};" if sign in "|`*_[]\\~#!" else sign for sign in escaped)
