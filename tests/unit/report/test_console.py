from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest

from kitbuild.event import Downloaded, Event, NodeProgressed, NodesStarted, NodeStarted, RunsExpected
from kitbuild.node import Node
from kitbuild.report.activity import Activity
from kitbuild.report.console import ConsoleReport, picture
from kitbuild.rule import NoOptions
from tests.unit.report import events
from tests.unit.report.events import BrokenTerminal, Clock, Terminal, tell


@pytest.fixture(autouse=True)
def _terminal_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def without_styles(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def drawn(*happened: Event, width: int = 100, height: int = 24, fancy: bool = True) -> list[str]:
    activity = Activity(Clock())
    for event in happened:
        activity(event)
    return [line.plain for line in picture(activity, width=width, height=height, fancy=fancy)]


def running(count: int) -> list[Event]:
    made = [Node(f"node {number}", events.RULE, NoOptions()) for number in range(count)]
    return [NodesStarted(count), *(NodeStarted(node, ()) for node in made)]


def test_running_nodes_and_progress_are_drawn() -> None:
    node, overall = drawn(events.STARTED, events.CACHED, events.RUN)

    assert re.fullmatch(r"  services\[0\] redis: segment +0\.00 s", node)
    assert overall == "  ━━━━━━━━━━━━────────────  1 of 2 nodes  1 cached, 1 left"


def test_bytes_speed_and_time_left_are_drawn() -> None:
    clock = Clock()
    activity = Activity(clock)
    for event in (events.STARTED, RunsExpected({"kernel: image": 8.0}), events.RUN):
        activity(event)
    clock.now += 1.0
    activity(NodeProgressed(events.SEGMENT, 3 << 20, 12 << 20))
    activity(Downloaded(5 << 20))

    node, overall = (line.plain for line in picture(activity, width=120, height=24))

    assert node.endswith("  3.0 of 12.0 MiB  3.0 MiB/s  3 s left")
    assert "about 8 s left" in overall
    assert "remote cache: 5.0 MiB, " in overall


@pytest.mark.parametrize("width", [8, 20, 40, 59, 60, 79, 99, 200])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 24])
@pytest.mark.parametrize("count", [1, 3, 30])
def test_picture_is_never_larger_than_the_terminal(width: int, height: int, count: int) -> None:
    wide = Node("名前" * 20, events.RULE, NoOptions())
    activity = Activity(Clock())
    for event in (*running(count), NodeStarted(wide, ()), NodeProgressed(wide, 1 << 30, 1 << 40)):
        activity(event)

    lines = picture(activity, width=width, height=height)

    assert 1 <= len(lines) <= height
    assert max(line.cell_len for line in lines) <= width
    assert not any("\n" in line.plain for line in lines)


def test_many_running_nodes_are_counted() -> None:
    lines = drawn(*running(20))

    assert len(lines) == 9
    assert lines[7] == "  and 13 more"


def test_large_output_is_drawn_while_it_is_written() -> None:
    assert "  write out/disk.raw, 100 GiB" in drawn(events.STARTED, events.NODES_DONE, events.WRITING)[0]


def test_terminal_without_unicode_gets_ascii() -> None:
    long = Node("long " * 40, events.RULE, NoOptions())

    lines = drawn(events.STARTED, events.CACHED, NodeStarted(long, ()), fancy=False)

    assert all(line.isascii() for line in lines)
    assert lines[-1].startswith("  ############------------  1 of 2 nodes")


def test_node_that_runs_elsewhere_says_so() -> None:
    assert "elsewhere" in drawn(events.STARTED, NodeStarted(events.SEGMENT, (), elsewhere=True))[0]


# -- the report


def test_picture_goes_when_the_build_is_over() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)
    tell(report, events.STARTED, events.RUN)
    report.redraw()

    tell(report, events.DONE, events.FINISHED)
    report.close()
    report.redraw()

    text = without_styles(stream.getvalue())
    assert text.index("redis: segment") < text.index("2 nodes: 1 run")
    assert text.endswith("2 nodes: 1 run, 1 cached (1.50 s saved), 0.42 s\n")


def test_nothing_is_drawn_while_nothing_goes_on() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)

    tell(report, events.STARTED, events.RUN, events.DONE)
    report.redraw()
    report.close()

    assert stream.getvalue() == ""


def test_lines_are_written_above_the_picture_and_stay() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=1)

    tell(report, events.STARTED, events.RUN)
    report.redraw()
    tell(report, events.NODE_WARNED, events.FAILED, events.FINISHED)
    report.close()

    text = without_styles(stream.getvalue())
    assert "warning: kernel: image: no kernel modules\n" in text
    assert "error: x.yml:3:5: services[0] redis: segment: a file too large\n" in text


def test_long_line_is_not_broken() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)

    tell(report, events.STARTED, events.RUN, events.WARNED._replace(message="word " * 100 + "end"))
    report.close()

    assert "warning: " + "word " * 100 + "end\n" in without_styles(stream.getvalue())


def test_digest_leaves_room_on_the_line() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)

    tell(report, events.STARTED, events.UP_TO_DATE)
    report.close()

    expected = "out/linuxkit-initrd.img  1.5 KiB  sha256:abababababab  up to date\n"
    assert expected == without_styles(stream.getvalue())


def test_brackets_in_names_are_no_markup() -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)

    tell(report, events.STARTED, events.RUN)
    report.redraw()
    report(events.WARNED._replace(message="[bold]loud[/bold] [0]"))
    report.close()

    text = without_styles(stream.getvalue())
    assert "warning: [bold]loud[/bold] [0]\n" in text
    assert "services[0] redis: segment" in text


@pytest.mark.parametrize(
    ("name", "has_color"),
    [pytest.param("TERM", True, id="plain terminal"), pytest.param("NO_COLOR", False, id="NO_COLOR")],
)
def test_picture_has_colours_unless_nobody_wants_them(
    name: str, has_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "xterm")
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=0)

    tell(report, events.STARTED, events.CACHED, events.RUN)
    report.redraw()
    report.close()

    assert ("\x1b[32m" in stream.getvalue()) == has_color
    assert ("m" in re.findall(r"\x1b\[[0-9;?]*([A-Za-z])", stream.getvalue())) == has_color


def test_build_with_nothing_to_do_does_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=1)

    tell(report, events.STARTED, events.CACHED, events.NODES_DONE, events.UP_TO_DATE, events.FINISHED)
    report.close()

    assert without_styles(stream.getvalue()).startswith("cached: kernel: image\n")


def redrawing(report: ConsoleReport) -> Callable[[Event], None]:
    def told(event: Event) -> None:
        report(event)
        report.redraw()

    return told


def test_terminal_that_was_closed_silences_the_report() -> None:
    stream = BrokenTerminal()
    report = ConsoleReport(stream, verbosity=2)

    for event in events.ALL:
        redrawing(report)(event)
    report.close()

    assert stream.getvalue() == ""


def test_terminal_closed_while_a_node_runs_silences_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    report = ConsoleReport(stream, verbosity=2)
    tell(report, events.STARTED, events.RUN)
    report.redraw()
    written = stream.getvalue()

    monkeypatch.setattr(stream, "write", BrokenTerminal().write)
    for event in (events.WARNED, events.DONE, events.FINISHED):
        redrawing(report)(event)
    report.close()

    assert written in stream.getvalue()
