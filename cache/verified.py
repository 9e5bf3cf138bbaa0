"""VerifiedRemote: no byte of a remote cache is believed before its hash agrees."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from kitbuild.cache.remote import Pieces, Record, Remote
from kitbuild.digest import Digest, Hasher
from kitbuild.errors import MissingBlobError, RemoteError, StoreError
from kitbuild.node import Key


class VerifiedRemote:
    """Hashes content on its way out and on its way in. Around every backend: a server may store what it is given.

    The last bytes of content are withheld until all of them agree, so whoever reads to the end has what the digest
    says. Content that is cut short, too long or other than its digest says is a RemoteError while it is read. While
    it is put, when the local content must be damaged, it is a MissingBlobError, and nothing is there afterwards.

    What was wrong counts as missing from then on: a build that may write puts it right.
    """

    def __init__(self, inner: Remote) -> None:
        self._inner = inner
        # Changing a set by one member is atomic; no lock is needed.
        self._wrong: set[Digest] = set()

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of `digests` that are not there."""
        missing = self._inner.missing(digests)
        return missing | self._wrong.intersection(digests) if self._wrong else missing

    def get(self, digest: Digest) -> Iterator[bytes]:
        """The content, the last piece of it only if all is right; raises MissingBlobError."""
        try:
            yield from _checked(digest, self._inner.get(digest), _WrongThere, "the remote cache")
        except _WrongThere:
            self._wrong.add(digest)
            raise

    def put(self, digest: Digest, pieces: Pieces) -> None:
        """Keeps content, unless the pieces turn out to be something else."""
        self._inner.put(digest, lambda: _checked(digest, pieces(), MissingBlobError, "the local cache"))
        self._wrong.discard(digest)

    def record(self, key: Key) -> Record | None:
        """The record of `key`."""
        return self._inner.record(key)

    def keep(self, key: Key, record: Record) -> None:
        """Keeps or replaces a record."""
        self._inner.keep(key, record)

    def close(self) -> None:
        """Closes what is open."""
        self._inner.close()


class _WrongThere(RemoteError):
    """Told from failures of `inner` itself, after which nothing is known."""


def _checked(digest: Digest, pieces: Iterable[bytes], error: type[StoreError], where: str) -> Iterator[bytes]:
    """The pieces, each one when the next has come; raises `error` instead of giving the last if anything is wrong."""
    hasher = Hasher()
    withheld = b""
    for piece in pieces:
        hasher.update(piece)
        if hasher.size > digest.size:
            raise error(f"expected {digest.size} bytes of {digest.oci} in {where}, got more")
        if piece:
            if withheld:
                yield withheld
            withheld = piece
    if hasher.size < digest.size:
        raise error(f"expected {digest.size} bytes of {digest.oci} in {where}, got {hasher.size}")
    if hasher.digest() != digest:
        raise error(f"expected {digest.oci} in {where}, got other bytes")
    if withheld:
        yield withheld
