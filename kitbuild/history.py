"""Builds: the records of the last builds of some configs, kept as notes of a cache.

    build:<id>          one record, as Record.encode writes it
    builds:<scope>      JSON: [the last one's state, [id, ...]], newest first
    builds-of:all       JSON: [[id, scope], ...] of all configs, newest first

Notes may vanish; then builds are explained less well. Two builds at once may lose each other's line of a list.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from kitbuild.record import NodeRecord, Origins, Record
from kitbuild.store import Notes

# A node is looked for in this many records: formats of one config are built in turns.
_MOST_LOOKED_AT = 4
_MOST_KEPT = 16
_MOST_LISTED = 256


class Builds:
    """A History in `notes` for the builds of `scope`, which is text that names the configs.

    `origins` is asked for what the user gave once a record is kept. `elsewhere` is asked once for the record of a
    build on another machine, if there is none here. `always` wants a record of builds that changed nothing too.
    """

    def __init__(
        self,
        notes: Notes,
        scope: str,
        *,
        origins: Callable[[], Origins] = Origins,
        elsewhere: Callable[[], Record | None] = lambda: None,
        always: bool = False,
    ) -> None:
        self._notes = notes
        self._scope = scope
        self._origins = origins
        self._elsewhere = elsewhere
        self._always = always
        self._records: list[Record] = []
        self._rest: Iterator[Record] | None = None
        self._kept: Record | None = None

    def before(self, node: str) -> NodeRecord | None:
        """The node of this name as it was last built, None if nobody remembers."""
        found = next((one.nodes[node] for one in self._records if _has(one, node)), None)
        while found is None:
            if self._rest is None:
                self._rest = self._loaded()
            record = next(self._rest, None)
            if record is None:
                return None
            self._records.append(record)
            found = record.nodes[node] if _has(record, node) else None
        return found

    def wants(self, state: str, *, ran: bool) -> bool:
        """True if something ran, or is not as it was in the last build."""
        return self._always or ran or self.state() != state

    def state(self) -> str:
        """The state of the last build, this one if it is over; empty if nobody remembers."""
        return self._kept.state if self._kept else self._listed()[0]

    def latest(self) -> Record | None:
        """The record of this build, or of the last one that was worth a record."""
        return self._kept or next(
            (record for name in self._listed()[1] if (record := load(self._notes, name))), None
        )

    def keep(self, record: Record) -> None:
        """Keeps a record, and drops the oldest."""
        moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(record.began))
        kept = record._replace(id=f"{moment}-{os.urandom(2).hex()}", origins=self._origins())
        self._notes.keep("build", kept.id, kept.encode())
        _, ids = self._listed()
        self._write("builds", self._scope, [kept.state, [kept.id, *ids][:_MOST_KEPT]])
        self._write("builds-of", "all", [[kept.id, self._scope], *listed(self._notes)][:_MOST_LISTED])
        self._kept = kept

    def _loaded(self) -> Iterator[Record]:
        ids = self._listed()[1]
        yield from filter(None, (load(self._notes, name) for name in ids[:_MOST_LOOKED_AT]))
        if not ids and (record := self._elsewhere()):
            yield record

    def _listed(self) -> tuple[str, list[str]]:
        match _read(self._notes, "builds", self._scope):
            case [str(state), list(ids)]:
                return state, [name for name in ids if isinstance(name, str)]
        return "", []

    def _write(self, space: str, name: str, value: Any) -> None:
        self._notes.keep(space, name, json.dumps(value).encode("ascii"))


def listed(notes: Notes) -> list[tuple[str, str]]:
    """The id and the scope of every build that is remembered, newest first."""
    found = _read(notes, "builds-of", "all")
    lines = found if isinstance(found, list) else []
    return [(line[0], line[1]) for line in lines if isinstance(line, list) and len(line) == 2]


def load(notes: Notes, name: str) -> Record | None:
    """The record of this id, None if it is not there or cannot be read."""
    content = notes.note("build", name)
    try:
        return Record.decode(content) if content else None
    except ValueError:
        return None


def _has(record: Record, node: str) -> bool:
    return node in record.nodes and record.nodes[node].artifact is not None


def _read(notes: Notes, space: str, name: str) -> Any:
    try:
        return json.loads(notes.note(space, name) or b"null")
    except ValueError:
        return None
