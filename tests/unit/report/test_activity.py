from __future__ import annotations

from typing import NamedTuple

import pytest

from kitbuild.event import (
    Downloaded,
    FetchFinished,
    FetchStarted,
    KeepStarted,
    NodeFinished,
    NodeProgressed,
    NodesFinished,
    NodesStarted,
    NodeStarted,
    OutputWritten,
    RunsExpected,
)
from kitbuild.node import Node
from kitbuild.report.activity import Activity, title
from kitbuild.rule import Input, NoOptions, Rule
from tests.unit.report import events
from tests.unit.report.events import ARTIFACT, RULE, Clock, ran


class ImageOptions(NamedTuple):
    image: str


def nodes(*names: str) -> list[Node]:
    return [Node(name, RULE, NoOptions()) for name in names]


def activity_of(clock: Clock, *happened: object) -> Activity:
    activity = Activity(clock)
    for event in happened:
        activity(event)  # type: ignore[arg-type]
    return activity


def test_node_runs_from_its_start_to_its_end() -> None:
    activity = activity_of(Clock(), events.STARTED, events.RUN)

    running = list(activity.running)
    activity(events.DONE)

    assert running == [events.SEGMENT]
    assert activity.running == {}
    assert activity.is_idle()
    assert activity.counts() == {"cached": 0, "done": 1, "failed": 0, "left": 1}


def test_speed_and_time_left_follow_from_bytes() -> None:
    clock = Clock()
    activity = activity_of(clock, events.STARTED, events.RUN)

    clock.now += 2.0
    activity(NodeProgressed(events.SEGMENT, 20, 100))

    task = activity.running[events.SEGMENT]
    assert (task.done, task.size, task.rate, task.seconds_left()) == (20, 100, 10.0, 8.0)


def test_speed_is_smoothed() -> None:
    clock = Clock()
    activity = activity_of(clock, events.STARTED, events.RUN)

    for done in (10, 110):
        clock.now += 1.0
        activity(NodeProgressed(events.SEGMENT, done, 0))

    assert activity.running[events.SEGMENT].rate == pytest.approx(37.0)
    assert activity.running[events.SEGMENT].seconds_left() is None


def test_node_that_tells_how_far_it_is_runs_here() -> None:
    activity = activity_of(Clock(), events.STARTED, NodeStarted(events.SEGMENT, (), elsewhere=True))

    before = activity.running[events.SEGMENT].elsewhere
    activity(events.PROGRESSED)

    assert (before, activity.running[events.SEGMENT].elsewhere) == (True, False)


def test_progress_of_a_node_that_is_over_is_nothing() -> None:
    assert activity_of(Clock(), events.STARTED, events.RUN, events.DONE, events.PROGRESSED).running == {}


def test_time_left_is_that_of_the_last_build_over_the_jobs() -> None:
    clock = Clock()
    one, two, three = nodes("one", "two", "three")
    activity = activity_of(
        clock,
        NodesStarted(3, 2),
        RunsExpected({"one": 4.0, "two": 2.0, "three": 2.0}),
        NodeStarted(one, ()),
        NodeStarted(two, ()),
    )

    clock.now += 1.0

    # 3 of the first, 1 of the second, 2 of the third, by two.
    assert activity.seconds_left() == 3.0
    activity(NodeFinished(two, ARTIFACT, 1.0))
    assert activity.seconds_left() == 3.0
    activity(NodeFinished(one, ARTIFACT, 1.0))
    assert activity.seconds_left() == 2.0
    activity(NodeFinished(three, ARTIFACT, 1.0))
    assert activity.seconds_left() is None


def test_time_left_of_a_node_with_bytes_is_that_of_its_bytes() -> None:
    clock = Clock()
    (one,) = nodes("one")
    activity = activity_of(clock, NodesStarted(1, 1), RunsExpected({"one": 100.0}), NodeStarted(one, ()))

    clock.now += 1.0
    activity(NodeProgressed(one, 25, 100))

    assert activity.seconds_left() == 3.0


def test_nobody_guesses_with_too_little_known() -> None:
    (one,) = nodes("one")

    assert activity_of(Clock(), NodesStarted(2, 1), NodeStarted(one, ())).seconds_left() is None
    assert (
        activity_of(
            Clock(), NodesStarted(9, 1), RunsExpected({"one": 1.0}), NodeStarted(one, ())
        ).seconds_left()
        is None
    )


def test_fetch_is_as_far_as_what_came_since() -> None:
    clock = Clock()
    activity = activity_of(clock, events.STARTED, Downloaded(500), FetchStarted(2, 1000))

    clock.now += 1.0
    activity(Downloaded(900))

    task = activity.task
    assert task is not None
    assert (task.done, task.size, task.seconds_left()) == (400, 1000, 1.5)
    activity(FetchFinished(0))
    assert activity.is_idle()


def test_downloads_are_shown_while_anything_comes() -> None:
    clock = Clock()
    activity = activity_of(clock, events.STARTED, Downloaded(100))

    during = activity.downloading()
    clock.now += 10.0

    assert during is not None
    assert activity.downloading() is None


def test_what_the_build_does_as_a_whole_is_a_task() -> None:
    activity = activity_of(Clock(), events.STARTED, NodesFinished(1, 1, 0, 0, 1.0))
    titles = []

    for event in (KeepStarted("grpc://cache", 3), events.REMOTE, events.WRITING):
        activity(event)
        titles.append(activity.task.title if activity.task else "")

    assert titles == ["keep 3 results in grpc://cache", "", "write out/disk.raw, 100 GiB"]
    activity(events.WRITTEN)
    assert activity.task is None
    assert isinstance(events.WRITTEN, OutputWritten)


def test_layer_is_shown_with_its_image() -> None:
    fetch: Rule[ImageOptions] = Rule("test/fetch", 1, "A rule.", ImageOptions, "blob", ran)
    unpack: Rule[NoOptions] = Rule(
        "test/unpack", 1, "A rule.", NoOptions, "tree", ran, inputs={"tar": Input("blob")}
    )
    tar = Node("layer 12: tar", fetch, ImageOptions("docker.io/kit/web:v1"))
    layer = Node("layer 12", unpack, NoOptions(), {"tar": (tar,)})

    assert title(tar) == "kit/web:v1: layer 12: tar"
    assert title(layer) == "kit/web:v1: layer 12"
    assert title(events.IMAGE) == "kernel: image"
    assert title(Node("evil \x1b[2J", RULE, NoOptions())) == "evil \\x1b[2J"
