"""Store and Notes: the ports that everything in kitbuild.cache implements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from kitbuild.digest import Digest
from kitbuild.node import Key
from kitbuild.rule import Artifact, BlobWriter


class Result(NamedTuple):
    """What a key led to: the artifact, the blobs its bytes refer to, and how long it took to make.

    `dense`, if given, is the same file told with fewer bytes: the digest of other extents, then of the blobs they
    slice. Whoever wants the file may take either; the artifact alone counts in keys. A store says of a result that it
    is `far` if it had to ask elsewhere for it; that is never kept.
    """

    artifact: Artifact
    blobs: tuple[Digest, ...] = ()
    seconds: float = 0.0
    dense: tuple[Digest, ...] = ()
    far: bool = False

    def content(self) -> tuple[Digest, ...]:
        """All content the result consists of: the artifact's own bytes and the blobs they refer to."""
        return (self.artifact.digest, *self.blobs)

    def size(self) -> int:
        """The content in bytes: of a blob its own, of a tree or extents those of the blobs they refer to."""
        return sum(blob.size for blob in self.blobs) if self.blobs else self.artifact.digest.size

    def nearest(self, store: Store) -> tuple[Digest, ...]:
        """What to bring here to write the file: the content, or the dense form if that is nearer."""
        for form in (self.content(), self.dense):
            if form and not store.missing(form):
                return form
        if self.dense and store.distance(self.dense) < store.distance(self.content()):
            return self.dense
        return self.content()

    def file(self, store: Store) -> Artifact:
        """The artifact to write the file from."""
        return self.artifact if self.nearest(store) == self.content() else Artifact("extents", self.dense[0])


class Store(Protocol):
    """Content by digest and results by key, here and perhaps elsewhere too.

    Safe to use from several threads and, for stores on disk, several processes. Not promised: that content
    stays. A result may be there while its content is gone; ask `distance` before relying on it.
    """

    def writer(self) -> AbstractContextManager[BlobWriter]:
        """A new blob; see BlobWriter."""

    def path(self, digest: Digest) -> Path:
        """A local file with this content, brought here if it is elsewhere; raises MissingBlobError.

        It is never to be written to.
        The file may be removed by a clean-up at any time: open it at once, and expect that to fail.
        """

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of `digests` that are not here with their full size."""

    def distance(self, digests: Iterable[Digest]) -> float:
        """How many seconds it may take to have them all here: 0.0 if they are, infinite if one is nowhere."""

    def fetch(self, digests: Iterable[Digest]) -> set[Digest]:
        """Brings them here, several at once; those that could not be had, or came too slowly to be waited for."""

    def results(self, keys: Sequence[Key]) -> list[Result | None]:
        """What each of `keys` led to, and a sign of use for the content they refer to."""

    def record(self, key: Key, result: Result) -> None:
        """Keeps a result; its content must have been committed before."""


class Notes(Protocol):
    """Small local memories that make builds faster or messages better; each may vanish at any time.

    A note is bytes under a name in a space ("stat", "image", "build"); nothing in it is ever part of a key.
    """

    def note(self, space: str, name: str) -> bytes | None:
        """The note of this name."""

    def keep(self, space: str, name: str, content: bytes) -> None:
        """Keeps or replaces a note."""
