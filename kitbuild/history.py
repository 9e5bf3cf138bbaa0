"""Builds: the records of the last builds of some configs, kept as notes of a cache.

    build:<id>          one record, as Record.encode writes it
    builds:<scope>      JSON: [the last one's state, [id, ...], id of a build elsewhere], newest first
    builds-of:all       JSON: [[id, scope], ...] of all configs, newest first

Notes may vanish; then builds are explained less well. Of two builds that end in the same millisecond one may be left
out of a list, which costs an explanation and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kitbuild.node import Ingredients, Node
from kitbuild.record import ELSEWHERE, Origins, Record
from kitbuild.store import Notes

if TYPE_CHECKING:
    from kitbuild.cause.live import LiveExplanation

# A node is looked for in this many records: formats of one config are built in turns.
_MOST_LOOKED_AT = 4
_MOST_KEPT = 16
_MOST_LISTED = 256
_MOST_TRIES = 3


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
        self._explanation: LiveExplanation | None = None
        self._origins_now: Origins | None = None
        self._foreign: Record | None = None
        self._is_new = True

    def why(self, node: Node, ingredients: Ingredients, nodes: Iterable[Node]) -> tuple[str, ...]:
        """Why a node has no result: sentences, at least one; nothing is compared before this is asked."""
        if self._explanation is None:
            from kitbuild.cause.live import LiveExplanation

            self._explanation = LiveExplanation(nodes, self._given)
        before = self._before(node.name)
        return self._explanation.why(node, ingredients, before, alike=lambda: self._alike(node.name))

    def _before(self, node: str) -> Record | None:
        """The last build that knows a node of this name, else the last one, None if nobody remembers any."""
        found = next((record for record in self._earlier() if _has(record, node)), None)
        return found or (self._records[0] if self._records else None)

    def _alike(self, node: str) -> Record | None:
        """The last build with the flags of this one that knows a node of this name."""
        flags = self._given().flags
        return next(
            (record for record in self._earlier() if record.origins.flags == flags and _has(record, node)),
            None,
        )

    def _earlier(self) -> Iterator[Record]:
        """The last builds, each read when it is come to."""
        yield from self._records
        if self._rest is None:
            self._rest = self._loaded()
        for record in self._rest:
            self._records.append(record)
            yield record

    def _given(self) -> Origins:
        if self._origins_now is None:
            self._origins_now = self._origins()
        return self._origins_now

    def wants(self, state: str, *, ran: bool) -> bool:
        """True if something ran, or is not as it was in the last build."""
        self._is_new = ran or self.state() != state
        return self._always or self._is_new

    def state(self) -> str:
        """The state of the last build, this one if it is over; empty if nobody remembers."""
        return self._kept.state if self._kept else self._listed()[0]

    def latest(self) -> Record | None:
        """The record of this build, or of the last one that was worth a record."""
        return self._kept or next(
            (record for name in self._listed()[1] if (record := load(self._notes, name))), None
        )

    def kept(self) -> Record | None:
        """The record of this build; None until it is over, and of one that was stopped before it was."""
        return self._kept

    def keep(self, record: Record) -> None:
        """Keeps a record, and drops the oldest; one that is as the last is for those who asked for it alone."""
        kept = self._kept = record._replace(id=_id(record.began), origins=self._given())
        if not self._is_new:
            return
        self._notes.keep("build", kept.id, kept.encode())
        ids = [kept.id, *self._listed()[1]]
        self._write("builds", self._scope, [kept.state, ids[:_MOST_KEPT], self._keep_elsewhere()])
        for name in ids[_MOST_KEPT:]:
            # Notes cannot be removed; an empty one takes no room.
            self._notes.keep("build", name, b"")
        self._list(kept.id)

    def _list(self, name: str) -> None:
        """Puts a build on the list of all; again if a build that ended at the same time did not see it."""
        for _ in range(_MOST_TRIES):
            lines = [line for line in _lines(self._notes) if line[0] != name]
            self._write("builds-of", "all", [[name, self._scope], *lines][:_MOST_LISTED])
            if (name, self._scope) in _lines(self._notes):
                return

    def _keep_elsewhere(self) -> str:
        """Keeps the record of a build elsewhere that this one was compared with, and gives its name here."""
        if self._foreign is None:
            return _foreign(self._notes, self._scope)
        name = f"elsewhere-{hashlib.sha256(self._scope.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
        self._notes.keep("build", name, self._foreign.encode())
        return name

    def _loaded(self) -> Iterator[Record]:
        ids = self._listed()[1]
        yield from filter(None, (load(self._notes, name) for name in ids[:_MOST_LOOKED_AT]))
        if not ids and (record := self._elsewhere()):
            self._foreign = marked_elsewhere(record)
            yield self._foreign

    def _listed(self) -> tuple[str, list[str]]:
        return _of_scope(self._notes, self._scope)

    def _write(self, space: str, name: str, value: Any) -> None:
        self._notes.keep(space, name, json.dumps(value).encode("ascii"))


def listed(notes: Notes) -> list[tuple[str, str]]:
    """The id and the scope of every build that is remembered, newest first."""
    lines = _lines(notes)
    found: dict[str, str] = {}
    for scope in dict.fromkeys(scope for _, scope in lines):
        ids = _of_scope(notes, scope)[1]
        # An id begins with the time: what is older than all of the scope's was dropped.
        oldest = min(ids, default="")
        ids += (name for name, other in lines if other == scope and name >= oldest)
        found.update(dict.fromkeys(ids, scope))
    return sorted(found.items(), reverse=True)


def earlier(notes: Notes, scope: str, name: str = "") -> Iterator[Record]:
    """The builds of a scope before the one of this id, newest first, at last one elsewhere if it was asked for.

    Without an id it is all of them.
    """
    ids = _of_scope(notes, scope)[1]
    ids = ids[ids.index(name) + 1 :] if name in ids else [one for one in ids if not name or one < name]
    for other in (*ids, _foreign(notes, scope)):
        if other and (record := load(notes, other)):
            yield record


def marked_elsewhere(record: Record) -> Record:
    """The record of a build on another machine, so marked."""
    return record._replace(id=f"{ELSEWHERE}{record.id}")


def load(notes: Notes, name: str) -> Record | None:
    """The record of this id, None if it is not there or cannot be read."""
    content = notes.note("build", name)
    try:
        return Record.decode(content) if content else None
    except ValueError:
        return None


def _lines(notes: Notes) -> list[tuple[str, str]]:
    found = _read(notes, "builds-of", "all")
    lines = found if isinstance(found, list) else []
    return [(line[0], line[1]) for line in lines if _is_line(line)]


def _is_line(line: Any) -> bool:
    return isinstance(line, list) and len(line) == 2 and all(isinstance(text, str) for text in line)


def _of_scope(notes: Notes, scope: str) -> tuple[str, list[str]]:
    """The state of the last build of a scope, and the ids of all."""
    match _read(notes, "builds", scope):
        case [str(state), list(ids), *_]:
            return state, [name for name in ids if isinstance(name, str)]
    return "", []


def _foreign(notes: Notes, scope: str) -> str:
    match _read(notes, "builds", scope):
        case [_, _, str(name)]:
            return name
    return ""


def _id(began: float) -> str:
    """An id in the order of time, with something of chance: several builds may begin at once."""
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(began))
    return f"{moment}-{int(began * 1000) % 1000:03d}{os.urandom(1).hex()}"


def _has(record: Record, node: str) -> bool:
    found = record.nodes.get(node)
    return found is not None and (found.ingredients is not None or found.artifact is not None)


def _read(notes: Notes, space: str, name: str) -> Any:
    try:
        return json.loads(notes.note(space, name) or b"null")
    except ValueError:
        return None
