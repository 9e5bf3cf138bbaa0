"""NamespacedRemote: a place of one's own beside the one that is trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator

from kitbuild.cache.remote import Pieces, Record, Remote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError
from kitbuild.node import Key


class NamespacedRemote:
    """Reads from the trusted place, then from its own; writes to its own alone.

    For builds of code that nobody has reviewed: they take what trusted builds made, and share among themselves what
    they make, where no trusted build ever looks. That they cannot write elsewhere is for the server to see to, which
    knows them apart; here it is only made sure that they do not try.

    Content in the trusted place is not put into one's own again. A record has another key in one's own place: some
    servers do not keep places apart (bazel-remote, unless told to), and what is signed there counts there only.
    """

    def __init__(self, trusted: Remote, own: Remote, *, namespace: str = "") -> None:
        self._trusted = trusted
        self._own = own
        self._namespace = namespace

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of `digests` that are in neither place."""
        away = self._trusted.missing(digests)
        return self._own.missing(away) if away else away

    def get(self, digest: Digest) -> Iterator[bytes]:
        """The content from where it is; raises MissingBlobError if that is nowhere."""
        try:
            yield from self._trusted.get(digest)
            return
        except MissingBlobError:
            pass
        yield from self._own.get(digest)

    def put(self, digest: Digest, pieces: Pieces) -> None:
        """Keeps content in one's own place."""
        self._own.put(digest, pieces)

    def record(self, key: Key) -> Record | None:
        """The record of `key`, the trusted one if there are two."""
        return self._trusted.record(key) or self._own.record(key_in(self._namespace, key))

    def keep(self, key: Key, record: Record) -> None:
        """Keeps or replaces a record in one's own place; as present counts what is there, for servers look for it."""
        away = self._own.missing(record.present) if record.present else set[Digest]()
        present = tuple(digest for digest in record.present if digest not in away)
        self._own.keep(key_in(self._namespace, key), record._replace(present=present))

    def close(self) -> None:
        """Closes both."""
        try:
            self._trusted.close()
        finally:
            self._own.close()


def key_in(namespace: str, key: Key) -> Key:
    """What the record of `key` is kept under in a namespace."""
    return Key(hashlib.sha256(f"kitbuild-namespace\0{namespace}\0{key.hex}".encode()).hexdigest())
