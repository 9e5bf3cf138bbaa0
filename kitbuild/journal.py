"""Journal: what an engine notes down while it builds, for the record of the build."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import NamedTuple

from kitbuild import __version__
from kitbuild.errors import KitbuildError
from kitbuild.graph import Graph
from kitbuild.node import Ingredients, Key, Node
from kitbuild.record import Fate, NodeRecord, Record, without_passwords
from kitbuild.store import Result


class Journal:
    """One pass over a graph; told from several threads, of one node by one thread at a time."""

    def __init__(self) -> None:
        self._began = round(time.time(), 3)
        self._clock = time.monotonic()
        self._why: dict[Node, tuple[str, ...]] = {}
        self._started: dict[Node, float] = {}
        self._log: dict[Node, list[str]] = {}
        self._sent: set[Node] = set()

    def started(self, node: Node, why: tuple[str, ...], *, elsewhere: bool = False) -> None:
        """A node starts to run; without `why` its start elsewhere was told already, and came to nothing."""
        if why:
            self._why[node] = why
        self._started[node] = round(time.monotonic() - self._clock, 4)
        (self._sent.add if elsewhere else self._sent.discard)(node)

    def warned(self, node: Node, message: str) -> None:
        """A node said something."""
        self._log.setdefault(node, []).append(without_passwords(message))

    def record(self, graph: Graph, outcome: Outcome) -> Record:
        """The record of the whole build."""
        return Record(
            __version__,
            outcome.state(),
            self._began,
            round(time.monotonic() - self._clock, 3),
            {node.name: self._node(node, outcome) for node in graph},
            {name: node.name for name, node in graph.outputs.items()},
        )

    def _node(self, node: Node, outcome: Outcome) -> NodeRecord:
        result = outcome.results.get(node)
        ingredients, _ = outcome.looked_up.get(node, (None, None))
        log = [*self._log.get(node, ())]
        if node in outcome.failures:
            log.append(without_passwords(outcome.failures[node].message))
        return NodeRecord(
            node.rule.name,
            node.section,
            self._fate(node, result, outcome),
            {name: tuple(needed.name for needed in given) for name, given in node.inputs.items()},
            ingredients,
            result.artifact if result else None,
            result.size() if result else 0,
            result.seconds if result else 0.0,
            self._started.get(node, 0.0),
            self._why.get(node, ()),
            tuple(log),
        )

    def _fate(self, node: Node, result: Result | None, outcome: Outcome) -> Fate:
        if node in outcome.failures:
            return "failed"
        if result is None:
            return "left"
        if node in outcome.ran:
            return "sent" if node in self._sent else "ran"
        return "far" if result.far else "near"


class Outcome(NamedTuple):
    """What an engine knows at the end: of every node what it is made of and its key, its result, or its failure."""

    looked_up: Mapping[Node, tuple[Ingredients, Key]]
    results: Mapping[Node, Result]
    failures: Mapping[Node, KitbuildError]
    ran: set[Node]

    def state(self) -> str:
        """Equal for builds whose nodes have equal names and keys."""
        # Nodes are looked up in the order in which others happen to end.
        keys = "".join(
            sorted(
                f"{node.name}\0{key.hex}\0"
                for node, (_, key) in self.looked_up.items()
                if node in self.results
            )
        )
        return hashlib.sha256(keys.encode("utf-8", "surrogateescape")).hexdigest()
