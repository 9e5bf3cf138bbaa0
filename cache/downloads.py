"""Downloads: content brought from a remote cache into the local one, each once however many ask for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import cached_property
from queue import SimpleQueue
from typing import TYPE_CHECKING

from kitbuild.cache.link import Link, Traffic
from kitbuild.cache.remote import Remote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError
from kitbuild.store import Store

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# More at a time are no quicker, and share the bandwidth so that none is done early.
_MOST_AT_ONCE = 4
# A transfer that breaks off or brings wrong bytes is begun once more.
_ATTEMPTS = 2
# Receiving runs ahead of hashing and writing by so many pieces; small content is not worth a thread.
_PIECES_AHEAD = 8
_LARGE_BYTES = 4 << 20


class Downloads:
    """Brings content from `remote` into `local`; what could not be had is lost for the rest of the build."""

    def __init__(self, local: Store, remote: Remote, link: Link, *, warn: Callable[[str], None]) -> None:
        self._local = local
        self._remote = remote
        self._link = link
        self._warn = warn
        self._warned = threading.Lock()
        # By what is or was brought here: whoever wants the same waits for it.
        self._locks: dict[Digest, threading.Lock] = {}
        self._stopped = False

    def bring(self, digest: Digest) -> bool:
        """True if the content is here now."""
        with self._locks.setdefault(digest, threading.Lock()):
            if not self._local.missing((digest,)):
                return True
            if digest not in self._link.lost and not self._stopped:
                if self._received(digest):
                    self._link.count(Traffic(blobs=1, bytes=digest.size))
                    return True
                self._link.lost.add(digest)
        return False

    def bring_all(self, digests: Iterable[Digest]) -> set[Digest]:
        """Brings several at once, the largest first; those that could not be had."""
        wanted = sorted(digests, key=lambda digest: -digest.size)
        if len(wanted) < 2:
            return {digest for digest in wanted if not self.bring(digest)}
        try:
            here = list(self._pool.map(self.bring, wanted))
        except BaseException:
            # Whoever is interrupted does not wait for the rest of a large download.
            self._stopped = True
            raise
        return {digest for digest, brought in zip(wanted, here, strict=True) if not brought}

    def stop(self) -> None:
        """Ends what goes on, soon."""
        self._stopped = True
        if "_pool" in self.__dict__:
            self._pool.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(_MOST_AT_ONCE, "kitbuild-download")

    def _received(self, digest: Digest) -> bool:
        for _ in range(_ATTEMPTS):
            try:
                return self._receive(digest)
            except MissingBlobError:
                return False
            except RemoteError:
                if self._stopped:
                    return False
        return False

    def _receive(self, digest: Digest) -> bool:
        """One attempt; a StoreError that is neither RemoteError nor MissingBlobError is the local cache's."""
        with (
            self._local.writer() as writer,
            self._link.down.transfer() as passed,
            closing(_pieces(self._remote, digest)) as pieces,
        ):
            for piece in pieces:
                if self._stopped:
                    return False
                writer.write(piece)
                passed(len(piece))
                if writer.size > digest.size:
                    break
            # Hashed here anyhow: a remote cache nobody verifies is as safe, and large content is hashed once.
            if writer.digest() != digest:
                self._say_wrong(digest)
                raise RemoteError(f"{digest.oci} turned out to be something else")
            writer.commit()
        return True

    def _say_wrong(self, digest: Digest) -> None:
        # Never unlocked again: one warning is enough.
        if self._warned.acquire(blocking=False):
            self._warn(f"the remote cache gave other bytes than those of {digest.oci}; they are made again")


def _pieces(remote: Remote, digest: Digest) -> Generator[bytes, None, None]:
    pieces = remote.get(digest)
    yield from _ahead(pieces) if digest.size >= _LARGE_BYTES else pieces


def _ahead(pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The pieces, received while those before are hashed and written: all three let go of the interpreter."""
    queue: SimpleQueue[bytes | MissingBlobError | RemoteError | None] = SimpleQueue()
    room = threading.Semaphore(_PIECES_AHEAD)
    stopped = threading.Event()

    def receive() -> None:
        try:
            for piece in pieces:
                queue.put(piece)
                room.acquire()
                if stopped.is_set():
                    break
        except (MissingBlobError, RemoteError) as error:
            queue.put(error)
        finally:
            queue.put(None)

    threading.Thread(target=receive, name="kitbuild-receive", daemon=True).start()
    try:
        while (piece := queue.get()) is not None:
            if not isinstance(piece, bytes):
                raise piece
            yield piece
            room.release()
    finally:
        stopped.set()
        room.release()
