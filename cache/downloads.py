"""Downloads: content brought from a remote cache into the local one, each once however many ask for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import cached_property, partial
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
# What comes so many times slower than believed, and so late, is to be weighed anew. Bandwidths go up and
# down: that ends after a few times.
_FAR_SLOWER = 8.0
_LONG_SECONDS = 10.0
_MOST_DISAPPOINTMENTS = 2


class _SlowError(Exception):
    """Content comes far slower than was believed when it was asked for."""


class Downloads:
    """Brings content from `remote` into `local`; what could not be had is lost for the rest of the build.

    What comes far slower than it was believed to is not brought either, but not lost: to make it may be quicker now.
    """

    def __init__(self, local: Store, remote: Remote, link: Link, *, warn: Callable[[str], None]) -> None:
        self._local = local
        self._remote = remote
        self._link = link
        self._warn = warn
        self._warned = threading.Lock()
        # By what is or was brought here: whoever wants the same waits for it.
        self._locks: dict[Digest, threading.Lock] = {}
        self._stopped = False
        # What was believed in vain.
        self._disappointed: set[float] = set()

    def bring(self, digest: Digest, believed: float = 0.0) -> bool:
        """True if the content is here now; `believed` is the rate it was believed to come with, 0.0: as now."""
        believed = believed or self._link.believed()
        with self._locks.setdefault(digest, threading.Lock()):
            if not self._local.missing((digest,)):
                return True
            if digest not in self._link.lost and not self._stopped:
                try:
                    received = self._received(digest, believed)
                except _SlowError:
                    return False
                if received:
                    self._link.count(Traffic(blobs=1, bytes=digest.size))
                    return True
                self._link.lose(digest)
        return False

    def bring_all(self, digests: Iterable[Digest]) -> set[Digest]:
        """Brings several at once, the largest first; those that could not be had."""
        wanted = sorted(digests, key=lambda digest: -digest.size)
        if len(wanted) < 2:
            return {digest for digest in wanted if not self.bring(digest)}
        try:
            here = list(self._pool.map(partial(self.bring, believed=self._link.believed()), wanted))
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

    def _received(self, digest: Digest, believed: float) -> bool:
        for _ in range(_ATTEMPTS):
            try:
                return self._receive(digest, believed)
            except MissingBlobError:
                return False
            except RemoteError:
                if self._stopped:
                    return False
        return False

    def _receive(self, digest: Digest, believed: float) -> bool:
        """One attempt; a StoreError that is neither RemoteError nor MissingBlobError is the local cache's."""
        self._check_pace(digest.size, believed)
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
                self._check_pace(digest.size - writer.size, believed)
            # Hashed here anyhow: a remote cache nobody verifies is as safe, and large content is hashed once.
            if writer.digest() != digest:
                self._say_wrong(digest)
                raise RemoteError(f"{digest.oci} turned out to be something else")
            writer.commit()
        return True

    def _check_pace(self, rest: int, believed: float) -> None:
        """Raises _SlowError if `rest` bytes are to come far slower than was believed."""
        rate = self._link.down.now()
        if not rate or rate * _FAR_SLOWER > believed or rest <= rate * _LONG_SECONDS:
            return
        if believed in self._disappointed or len(self._disappointed) < _MOST_DISAPPOINTMENTS:
            self._disappointed.add(believed)
            self._link.down.bytes_per_second = rate
            raise _SlowError

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
