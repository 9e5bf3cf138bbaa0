from __future__ import annotations

import pyte

from kitbuild.report.channel import Channel
from kitbuild.report.screen import Screen
from tests.unit.report.events import BrokenTerminal, Terminal


def shown(stream: Terminal) -> list[str]:
    """What a terminal of twenty lines shows, but for empty lines at its end."""
    screen = pyte.Screen(80, 20)
    screen.set_mode(pyte.modes.LNM)
    pyte.Stream(screen).feed(stream.getvalue())
    return "\n".join(line.rstrip() for line in screen.display).rstrip("\n").split("\n")


def test_picture_replaces_the_one_before() -> None:
    stream = Terminal()
    screen = Screen(Channel(stream))

    screen.draw(["one", "two", "three"])
    three = shown(stream)
    screen.draw(["four", "five"])

    assert three == ["one", "two", "three"]
    assert shown(stream) == ["four", "five"]


def test_lines_above_stay() -> None:
    stream = Terminal()
    screen = Screen(Channel(stream))

    screen.draw(["one", "two"])
    screen.above("said\nmore")

    assert shown(stream) == ["said", "more", "one", "two"]


def test_nothing_is_left_of_the_picture_at_the_end() -> None:
    stream = Terminal()
    screen = Screen(Channel(stream))
    screen.draw(["one", "two"])
    screen.above("said")

    screen.close()
    screen.draw(["too late"])

    assert shown(stream) == ["said"]


def test_no_picture_is_no_byte() -> None:
    stream = Terminal()
    screen = Screen(Channel(stream))

    screen.draw([])
    screen.close()

    assert stream.getvalue() == ""


def test_cursor_is_never_hidden_so_nothing_has_to_be_given_back() -> None:
    stream = Terminal()
    Screen(Channel(stream)).draw(["one"])

    assert "\x1b[?25l" not in stream.getvalue()


def test_terminal_that_was_closed_is_no_error() -> None:
    screen = Screen(Channel(BrokenTerminal()))

    screen.draw(["one"])
    screen.above("said")
    screen.close()


def test_stream_without_a_size_has_a_common_one() -> None:
    assert Screen(Channel(Terminal())).size() == (80, 24)
