from __future__ import annotations

import io

import pytest

from kitbuild.report.channel import Channel
from tests.unit.report.events import Broken, Terminal


def test_text_goes_through_with_unknown_letters_escaped() -> None:
    raw = io.BytesIO()
    channel = Channel(io.TextIOWrapper(raw, encoding="latin-1"))

    channel.write("caf\u00e9 \u6587\n")
    channel.flush()

    assert raw.getvalue() == b"caf\xe9 \\u6587\n"


def test_nothing_is_written_once_the_reader_is_gone() -> None:
    stream = Broken()
    channel = Channel(stream)

    lengths = [channel.write("abc"), channel.write("abc")]
    channel.flush()

    assert lengths == [3, 3]
    assert stream.writes == 1
    assert not channel.is_open


def test_reader_may_go_when_the_buffer_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "flush", lambda: Broken().write(""))
    channel = Channel(stream)

    channel.write("abc")
    channel.flush()

    assert not channel.is_open


def test_it_is_a_terminal_if_its_stream_is() -> None:
    assert Channel(Terminal()).isatty()
    assert not Channel(io.StringIO()).isatty()


def test_it_has_the_descriptor_and_encoding_of_its_stream() -> None:
    with pytest.raises(io.UnsupportedOperation):
        Channel(io.StringIO()).fileno()

    assert Channel(io.StringIO()).encoding == "utf-8"
    assert Channel(io.TextIOWrapper(io.BytesIO(), encoding="ascii")).encoding == "ascii"
