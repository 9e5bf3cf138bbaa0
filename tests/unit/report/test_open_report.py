from __future__ import annotations

import io
import json
import sys
import threading
from pathlib import Path

import pytest

from kitbuild.errors import BuildError, ConfigError, ConfigErrors, RuleError, UnavailableError, UsageError
from kitbuild.event import Event
from kitbuild.report import BuildReport, ReportKind, open_report
from kitbuild.report.console import ConsoleReport
from kitbuild.report.json import JsonReport
from kitbuild.report.lines import LinesReport, QuietReport
from tests.unit.report import events
from tests.unit.report.events import Terminal, tell


@pytest.fixture(autouse=True)
def _terminal_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
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

    assert [expected] == [type(one) for one in report.reports]


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_terminal_nobody_looks_at_gets_lines(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)

    report = open_report("auto", verbosity=0, stream=Terminal())

    assert [type(one) for one in report.reports] == [LinesReport]


@pytest.mark.parametrize("kind", ["auto", "lines", "json", "quiet"])
def test_pipe_never_needs_rich(kind: ReportKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    stream = io.StringIO()

    report = open_report(kind, verbosity=2, stream=stream)
    tell(report, *events.ALL[:-1])
    report.finish()

    assert "a file too large" in stream.getvalue()


def test_verbosity_reaches_the_report() -> None:
    stream = io.StringIO()

    open_report("lines", verbosity=1, stream=stream)(events.CACHED)

    assert stream.getvalue() == "cached: kernel: image\n"


def endings(stream: io.StringIO) -> list[tuple[str, int]]:
    facts = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [one["event"] for one in facts][-1:] == ["build-finished"]
    return [(one["outcome"], one["status"]) for one in facts if one["event"] == "build-finished"]


@pytest.mark.parametrize(
    ("error", "expected", "errors"),
    [
        pytest.param(KeyboardInterrupt(), ("interrupted", 130), 0, id="interrupt"),
        pytest.param(UsageError("no"), ("refused", 2), 1, id="command line"),
        pytest.param(ConfigErrors([ConfigError("a"), ConfigError("b")]), ("refused", 2), 2, id="config"),
        pytest.param(ConfigErrors([UnavailableError("a")]), ("failed", 1), 1, id="no registry"),
        pytest.param(BuildError([("node", RuleError("x"))]), ("failed", 1), 0, id="nodes, told before"),
        pytest.param(ValueError("a bug"), ("failed", 1), 1, id="bug"),
    ],
)
def test_build_finished_is_the_last_event_however_it_ends(
    error: BaseException, expected: tuple[str, int], errors: int
) -> None:
    stream = io.StringIO()
    report = open_report("json", verbosity=0, stream=stream)

    report.fail(error)
    report(events.WARNED)
    report.fail(KeyboardInterrupt())
    report.finish()

    assert endings(stream) == [expected]
    assert stream.getvalue().count('"event": "error"') == errors


def test_end_counts_the_nodes() -> None:
    stream = io.StringIO()
    report = open_report("json", verbosity=0, stream=stream)

    tell(report, events.STARTED, events.CACHED, events.RUN, events.DONE)
    report.finish()

    last = json.loads(stream.getvalue().splitlines()[-1])
    assert (last["outcome"], last["nodes"], last["ran"], last["near"]) == ("done", 2, 1, 1)
    assert report.cached([events.IMAGE, events.SEGMENT]) == 1


def test_reports_are_told_one_event_at_a_time() -> None:
    inside = threading.Lock()
    together = []

    class Slow:
        def __call__(self, event: Event) -> None:
            together.append(not inside.acquire(blocking=False))
            threading.Event().wait(0.001)
            inside.release()

        def close(self) -> None:
            pass

    report = BuildReport([Slow()])
    threads = [threading.Thread(target=tell, args=(report, events.WARNED, events.WARNED)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert together == [False] * 16


def test_job_with_a_summary_and_a_profile_gets_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    report = open_report("quiet", verbosity=0, stream=io.StringIO(), profile=tmp_path / "trace.json")

    tell(report, events.BEGUN, events.STARTED, events.WRITTEN)
    report.finish()

    assert "linuxkit-initrd" in (tmp_path / "summary.md").read_text()
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("name", "begins"), [("GITHUB_ACTIONS", "::group::"), ("GITLAB_CI", "section_start:")]
)
def test_machine_that_builds_gets_what_it_understands(
    name: str, begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "true")
    stream = io.StringIO()

    open_report("auto", verbosity=0, stream=stream)(events.RUN)

    assert stream.getvalue().startswith(begins)
