"""SharedNotes: what the nodes of a config were made of where they were last built, for a machine that never built it.

One blob for all nodes of a config, JSON: {"<node name>": "<its ingredients>"}; its record is under the sha256 of
`kitbuild-notes 1`, a zero byte and the names of the config's files, without folders, which differ from machine to
machine. It only ever explains why a node has no result; nothing is built from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePath

from kitbuild.cache.remote import Record, Remote
from kitbuild.digest import Digest
from kitbuild.errors import StoreError
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Notes, Result

# The ingredients of some ten thousand nodes.
_MOST_BYTES = 1 << 24


class SharedNotes:
    """Notes kept in `local`; of a node that has none there, those that `publish` kept elsewhere, asked for once.

    `scope` is what the engine remembers the nodes of the build under: the paths of its configs, zero bytes between.
    """

    def __init__(self, local: Notes, remote: Remote, scope: str) -> None:
        self._local = local
        self._remote = remote
        self._scope = scope
        self._nodes: Mapping[str, str] | None = None

    def note(self, space: str, name: str) -> bytes | None:
        """The note of this name."""
        found = self._local.note(space, name)
        if found is None and space == "node" and name.startswith(f"{self._scope}\0"):
            if self._nodes is None:
                self._nodes = _nodes(self._remote, self._scope)
            text = self._nodes.get(name.removeprefix(f"{self._scope}\0"))
            return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else None
        return found

    def keep(self, space: str, name: str, content: bytes) -> None:
        """Keeps or replaces a note, in `local` alone."""
        self._local.keep(space, name, content)


def publish(remote: Remote, scope: str, nodes: Mapping[str, bytes]) -> None:
    """Keeps the ingredients of all nodes of a build, by their names, for other machines."""
    content = json.dumps({name: encoded.decode("ascii") for name, encoded in nodes.items()}).encode("ascii")
    digest = Digest.of(content)
    # What only explains is not worth a word when it cannot be kept.
    with suppress(StoreError):
        remote.put(digest, lambda: [content])
        remote.keep(_key(scope), Record(Result(Artifact("blob", digest)), (digest,)))


def _nodes(remote: Remote, scope: str) -> Mapping[str, str]:
    with suppress(StoreError, ValueError):
        record = remote.record(_key(scope))
        if record is not None and record.result.artifact.digest.size <= _MOST_BYTES:
            content = json.loads(b"".join(remote.get(record.result.artifact.digest)))
            if isinstance(content, dict):
                return content
    return {}


def _key(scope: str) -> Key:
    names = "\0".join(PurePath(path).name for path in scope.split("\0"))
    return Key(hashlib.sha256(b"kitbuild-notes 1\0" + names.encode("utf-8", "surrogateescape")).hexdigest())
