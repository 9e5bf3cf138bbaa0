from __future__ import annotations

from kitbuild.event import Counts, NodeCached, NodeFinished, NodesStarted
from kitbuild.node import Node
from kitbuild.report.tally import Tally
from kitbuild.rule import NoOptions
from tests.unit.report import events
from tests.unit.report.events import RULE


def test_each_node_is_counted_once_by_what_became_of_it_last() -> None:
    tally = Tally()
    far, sent = Node("far", RULE, NoOptions()), Node("sent", RULE, NoOptions())

    for event in (
        NodesStarted(5),
        events.CACHED,
        NodeCached(far, events.ARTIFACT, far=True, seconds=2.0),
        events.FAILED,
        NodeFinished(sent, events.ARTIFACT, 1.0, elsewhere=True),
    ):
        tally(event)

    assert tally.counts() == Counts(5, ran=0, sent=1, near=1, far=1, failed=1, left=1, saved=3.5)
    assert tally.cached((events.IMAGE, far, sent, events.SEGMENT)) == 2


def test_cached_node_that_is_made_again_saves_nothing() -> None:
    tally = Tally()

    for event in (events.STARTED, events.CACHED, NodeFinished(events.IMAGE, events.ARTIFACT, 1.0)):
        tally(event)

    assert tally.counts() == Counts(2, ran=1, left=1)


def test_nodes_that_are_gone_through_anew_are_counted_anew() -> None:
    tally = Tally()

    for event in (events.STARTED, events.CACHED, events.DONE, NodesStarted(7)):
        tally(event)

    assert tally.counts() == Counts(7, left=7)
