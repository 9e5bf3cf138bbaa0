"""ReadonlyRemote: a remote cache that is never written to."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kitbuild.cache.remote import Pieces, Record, Remote
from kitbuild.digest import Digest
from kitbuild.errors import RemoteError
from kitbuild.node import Key


class ReadonlyRemote:
    """Refuses writing before anything is sent. Around every backend unless `--remote-cache-write` was given.

    Whoever can write to a remote cache answers for what others build: that is CI, and rarely anybody else.
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
        """Raises RemoteError."""
        raise _refused()

    def record(self, key: Key) -> Record | None:
        """The record of `key`."""
        return self._inner.record(key)

    def keep(self, key: Key, record: Record) -> None:
        """Raises RemoteError."""
        raise _refused()

    def close(self) -> None:
        """Closes what is open."""
        self._inner.close()


def _refused() -> RemoteError:
    return RemoteError(
        "the remote cache is only read",
        lasting=True,
        writing=True,
        hint="give `--remote-cache-write` to write to it too",
    )
