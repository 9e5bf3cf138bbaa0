"""TieredStore: the local cache with a remote cache behind it.

Results are looked for there when they are not here, content is brought here when something wants it (downloads.py),
and what this build made is kept there in the background (uploads.py). With everything here nothing there is touched.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kitbuild.cache.downloads import Downloads
from kitbuild.cache.link import Link, Traffic
from kitbuild.cache.remote import Record, Remote
from kitbuild.cache.uploads import LocalStore, Uploads
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError
from kitbuild.node import Key
from kitbuild.rule import BlobWriter
from kitbuild.store import Result

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_MOST_QUESTIONS = 8


class TieredStore:
    """Store and Notes over `local` and `remote`; safe to use from several threads.

    Nothing that fails in `remote` gets out of here, except that content is then missing. No byte gets into `local`
    before its hash agreed. With `writes` results and their content are kept in `remote`: `finish` waits for that.
    `name` tells remote caches apart, for what is known to be in one need not be in another. Results from there are
    kept in `taken`, if it is given, and found in it: they are never kept there, or signed, as if made here.
    `progress` is told now and then how many bytes have come from there.
    """

    def __init__(  # noqa: PLR0913 (wiring; most have defaults)
        self,
        local: LocalStore,
        remote: Remote,
        *,
        writes: bool,
        warn: Callable[[str], None],
        name: str = "",
        taken: LocalStore | None = None,
        clock: Callable[[], float] = time.monotonic,
        progress: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._local = local
        self._taken = local if taken is None else taken
        self._remote = remote
        self._link = Link(clock, progress=progress)
        self._downloads = Downloads(local, remote, self._link, warn=warn)
        self._uploads = Uploads(local, remote, self._link, warn=warn, name=name) if writes else None

    def writer(self) -> AbstractContextManager[BlobWriter]:
        """A new blob, here."""
        return self._local.writer()

    def path(self, digest: Digest) -> Path:
        """A local file with this content, brought here if need be; raises MissingBlobError."""
        try:
            return self._local.path(digest)
        except MissingBlobError:
            if not self._downloads.bring(digest):
                raise
        return self._local.path(digest)

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of `digests` that are not here."""
        return self._local.missing(digests)

    def distance(self, digests: Iterable[Digest]) -> float:
        """How many seconds it may take to have them all here; infinite if one is neither here nor there."""
        away = self._local.missing(digests)
        if not away:
            return 0.0
        if self._link.lost.isdisjoint(away):
            self._ask_for(away - self._link.there)
        if not self._link.lost.isdisjoint(away):
            return math.inf
        return self._link.seconds(sum(digest.size for digest in away))

    def fetch(self, digests: Iterable[Digest]) -> set[Digest]:
        """Brings them here, several at once; those that could not be had."""
        return self._downloads.bring_all(self._local.missing(digests))

    def results(self, keys: Sequence[Key]) -> list[Result | None]:
        """What each of `keys` led to, here or there; what is found there is then known here."""
        found = self._local.results(keys)
        if self._uploads is not None:
            for key, result in zip(keys, found, strict=True):
                if result is not None:
                    self._uploads.offer(key, result)
        unknown = [key for key, result in zip(keys, found, strict=True) if result is None]
        if unknown and self._taken is not self._local:
            taken = dict(zip(unknown, self._taken.results(unknown), strict=True))
            found = [result or taken[key] for key, result in zip(keys, found, strict=True)]
        away = [key for key, result in zip(keys, found, strict=True) if result is None]
        if not away:
            return found
        received: dict[Key, Result] = {}
        for key, record in zip(away, self._records(away), strict=True):
            if record is not None:
                received[key] = record.result._replace(far=True)
                self._taken.record(key, record.result)
                if self._uploads is not None:
                    self._uploads.remember(key)
        self._link.count(Traffic(asked=len(away), results=len(received)))
        return [result or received.get(key) for key, result in zip(keys, found, strict=True)]

    def record(self, key: Key, result: Result) -> None:
        """Keeps a result here, and there in the background."""
        self._local.record(key, result)
        if self._uploads is not None:
            self._uploads.add(key, result)

    def note(self, space: str, name: str) -> bytes | None:
        """The note of this name, here."""
        return self._local.note(space, name)

    def keep(self, space: str, name: str, content: bytes) -> None:
        """Keeps or replaces a note, here."""
        self._local.keep(space, name, content)

    def lease(self) -> AbstractContextManager[None]:
        """Keeps what this build uses from being cleaned up here."""
        return self._local.lease()

    def pending(self) -> int:
        """How many results are still to be kept there."""
        return self._uploads.pending if self._uploads is not None else 0

    def finish(self) -> int:
        """Waits for what is being kept there as long as it gets on; gives how many results were not kept."""
        return self._uploads.finish() if self._uploads is not None else 0

    def traffic(self) -> Traffic:
        """What was taken and kept up to now."""
        return self._link.traffic

    def stop(self) -> None:
        """Ends what is being brought here, soon: content that is not here is then nowhere."""
        self._downloads.stop()

    def close(self) -> None:
        """Gives up what still goes on and closes the remote cache; the local one stays open."""
        self.stop()
        if "_questions" in self.__dict__:
            self._questions.shutdown(wait=False, cancel_futures=True)
        if self._uploads is None or self._uploads.stop():
            self._remote.close()

    def _ask_for(self, unknown: set[Digest]) -> None:
        if not unknown:
            return
        try:
            with self._link.question():
                nowhere = self._remote.missing(unknown)
        except RemoteError:
            nowhere = unknown
        self._link.lost |= nowhere
        self._link.there |= unknown - nowhere

    def _records(self, keys: Sequence[Key]) -> list[Record | None]:
        if len(keys) == 1:
            return [self._record(keys[0])]
        return list(self._questions.map(self._record, keys))

    def _record(self, key: Key) -> Record | None:
        try:
            with self._link.question():
                return self._remote.record(key)
        except RemoteError:
            return None

    @cached_property
    def _questions(self) -> ThreadPoolExecutor:
        # Ten milliseconds that a build with everything here need not spend.
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(_MOST_QUESTIONS, "kitbuild-question")
