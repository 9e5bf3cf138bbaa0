"""CompleteRemote: a record counts only with its content."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kitbuild.cache.remote import Pieces, Record, Remote
from kitbuild.digest import Digest
from kitbuild.node import Key


class CompleteRemote:
    """Gives a record only if what its file consists of is there, in one of its forms, and all it claims is there too.

    For backends that forget content and records apart from each other (nginx, object stores, folders that somebody
    tidies), where a result found too late to be without its content is worse than one more question for each record.
    """

    def __init__(self, inner: Remote) -> None:
        self._inner = inner

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of `digests` that are not there."""
        return self._inner.missing(digests)

    def get(self, digest: Digest) -> Iterator[bytes]:
        """The content; raises MissingBlobError."""
        return self._inner.get(digest)

    def put(self, digest: Digest, pieces: Pieces) -> None:
        """Keeps content."""
        self._inner.put(digest, pieces)

    def record(self, key: Key) -> Record | None:
        """The record of `key`, if its content is there: the artifact and all it refers to, or the dense form."""
        record = self._inner.record(key)
        if record is None:
            return None
        content, dense = record.result.content(), record.result.dense
        lost = self._inner.missing(list(dict.fromkeys((*record.present, *content, *dense))))
        whole = lost.isdisjoint(content) or (bool(dense) and lost.isdisjoint(dense))
        return record if whole and lost.isdisjoint(record.present) else None

    def keep(self, key: Key, record: Record) -> None:
        """Keeps or replaces a record."""
        self._inner.keep(key, record)

    def close(self) -> None:
        """Closes what is open."""
        self._inner.close()
