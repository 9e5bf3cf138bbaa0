"""A report for programs: one JSON object a line, ASCII, one for each event.

Every object has `event`; the other fields, all always there unless marked so:

    build-started    nodes
    node-cached      node section artifact far             artifact: {kind, digest, size}; far: not here
    node-started     node section rule why                 why: list of sentences
    node-finished    node section artifact seconds
    node-failed      node section message where hint       where: {file, line, column} or null; hint: or null
    warned           message node section                  node, section: null if the build itself warns
    fetch-started    blobs size                            content of outputs comes from the remote cache
    remote-used      place asked results blobs bytes kept_results kept_blobs kept_bytes left seconds
    output-started   path size
    output-written   path digest size fresh seconds        fresh: false if the file was up to date
    build-finished   ran cached failed left seconds

Readers must expect new fields and new events.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

from kitbuild.event import (
    BuildFinished,
    BuildStarted,
    Event,
    FetchStarted,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeStarted,
    OutputStarted,
    OutputWritten,
    RemoteUsed,
    Warned,
)
from kitbuild.node import Node
from kitbuild.report.channel import Channel
from kitbuild.rule import Artifact

_NAMES: dict[type, str] = {
    BuildStarted: "build-started",
    BuildFinished: "build-finished",
    FetchStarted: "fetch-started",
    RemoteUsed: "remote-used",
}


class JsonReport:
    """Writes every event, whatever the verbosity."""

    def __init__(self, stream: TextIO) -> None:
        self._channel = Channel(stream)

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        self._channel.write(json.dumps(facts_of(event)) + "\n")
        self._channel.flush()

    def close(self) -> None:
        """Writes nothing: every object was complete."""


def facts_of(event: Event) -> dict[str, Any]:
    """An event as JSON values."""
    match event:
        case BuildStarted() | BuildFinished() | FetchStarted() | RemoteUsed():
            return {"event": _NAMES[type(event)], **event._asdict()}
        case NodeCached(node, artifact, far):
            return {"event": "node-cached", **_node(node), "artifact": _artifact(artifact), "far": far}
        case NodeStarted(node, why):
            return {"event": "node-started", **_node(node), "rule": node.rule.name, "why": list(why)}
        case NodeFinished(node, artifact, seconds):
            facts = {"artifact": _artifact(artifact), "seconds": seconds}
            return {"event": "node-finished", **_node(node), **facts}
        case NodeFailed():
            return {"event": "node-failed", **_failure(event)}
        case Warned(message, warning_node):
            return {"event": "warned", "message": message, **_node(warning_node)}
        case OutputStarted(path, size):
            return {"event": "output-started", "path": str(path), "size": size}
        case OutputWritten(path, digest, fresh, seconds):
            facts = {"path": str(path), "digest": digest.oci, "size": digest.size}
            return {"event": "output-written", **facts, "fresh": fresh, "seconds": seconds}


def _node(node: Node | None) -> dict[str, Any]:
    return {"node": node.name if node else None, "section": node.section if node else None}


def _artifact(artifact: Artifact) -> dict[str, Any]:
    return {"kind": artifact.kind, "digest": artifact.digest.oci, "size": artifact.digest.size}


def _failure(event: NodeFailed) -> dict[str, Any]:
    error, place = event.error, event.error.where
    where = {"file": place.file, "line": place.line, "column": place.column} if place else None
    return {**_node(event.node), "message": error.message, "where": where, "hint": error.hint}
