from __future__ import annotations

import io

import pytest

from kitbuild.event import BuildFinished, Event, RemoteUsed
from kitbuild.report.lines import LinesReport, QuietReport
from tests.unit.report import events
from tests.unit.report.events import Broken, Terminal, tell

SHA256 = "ab" * 32


def told(*happened: Event, verbosity: int = 0) -> list[str]:
    stream = io.StringIO()
    report = LinesReport(stream, verbosity=verbosity)
    tell(report, *happened)
    report.close()
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(events.STARTED, [], id="start"),
        pytest.param(events.CACHED, [], id="cached node"),
        pytest.param(events.RUN, [], id="running node"),
        pytest.param(events.DONE, [], id="finished node"),
        pytest.param(events.WARNED, ["warning: the clock is wrong"], id="warning"),
        pytest.param(
            events.NODE_WARNED, ["warning: kernel: image: no kernel modules"], id="warning of a node"
        ),
        pytest.param(events.PLAIN_FAILED, ["error: services[0] redis: segment: no space"], id="failure"),
        pytest.param(
            events.FAILED,
            [
                "error: x.yml:3:5: services[0] redis: segment: a file too large",
                "      - big",
                "        ^",
                "hint: make it small",
            ],
            id="failure with a place",
        ),
        pytest.param(
            events.WRITTEN, [f"out/linuxkit-initrd.img  1.5 KiB  sha256:{SHA256}  0.10 s"], id="output"
        ),
        pytest.param(
            events.UP_TO_DATE,
            [f"out/linuxkit-initrd.img  1.5 KiB  sha256:{SHA256}  up to date"],
            id="output that was there",
        ),
        pytest.param(
            events.REMOTE,
            [
                "https://cache.example  took 9 of 11 results, 3.0 MiB; kept 4 results, 1.5 KiB; 2 results not kept"
            ],
            id="remote cache",
        ),
        pytest.param(RemoteUsed("x", 0, 0, 0, 0, 0, 0, 0, left=0, seconds=0.0), [], id="idle remote cache"),
        pytest.param(events.FETCHING, [], id="fetching"),
        pytest.param(events.FINISHED, ["2 nodes: 1 run, 1 cached, 0.42 s"], id="end"),
    ],
)
def test_only_what_matters_is_told(event: Event, expected: list[str]) -> None:
    assert expected == told(event)


def test_verbose_tells_each_node_and_why_it_runs() -> None:
    lines = told(events.CACHED, events.RUN, events.DONE, verbosity=1)

    expected = [
        "cached: kernel: image",
        "run: services[0] redis: segment: input `tree` changed (sha256:1 -> sha256:2); isal changed (1 -> 2)",
    ]
    assert expected == lines


def test_more_verbose_tells_what_a_node_gave() -> None:
    lines = told(events.STARTED, events.DONE, verbosity=2)

    assert lines == [f"done: services[0] redis: segment: tree 1.5 KiB sha256:{SHA256[:12]}, 0.25 s"]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(BuildFinished(3, 9, 0, 0, 0.42), "12 nodes: 3 run, 9 cached, 0.42 s", id="good"),
        pytest.param(BuildFinished(0, 1, 0, 0, 0.0), "1 node: 0 run, 1 cached, 0.00 s", id="one node"),
        pytest.param(
            BuildFinished(1, 2, 3, 4, 75.0),
            "10 nodes: 1 run, 2 cached, 3 failed, 4 left, 1 min 15 s",
            id="bad",
        ),
    ],
)
def test_closing_line_counts_the_nodes(event: BuildFinished, expected: str) -> None:
    assert [expected] == told(event)


def test_closing_line_comes_after_outputs_written_later() -> None:
    lines = told(events.FINISHED, events.UP_TO_DATE)

    assert [line.split()[-1] for line in lines] == ["date", "s"]
    assert lines[1].startswith("2 nodes")


def test_build_that_did_not_end_has_no_closing_line() -> None:
    assert told(events.STARTED, events.RUN) == []


def test_closing_twice_tells_the_end_once() -> None:
    stream = io.StringIO()
    report = LinesReport(stream, verbosity=0)
    report(events.FINISHED)

    report.close()
    report.close()

    assert stream.getvalue().count("\n") == 1


def test_pipe_gets_no_colours() -> None:
    assert not any("\x1b" in line for line in told(*events.ALL, verbosity=2))


def test_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()

    LinesReport(stream, verbosity=1)(events.CACHED)

    assert stream.getvalue() == "\x1b[32mcached:\x1b[0m kernel: image\n"


def test_reader_that_went_away_silences_the_report() -> None:
    stream = Broken()
    report = LinesReport(stream, verbosity=2)

    tell(report, *events.ALL)
    report.close()

    assert stream.writes == 1


def test_stream_that_cannot_write_a_letter_gets_an_escape() -> None:
    raw = io.BytesIO()
    report = LinesReport(io.TextIOWrapper(raw, encoding="ascii"), verbosity=0)

    report(events.WARNED._replace(message="caf\u00e9"))

    assert raw.getvalue() == b"warning: caf\\xe9\n"


def test_quiet_tells_failures_and_nothing_else() -> None:
    stream = io.StringIO()
    report = QuietReport(stream)

    tell(report, *events.ALL, events.PLAIN_FAILED)
    report.close()

    assert stream.getvalue().splitlines()[0].startswith("error: x.yml:3:5:")
    assert stream.getvalue().splitlines()[4:] == ["error: services[0] redis: segment: no space"]
