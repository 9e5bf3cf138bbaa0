"""What the runs of a cluster need and give: content on its way there and back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kitbuild.cache.connection import Connection
from kitbuild.cache.execution_inputs import Content, Inputs
from kitbuild.cache.execution_outputs import Outputs
from kitbuild.cache.reapi import ReapiRemote
from kitbuild.cache.remote import MOST_RECORD_BYTES, Remote
from kitbuild.cache.verified import VerifiedRemote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError
from kitbuild.store import Store

_PIECE_BYTES = 1 << 20
# kitbuild is some hundred files, and far away each of them takes as long as the way there and back.
_MOST_PUTS = 8


def content_of(connection: Connection) -> Remote:
    """What a cluster has, hashed on both ways."""
    return VerifiedRemote(_Content(connection))


class _Content(ReapiRemote):
    """A cluster takes inputs from all who may run something, though it takes results from its workers alone."""

    def writable(self) -> Any:
        return self._terms()


class Carrier:
    """Brings content from `store` to the cluster and back. Safe to use from several threads.

    The Remote `there` hashes what it gives, and is closed by `stop`. Raises RemoteError when the cluster does not do
    what it is asked, and MissingBlobError for content that is neither here nor there.
    """

    def __init__(self, there: Remote, store: Store) -> None:
        self._remote = there
        self._store = store
        self._lock = threading.Lock()
        self._uploading = threading.Lock()
        self._there: set[Digest] = set()
        self._stopped = False

    def upload(self, needed: Inputs) -> None:
        """Puts there what is not there yet."""
        # What is ours is mostly the same for all nodes: one thread sends it, the others wait for that.
        with self._uploading:
            self._put(
                needed.content.keys(), lambda digest: _pieces(needed.content[digest]), at_once=_MOST_PUTS
            )
        self._put(needed.stored, lambda digest: _pieces(self._store.path(digest)))

    def forget(self) -> None:
        """Believes no longer that anything is there."""
        with self._lock:
            self._there.clear()

    def made(self, outputs: Outputs) -> None:
        """Notes that what a run made is there."""
        with self._lock:
            self._there |= outputs.made

    def bring(self, outputs: Outputs) -> None:
        """Brings here what a run made."""
        for digest in sorted(self._store.missing(outputs.made)):
            with self._store.writer() as writer:
                for piece in self._got(digest):
                    writer.write(piece)
                writer.commit()

    def read(self, digest: Digest) -> bytes:
        """Content from there that is small by its nature."""
        if digest.size > MOST_RECORD_BYTES:
            raise RemoteError(f"expected at most {MOST_RECORD_BYTES} bytes, got {digest.size}")
        return b"".join(self._got(digest))

    def stop(self) -> None:
        """Ends what is on its way."""
        self._stopped = True
        self._remote.close()

    def _put(
        self, digests: Collection[Digest], pieces: Callable[[Digest], Iterator[bytes]], *, at_once: int = 1
    ) -> None:
        with self._lock:
            unknown = set(digests) - self._there
        if not unknown:
            return
        missing = sorted(self._remote.missing(unknown))
        if missing:
            with ThreadPoolExecutor(min(at_once, len(missing)), "kitbuild") as pool:
                puts = [pool.submit(self._put_one, digest, pieces) for digest in missing]
                try:
                    for put in puts:
                        put.result()
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._there |= unknown

    def _put_one(self, digest: Digest, pieces: Callable[[Digest], Iterator[bytes]]) -> None:
        if self._stopped:
            raise RemoteError("the build was stopped")
        self._remote.put(digest, lambda: pieces(digest))

    def _got(self, digest: Digest) -> Iterator[bytes]:
        try:
            yield from self._remote.get(digest)
        except MissingBlobError as error:
            raise RemoteError(f"what a run gave is not there: {error.message}") from error


def _pieces(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    try:
        with content.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
    except FileNotFoundError as error:
        raise MissingBlobError(f"`{content}` is no longer there") from error
