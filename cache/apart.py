"""ApartStore: a local cache in which results that not every build believes are kept apart from all others.

What builds of a namespace take from a remote cache was written by whoever may write to it there, the author of a pull
request perhaps. A machine that builds both must not hand it on to a trusted build through its local cache. The same
holds of all that is taken from a remote cache: a build with other trusted keys must not believe it, none sign it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from kitbuild.digest import Digest
from kitbuild.node import Key
from kitbuild.rule import BlobWriter
from kitbuild.store import Result

if TYPE_CHECKING:
    # Builds without a remote cache need not load what uploads.
    from kitbuild.cache.uploads import LocalStore


def taken_by(trusted: Iterable[str]) -> str:
    """The namespace, which nobody can name so, of what builds with these trusted keys take from remote caches."""
    return f"taken {' '.join(sorted(set(trusted)))}"


class ApartStore:
    """Store and Notes over `local`: trusted results are found, those of `namespace` too, and new ones are of it.

    Unless it `keeps_apart`, new ones are trusted. Content is shared: it is what its digest says, whoever brought it.
    """

    def __init__(self, local: LocalStore, namespace: str, *, keeps_apart: bool = True) -> None:
        self._local = local
        self._namespace = namespace
        self._keeps_apart = keeps_apart

    def writer(self) -> AbstractContextManager[BlobWriter]:
        """A new blob."""
        return self._local.writer()

    def path(self, digest: Digest) -> Path:
        """A local file with this content; raises MissingBlobError."""
        return self._local.path(digest)

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of `digests` that are not here."""
        return self._local.missing(digests)

    def distance(self, digests: Iterable[Digest]) -> float:
        """How many seconds it may take to have them all here."""
        return self._local.distance(digests)

    def fetch(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those that could not be had."""
        return self._local.fetch(digests)

    def results(self, keys: Sequence[Key]) -> list[Result | None]:
        """What each of `keys` led to: a trusted result first, then one of the namespace."""
        trusted = self._local.results(keys)
        unknown = [key for key, result in zip(keys, trusted, strict=True) if result is None]
        if not unknown:
            return trusted
        own = dict(zip(unknown, self._local.results([self._own(key) for key in unknown]), strict=True))
        return [result or own.get(key) for key, result in zip(keys, trusted, strict=True)]

    def record(self, key: Key, result: Result) -> None:
        """Keeps a result, of the namespace unless new ones are trusted."""
        self._local.record(self._own(key) if self._keeps_apart else key, result)

    def note(self, space: str, name: str) -> bytes | None:
        """The note of this name."""
        return self._local.note(space, name)

    def keep(self, space: str, name: str, content: bytes) -> None:
        """Keeps or replaces a note."""
        self._local.keep(space, name, content)

    def lease(self) -> AbstractContextManager[None]:
        """Keeps what this build uses from being cleaned up."""
        return self._local.lease()

    def close(self) -> None:
        """Closes what this thread has open."""
        self._local.close()

    def _own(self, key: Key) -> Key:
        return Key(hashlib.sha256(f"kitbuild-namespace\0{self._namespace}\0{key.hex}".encode()).hexdigest())


class UnchangedStore(ApartStore):
    """Finds what an ApartStore finds, and keeps no results: to look is not to change anything."""

    def record(self, key: Key, result: Result) -> None:
        """Nothing."""
