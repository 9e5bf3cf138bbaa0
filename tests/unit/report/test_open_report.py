from __future__ import annotations

import io
import sys

import pytest

from kitbuild.report import ReportKind, open_report
from kitbuild.report.console import ConsoleReport
from kitbuild.report.json import JsonReport
from kitbuild.report.lines import LinesReport, QuietReport
from tests.unit.report import events
from tests.unit.report.events import Terminal, tell


@pytest.fixture(autouse=True)
def _terminal_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("kind", "on_a_terminal", "expected"),
    [
        pytest.param("auto", True, ConsoleReport, id="terminal"),
        pytest.param("auto", False, LinesReport, id="pipe"),
        pytest.param("lines", True, LinesReport, id="lines on a terminal"),
        pytest.param("console", False, ConsoleReport, id="console on a pipe"),
        pytest.param("json", True, JsonReport, id="json"),
        pytest.param("quiet", True, QuietReport, id="quiet"),
    ],
)
def test_kind_of_report_follows_the_stream_unless_named(
    kind: ReportKind, on_a_terminal: bool, expected: type[object]
) -> None:
    stream = Terminal() if on_a_terminal else io.StringIO()

    report = open_report(kind, verbosity=0, stream=stream)

    assert expected is type(report)


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_terminal_nobody_looks_at_gets_lines(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)

    report = open_report("auto", verbosity=0, stream=Terminal())

    assert type(report) is LinesReport


@pytest.mark.parametrize("kind", ["auto", "lines", "json", "quiet"])
def test_pipe_never_needs_rich(kind: ReportKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    stream = io.StringIO()

    report = open_report(kind, verbosity=2, stream=stream)
    tell(report, *events.ALL)
    report.close()

    assert "a file too large" in stream.getvalue()


def test_verbosity_reaches_the_report() -> None:
    stream = io.StringIO()

    open_report("lines", verbosity=1, stream=stream)(events.CACHED)

    assert stream.getvalue() == "cached: kernel: image\n"
