"""Store and Notes: the ports that everything in kitbuild.cache implements."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from kitbuild.digest import Digest
from kitbuild.node import Key
from kitbuild.rule import Artifact, BlobWriter


class Result(NamedTuple):
    """What a key led to: the artifact, the blobs its bytes refer to, and how long it took to make."""

    artifact: Artifact
    blobs: tuple[Digest, ...] = ()
    seconds: float = 0.0

    def content(self) -> tuple[Digest, ...]:
        """All content the result consists of: the artifact's own bytes and the blobs they refer to."""
        return (self.artifact.digest, *self.blobs)


class Store(Protocol):
    """Content by digest and results by key.

    Safe to use from several threads and, for stores on disk, several processes. Not promised: that content
    stays. A result may be there while its content is gone; ask `missing` before relying on it.
    """

    def writer(self) -> AbstractContextManager[BlobWriter]:
        """A new blob; see BlobWriter."""

    def path(self, digest: Digest) -> Path:
        """A local file with this content, never to be written to; raises MissingBlobError.

        The file may be removed by a clean-up at any time: open it at once, and expect that to fail.
        """

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of `digests` that are not there with their full size."""

    def result(self, key: Key) -> Result | None:
        """What `key` led to, and a sign of use for the content it refers to."""

    def record(self, key: Key, result: Result) -> None:
        """Keeps a result; its content must have been committed before."""


class Notes(Protocol):
    """Small local memories that make builds faster or messages better; each may vanish at any time.

    A note is bytes under a name in a space ("stat", "image", "node"); nothing in it is ever part of a key.
    """

    def note(self, space: str, name: str) -> bytes | None:
        """The note of this name."""

    def keep(self, space: str, name: str, content: bytes) -> None:
        """Keeps or replaces a note."""
