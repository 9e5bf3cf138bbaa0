"""MemoryStore: results and notes in memory, for tests and for builds that shall leave nothing behind.

Blobs are files even so, for Store.path gives a file: in a private temporary folder, or in a folder of the
caller's.
"""

from __future__ import annotations

import math
import shutil
import weakref
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import mkdtemp

from kitbuild.cache.blobs import Blobs
from kitbuild.digest import Digest
from kitbuild.node import Key
from kitbuild.rule import BlobWriter
from kitbuild.store import Result


class MemoryStore:
    """Store and Notes for one process. A temporary folder goes with the store, a `folder` given stays."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is None:
            folder = Path(mkdtemp(prefix="kitbuild-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._blobs = Blobs(folder, nullcontext)
        # Setting and reading a dict item is atomic; no lock is needed.
        self._results: dict[Key, Result] = {}
        self._notes: dict[tuple[str, str], bytes] = {}

    def writer(self) -> AbstractContextManager[BlobWriter]:
        """A new blob."""
        return self._blobs.writer()

    def path(self, digest: Digest) -> Path:
        """A local file with this content; raises MissingBlobError."""
        return self._blobs.path(digest)

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those that are not there with their full size."""
        return {digest for digest in digests if not self._blobs.present(digest)}

    def distance(self, digests: Iterable[Digest]) -> float:
        """0.0 or infinite: what is not here is nowhere."""
        return math.inf if self.missing(digests) else 0.0

    def fetch(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those that are not here."""
        return self.missing(digests)

    def results(self, keys: Sequence[Key]) -> list[Result | None]:
        """What each of `keys` led to."""
        return [self.result(key) for key in keys]

    def result(self, key: Key) -> Result | None:
        """What `key` led to."""
        return self._results.get(key)

    def record(self, key: Key, result: Result) -> None:
        """Keeps a result."""
        self._results[key] = result

    def note(self, space: str, name: str) -> bytes | None:
        """The note of this name."""
        return self._notes.get((space, name))

    def keep(self, space: str, name: str, content: bytes) -> None:
        """Keeps or replaces a note."""
        self._notes[space, name] = content

    def lease(self) -> AbstractContextManager[None]:
        """Nothing: no clean-up ever comes here."""
        return nullcontext()

    def close(self) -> None:
        """Nothing is open between calls."""
