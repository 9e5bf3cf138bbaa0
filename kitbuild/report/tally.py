"""Tally: what became of the nodes of a build, counted from its events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from kitbuild.event import Counts, Event, NodeCached, NodeFailed, NodeFinished, NodesStarted
from kitbuild.node import Node

_Fate = Literal["ran", "sent", "near", "far", "failed"]


class Tally:
    """Counts each node once, by what became of it last; it is told every event."""

    def __init__(self) -> None:
        self._nodes = 0
        self._fates: dict[Node, _Fate] = {}
        # What it took to make what came from a cache.
        self._saved: dict[Node, float] = {}

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        match event:
            case NodesStarted(nodes):
                self._nodes = nodes
                self._fates.clear()
                self._saved.clear()
            case NodeCached(node, _, far, seconds):
                self._fates[node] = "far" if far else "near"
                self._saved[node] = seconds
            case NodeFinished(node, _, _, elsewhere):
                self._fates[node] = "sent" if elsewhere else "ran"
                self._saved.pop(node, None)
            case NodeFailed(node):
                self._fates[node] = "failed"

    def counts(self) -> Counts:
        """What became of all nodes up to now."""
        fates = list(self._fates.values())
        return Counts(
            self._nodes,
            ran=fates.count("ran"),
            sent=fates.count("sent"),
            near=fates.count("near"),
            far=fates.count("far"),
            failed=fates.count("failed"),
            left=self._nodes - len(fates),
            saved=round(sum(self._saved.values()), 3),
        )

    def cached(self, nodes: Iterable[Node]) -> int:
        """How many of `nodes` had their result in a cache."""
        return sum(self._fates.get(node) in ("near", "far") for node in nodes)
