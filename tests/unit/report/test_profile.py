from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from kitbuild.errors import KitbuildError
from kitbuild.event import BuildFinished, Counts, Downloaded, Event, NodeFinished, NodeProgressed, NodeStarted
from kitbuild.node import Node
from kitbuild.report.profile import ProfileReport
from kitbuild.rule import Input, NoOptions, Rule
from tests.unit.report import events
from tests.unit.report.events import ARTIFACT, RULE, Clock, ran

USES: Rule[NoOptions] = Rule("test/uses", 1, "A rule.", NoOptions, "blob", ran, inputs={"x": Input("blob")})
# What each kind of event must have. Source: Trace Event Format.
FIELDS = {
    "X": {"name", "cat", "ts", "dur", "pid", "tid", "args"},
    "C": {"name", "ts", "pid", "tid", "args"},
    "i": {"name", "ts", "pid", "tid", "s", "args"},
    "s": {"name", "cat", "id", "ts", "pid", "tid"},
    "f": {"name", "cat", "id", "ts", "pid", "tid", "bp"},
    "M": {"name", "pid", "tid", "args"},
}


class Profiled:
    """A profile whose clock goes on a second an event."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "trace.json"
        self.clock = Clock()
        self.report = ProfileReport(self.path, clock=self.clock)

    def tell(self, *happened: Event) -> None:
        for event in happened:
            self.clock.now += 1.0
            self.report(event)

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        self.report.close()
        document = json.loads(self.path.read_text())
        assert document["displayTimeUnit"] == "ms"
        for event in document["traceEvents"]:
            assert event.keys() - {"ph"} == FIELDS[event["ph"]], event
            assert event.get("ts", 0) >= 0
            assert event.get("dur", 0) >= 0
        return [event for event in document["traceEvents"] if not kind or event["ph"] == kind]


@pytest.fixture
def profiled(tmp_path: Path) -> Profiled:
    return Profiled(tmp_path)


def in_threads(*work: Any) -> None:
    for function in work:
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()


def test_node_is_a_slice_with_what_is_known_of_it(profiled: Profiled) -> None:
    profiled.tell(events.BEGUN, events.STARTED, events.RUN, events.DONE, events.FINISHED)

    (found,) = [event for event in profiled.events("X") if event["tid"]]
    assert found["name"] == "services[0] redis: segment"
    assert (found["ts"], found["dur"]) == (3e6, 0.25e6)
    assert found["args"] == {
        "rule": "test/rule",
        "section": "services[0] redis",
        "why": list(events.RUN.why),
        "kind": "tree",
        "digest": f"sha256:{'ab' * 32}",
        "size": 1536,
        "elsewhere": False,
    }


def test_every_event_makes_a_trace_of_the_format(profiled: Profiled) -> None:
    profiled.tell(*events.ALL)

    assert {event["ph"] for event in profiled.events()} == {"X", "C", "i", "M"}


def test_each_thread_has_a_row_and_executors_have_their_own(profiled: Profiled) -> None:
    one, two, three = (Node(name, RULE, NoOptions()) for name in ("one", "two", "three"))

    ready = threading.Barrier(3)

    def start(event: NodeStarted) -> None:
        ready.wait()
        profiled.report(event)
        ready.wait()

    threads = [
        threading.Thread(target=start, args=(event,))
        for event in (NodeStarted(one, ()), NodeStarted(two, ()), NodeStarted(three, (), elsewhere=True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    profiled.tell(*(NodeFinished(node, ARTIFACT, 0.5) for node in (one, two, three)))

    rows = {event["name"]: event["tid"] for event in profiled.events("X")}
    names = {event["tid"]: event["args"]["name"] for event in profiled.events("M") if "name" in event["args"]}
    assert sorted(rows.values()) == [1, 2, 3]
    assert names[rows["three"]].startswith("executor ")
    assert names[0] in ("build", "kitbuild")


def test_slices_of_a_row_do_not_overlap(profiled: Profiled) -> None:
    one, two = (Node(name, RULE, NoOptions()) for name in ("one", "two"))

    # The end of the first is told after the second began, in the same thread.
    profiled.tell(NodeStarted(one, ()), NodeStarted(two, ()), NodeFinished(one, ARTIFACT, 9.0))
    profiled.tell(NodeFinished(two, ARTIFACT, 0.5))

    first, second = profiled.events("X")
    assert first["ts"] + first["dur"] <= second["ts"]


def test_input_points_to_its_user(profiled: Profiled) -> None:
    needed = Node("needed", RULE, NoOptions())
    user = Node("user", USES, NoOptions(), {"x": (needed,)})

    profiled.tell(NodeStarted(needed, ()), NodeFinished(needed, ARTIFACT, 0.5))
    profiled.tell(NodeStarted(user, ()), NodeFinished(user, ARTIFACT, 0.5))

    (start,), (end,) = profiled.events("s"), profiled.events("f")
    slices = {event["name"]: event for event in profiled.events("X")}
    assert start["id"] == end["id"]
    assert slices["needed"]["ts"] <= start["ts"] <= slices["needed"]["ts"] + slices["needed"]["dur"]
    assert end["ts"] == slices["user"]["ts"]
    assert end["bp"] == "e"


def test_counters_say_how_many_run_and_what_went_through(profiled: Profiled) -> None:
    profiled.tell(events.RUN, NodeProgressed(events.SEGMENT, 10, 30), NodeProgressed(events.SEGMENT, 25, 30))
    profiled.tell(Downloaded(7), events.DONE)

    counted = [(event["name"], event["args"]["value"]) for event in profiled.events("C")]
    assert counted == [
        ("nodes running", 1),
        ("bytes gone through", 10),
        ("bytes gone through", 25),
        ("bytes from the remote cache", 7),
        ("nodes running", 0),
    ]


def test_what_the_build_does_as_a_whole_has_a_row(profiled: Profiled) -> None:
    profiled.tell(events.BEGUN, events.STARTED, events.NODES_DONE, events.FETCHING, events.FETCHED)
    profiled.tell(events.WRITING, events.WRITTEN, events.FINISHED)

    assert [event["name"] for event in profiled.events("X") if event["tid"] == 0] == [
        "read configs, find images",
        "nodes",
        "fetch outputs from the remote cache",
        "write out/disk.raw",
    ]


def test_interrupted_build_is_written_with_what_still_ran(profiled: Profiled) -> None:
    profiled.tell(events.STARTED, events.RUN, BuildFinished("interrupted", 130, Counts(2, left=2), 1.0))

    (found,) = [event for event in profiled.events("X") if event["tid"]]
    assert found["args"]["ended"] == "interrupted"


def test_failure_is_part_of_the_slice(profiled: Profiled) -> None:
    profiled.tell(events.RUN, events.FAILED)

    (found,) = profiled.events("X")
    assert found["args"]["error"] == "a file too large"


def test_file_is_there_once_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "trace.json").write_text("old")
    profiled = Profiled(tmp_path)

    profiled.tell(events.BEGUN, events.RUN)
    before = (tmp_path / "trace.json").read_text()
    profiled.report.close()

    assert before == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]
    assert profiled.events()


def test_profile_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(KitbuildError, match=r"cannot write `.*nowhere/trace.json`"):
        ProfileReport(tmp_path / "nowhere" / "trace.json")


def test_file_that_cannot_be_written_at_the_end_is_a_warning(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    warnings: list[str] = []
    report = ProfileReport(folder / "trace.json", warn=warnings.append)
    folder.rmdir()

    report(events.FINISHED)

    assert warnings == [f"cannot write `{folder}/trace.json`: No such file or directory"]


def test_a_pipe_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "trace.json"
    os.mkfifo(pipe)
    # Open for both: nobody waits for the other side.
    reading = os.open(pipe, os.O_RDWR)

    ProfileReport(pipe).close()
    told = os.read(reading, 1 << 16)
    os.close(reading)

    assert json.loads(told)["displayTimeUnit"] == "ms"
    assert pipe.is_fifo()


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")

    ProfileReport(tmp_path / "link").close()

    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "file").read_text())["displayTimeUnit"] == "ms"
