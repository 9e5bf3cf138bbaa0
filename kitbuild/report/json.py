"""A report for programs: one JSON object a line, ASCII, one for each event.

kitbuild.report.schema declares the fields. `build-started` is always first and `build-finished` last, whatever
happens between them. Readers must expect new fields and new events.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TextIO

from kitbuild.errors import KitbuildError, Where
from kitbuild.event import (
    BuildFinished,
    BuildStarted,
    Downloaded,
    Event,
    Failed,
    FetchFinished,
    FetchStarted,
    KeepStarted,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeProgressed,
    NodesFinished,
    NodesStarted,
    NodeStarted,
    OutputStarted,
    OutputWritten,
    RemoteUsed,
    RunsExpected,
    Warned,
)
from kitbuild.node import Node
from kitbuild.report.channel import Channel
from kitbuild.rule import Artifact


class JsonReport:
    """Writes every event, whatever the verbosity."""

    def __init__(self, stream: TextIO) -> None:
        self._channel = Channel(stream)

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        # A runner of GitHub Actions obeys what follows these three, wherever they stand.
        text = json.dumps(facts_of(event)).replace("##[", "#\\u0023[")
        self._channel.write(f"{text}\n")
        self._channel.flush()

    @property
    def lost(self) -> OSError | None:
        """Why events could not be written, if not because nobody reads them any more."""
        return self._channel.lost

    def close(self) -> None:
        """Writes nothing: every object was complete."""


def facts_of(event: Event) -> dict[str, Any]:
    """An event as JSON values."""
    name, facts = _FACTS[type(event)]
    return {"event": name, **facts(event)}


def _plain(event: Any) -> dict[str, Any]:
    return dict(event._asdict())


def _node_cached(event: NodeCached) -> dict[str, Any]:
    artifact = _artifact(event.artifact)
    return {**_node(event.node), "artifact": artifact, "far": event.far, "seconds": event.seconds}


def _node_started(event: NodeStarted) -> dict[str, Any]:
    facts = {"rule": event.node.rule.name, "why": list(event.why), "elsewhere": event.elsewhere}
    return {**_node(event.node), **facts}


def _node_progressed(event: NodeProgressed) -> dict[str, Any]:
    return {**_node(event.node), "done": event.done, "size": event.size}


def _node_finished(event: NodeFinished) -> dict[str, Any]:
    artifact = _artifact(event.artifact)
    facts = {"artifact": artifact, "seconds": event.seconds, "elsewhere": event.elsewhere}
    return {**_node(event.node), **facts}


def _node_failed(event: NodeFailed) -> dict[str, Any]:
    return {**_node(event.node), **_error(event.error)}


def _warned(event: Warned) -> dict[str, Any]:
    return {"message": event.message, **_node(event.node)}


def _output_written(event: OutputWritten) -> dict[str, Any]:
    return {
        "path": str(event.path),
        "digest": event.digest.oci,
        "size": event.digest.size,
        "fresh": event.fresh,
        "seconds": event.seconds,
        "nodes": event.nodes,
        "cached": event.cached,
    }


def _build_finished(event: BuildFinished) -> dict[str, Any]:
    ending = {"outcome": event.outcome, "status": event.status}
    return {**ending, **event.counts._asdict(), "seconds": event.seconds}


def _node(node: Node | None) -> dict[str, Any]:
    return {"node": node.name if node else None, "section": node.section if node else None}


def _artifact(artifact: Artifact) -> dict[str, Any]:
    return {"kind": artifact.kind, "digest": artifact.digest.oci, "size": artifact.digest.size}


def _error(error: Exception) -> dict[str, Any]:
    if not isinstance(error, KitbuildError):
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return {"message": message, "where": None, "hint": None}
    return {"message": error.message, "where": _where(error.where), "hint": error.hint}


def _where(place: Where | None) -> dict[str, Any] | None:
    return {"file": place.file, "line": place.line, "column": place.column} if place else None


_FACTS: dict[type[Any], tuple[str, Callable[[Any], dict[str, Any]]]] = {
    BuildStarted: ("build-started", lambda event: {**event._asdict(), "configs": list(event.configs)}),
    NodesStarted: ("nodes-started", _plain),
    NodeCached: ("node-cached", _node_cached),
    RunsExpected: ("runs-expected", lambda event: {"seconds": dict(event.seconds)}),
    NodeStarted: ("node-started", _node_started),
    NodeProgressed: ("node-progressed", _node_progressed),
    NodeFinished: ("node-finished", _node_finished),
    NodeFailed: ("node-failed", _node_failed),
    NodesFinished: ("nodes-finished", _plain),
    Warned: ("warned", _warned),
    FetchStarted: ("fetch-started", _plain),
    FetchFinished: ("fetch-finished", _plain),
    Downloaded: ("downloaded", _plain),
    KeepStarted: ("keep-started", _plain),
    RemoteUsed: ("remote-used", _plain),
    OutputStarted: ("output-started", lambda event: {"path": str(event.path), "size": event.size}),
    OutputWritten: ("output-written", _output_written),
    Failed: ("error", lambda event: _error(event.error)),
    BuildFinished: ("build-finished", _build_finished),
}
