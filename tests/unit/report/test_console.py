from __future__ import annotations

import re
import sys

import pytest

from kitbuild.event import NodeStarted
from kitbuild.node import Node
from kitbuild.report.console import ConsoleReport
from kitbuild.rule import NoOptions
from tests.unit.report import events
from tests.unit.report.events import BrokenTerminal, Terminal, tell

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture(autouse=True)
def _terminal_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def without_styles(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_running_nodes_and_progress_are_drawn() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)

    tell(report, events.STARTED, events.CACHED, events.RUN)
    report.close()

    text = without_styles(stream.getvalue())
    assert "services[0] redis: segment  0.0" in text
    assert "1 of 2 nodes" in text


def test_large_output_is_drawn_while_it_is_written() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)

    tell(report, events.STARTED, events.RUN, events.DONE, events.FINISHED, events.WRITING, events.WRITTEN)
    report.close()

    text = without_styles(stream.getvalue())
    assert "writing out/disk.raw, 100 GiB  0.0" in text
    assert text.index("writing out/disk.raw") < text.index("linuxkit-initrd.img")


def test_cursor_is_given_back() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)
    tell(report, events.STARTED, events.RUN)

    report.close()

    assert stream.getvalue().count(HIDE_CURSOR) == stream.getvalue().count(SHOW_CURSOR) == 1
    assert stream.getvalue().rindex(SHOW_CURSOR) > stream.getvalue().rindex(HIDE_CURSOR)


def test_lines_are_written_above_the_picture_and_stay() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=1)

    tell(report, *events.ALL)
    report.close()

    text = without_styles(stream.getvalue())
    assert "warning: kernel: image: no kernel modules\n" in text
    assert "error: x.yml:3:5: services[0] redis: segment: a file too large\n" in text
    assert text.endswith("2 nodes: 1 run, 1 cached, 0.42 s\n")


def test_long_line_is_not_broken() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)

    tell(report, events.STARTED, events.RUN, events.WARNED._replace(message="word " * 100 + "end"))
    report.close()

    assert "warning: " + "word " * 100 + "end\n" in without_styles(stream.getvalue())


def test_brackets_in_names_are_no_markup() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)

    tell(report, events.STARTED, events.RUN, events.WARNED._replace(message="[bold]loud[/bold] [0]"))
    report.close()

    assert "warning: [bold]loud[/bold] [0]\n" in without_styles(stream.getvalue())


def test_many_running_nodes_are_counted() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)
    nodes = [Node(f"node {number}", events.RULE, NoOptions()) for number in range(20)]

    tell(report, events.STARTED, *(NodeStarted(node, ()) for node in nodes))
    report.write("above")
    report.close()

    assert "and 12 more" in without_styles(stream.getvalue())


def test_node_that_runs_again_is_drawn_once() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)

    tell(report, events.STARTED, events.RUN, events.RUN, events.DONE, events.DONE, events.DONE)
    report.write("now")
    report.close()

    last_picture = without_styles(stream.getvalue()).rpartition("0 of 2 nodes")[2]
    assert "redis" not in last_picture
    assert "2 of 2 nodes" in last_picture


def test_build_with_nothing_to_do_does_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=1)

    tell(report, events.STARTED, events.CACHED, events.FINISHED, events.UP_TO_DATE)
    report.close()

    assert without_styles(stream.getvalue()).startswith("cached: kernel: image\n")


def test_terminal_that_was_closed_silences_the_report() -> None:
    stream = BrokenTerminal()
    report = ConsoleReport(stream, verbosity=2)

    tell(report, *events.ALL)
    report.close()

    assert stream.getvalue() == ""


def test_terminal_closed_while_a_node_runs_silences_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=2)
    tell(report, events.STARTED, events.RUN)
    written = stream.getvalue()

    monkeypatch.setattr(stream, "write", BrokenTerminal().write)
    tell(report, events.WARNED, events.DONE, events.FINISHED)
    report.close()

    assert written in stream.getvalue()
