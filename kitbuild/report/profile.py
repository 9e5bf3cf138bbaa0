"""A report as a file for Perfetto and Chrome: what ran when, a row a worker.

Source: "Trace Event Format" (JSON object form). Times are microseconds since the build began.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from kitbuild import __version__
from kitbuild.errors import KitbuildError
from kitbuild.event import (
    BuildFinished,
    BuildStarted,
    Downloaded,
    Event,
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
    Warned,
)
from kitbuild.graph import inputs_of
from kitbuild.node import Node

_PROCESS = 1
# The row of what the build as a whole does.
_BUILD = 0

Fact = dict[str, Any]


class _Slice(NamedTuple):
    """A node while it runs, in the row of its thread."""

    node: Node
    row: int
    began: float
    elsewhere: bool
    facts: Fact


class ProfileReport:
    """Collects what happens, and writes it to the file at `path` once the build is over, however it ends.

    Raises KitbuildError if nothing can be written there; `warn` is told if that turns out at the end.
    """

    def __init__(
        self,
        path: Path,
        *,
        warn: Callable[[str], None] = lambda message: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # A pipe, a device, a link such as /dev/stdout: what takes their place is there for all programs.
        self._is_replaced = not path.is_symlink() and (path.is_file() or not path.exists())
        asked = path if path.exists() and not self._is_replaced else path.resolve().parent
        if path.is_dir() or not os.access(asked, os.W_OK):
            raise KitbuildError(f"cannot write `{path}`", hint="choose another file with `--profile`")
        self._path = path
        self._warn = warn
        self._clock = clock
        self._began = clock()
        self._events: list[Fact] = []
        self._rows: dict[tuple[int, bool], int] = {}
        self._open: dict[Node, _Slice] = {}
        # Where the last slice of a node lies: its row, begin and end.
        self._ran: dict[Node, tuple[int, float, float]] = {}
        self._phase: tuple[str, float, Fact] | None = None
        self._bytes: dict[Node, int] = {}
        self._passed = 0
        self._cached = 0
        self._is_written = False

    def __call__(self, event: Event) -> None:  # noqa: C901 (a table)
        """Takes one event."""
        match event:
            case BuildStarted():
                self._begin_phase("read configs, find images")
            case NodesStarted(nodes):
                self._begin_phase("nodes", nodes=nodes)
            case NodeCached():
                self._cached += 1
            case NodeStarted(node, why, elsewhere):
                self._start(node, why, elsewhere)
            case NodeProgressed(node, done):
                self._passed += max(0, done - self._bytes.get(node, 0))
                self._bytes[node] = done
                self._count("bytes gone through", self._passed)
            case NodeFinished(node, artifact, seconds, elsewhere):
                gave = {"kind": artifact.kind, "digest": artifact.digest.oci, "size": artifact.digest.size}
                self._stop(node, None if elsewhere else seconds, **gave, elsewhere=elsewhere)
            case NodeFailed(node, error):
                self._stop(node, None, error=error.message)
            case Warned(message, node):
                self._add("warning", "i", row=_BUILD, s="g", args={"message": message})
            case FetchStarted(blobs, size):
                self._begin_phase("fetch outputs from the remote cache", blobs=blobs, size=size)
            case Downloaded(size):
                self._count("bytes from the remote cache", size)
            case KeepStarted(place, results):
                self._begin_phase("keep results in the remote cache", place=place, results=results)
            case OutputStarted(path, size):
                self._begin_phase(f"write {path}", size=size)
            case NodesFinished() | FetchFinished() | RemoteUsed() | OutputWritten():
                self._end_phase()
            case BuildFinished():
                self._end(event)

    def close(self) -> None:
        """Writes the file, whole or not at all, unless that is done; what is no file is written to where it is."""
        if self._is_written:
            return
        self._is_written = True
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        text = json.dumps({"traceEvents": [*self._names(), *self._events], **self._about()})
        try:
            if not self._is_replaced:
                self._path.write_text(text, encoding="ascii")
                return
            new.write_text(text, encoding="ascii")
            new.replace(self._path)
        except OSError as error:
            self._warn(f"cannot write `{self._path}`: {error.strerror}")
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)

    # -- nodes

    def _start(self, node: Node, why: tuple[str, ...], elsewhere: bool) -> None:
        # Told by the thread that runs it.
        row = self._rows.setdefault((threading.get_ident(), elsewhere), len(self._rows) + 1)
        facts = {"rule": node.rule.name, "section": node.section, "why": list(why)}
        self._bytes.pop(node, None)
        self._open[node] = _Slice(node, row, self._now(), elsewhere, facts)
        self._count("nodes running", len(self._open))

    def _stop(self, node: Node, seconds: float | None, **facts: Any) -> None:
        begun = self._open.pop(node, None)
        if begun is None:
            return
        # Its end is told by another thread, and a little later: by then the next one may run in the same row.
        end = self._now()
        if seconds is not None and not begun.elsewhere:
            end = min(end, begun.began + seconds * 1e6)
        later = [other.began for other in self._open.values() if other.row == begun.row]
        end = max(begun.began, min([end, *later]))
        self._span(node.name, begun.row, begun.began, end, {**begun.facts, **facts})
        self._ran[node] = begun.row, begun.began, end
        self._flow(node)
        self._count("nodes running", len(self._open))

    def _flow(self, node: Node) -> None:
        """An arrow from the slice of each input that ran."""
        row, began, _ = self._ran[node]
        for needed in dict.fromkeys(inputs_of(node)):
            if needed in self._ran:
                source, start, end = self._ran[needed]
                arrow = {"cat": "input", "id": len(self._events)}
                self._add("input", "s", row=source, at=max(start, min(end - 1, began)), **arrow)
                self._add("input", "f", row=row, at=began, bp="e", **arrow)

    # -- the build as a whole

    def _begin_phase(self, name: str, **facts: Any) -> None:
        self._end_phase()
        self._phase = name, self._now(), facts

    def _end_phase(self) -> None:
        if self._phase is not None:
            name, began, facts = self._phase
            self._span(name, _BUILD, began, self._now(), facts)
            self._phase = None

    def _end(self, event: BuildFinished) -> None:
        self._end_phase()
        for node in list(self._open):
            self._stop(node, None, ended=event.outcome)
        facts = {"outcome": event.outcome, **event.counts._asdict()}
        self._add("end", "i", row=_BUILD, s="p", args=facts)
        self.close()

    # -- events

    def _span(self, name: str, row: int, began: float, end: float, facts: Fact) -> None:
        self._add(name, "X", row=row, at=began, dur=round(end - began, 1), cat="node", args=facts)

    def _count(self, name: str, value: int) -> None:
        self._add(name, "C", row=_BUILD, args={"value": value})

    def _add(self, name: str, phase: str, *, row: int, at: float | None = None, **more: Any) -> None:
        moment = self._now() if at is None else at
        self._events.append(
            {"name": name, "ph": phase, "pid": _PROCESS, "tid": row, "ts": round(moment, 1), **more}
        )

    def _now(self) -> float:
        return (self._clock() - self._began) * 1e6

    def _names(self) -> Iterator[Fact]:
        rows = {_BUILD: "build"}
        for number, ((_, elsewhere), row) in enumerate(self._rows.items(), 1):
            rows[row] = f"{'executor' if elsewhere else 'worker'} {number}"
        yield {
            "name": "process_name",
            "ph": "M",
            "pid": _PROCESS,
            "tid": _BUILD,
            "args": {"name": "kitbuild"},
        }
        for row, name in rows.items():
            place = {"pid": _PROCESS, "tid": row}
            yield {"name": "thread_name", "ph": "M", **place, "args": {"name": name}}
            yield {"name": "thread_sort_index", "ph": "M", **place, "args": {"sort_index": row}}

    def _about(self) -> Fact:
        about = {"kitbuild": __version__, "nodes cached": self._cached}
        return {"displayTimeUnit": "ms", "otherData": about}
