"""Blobs: content as plain files, each under its digest.

    blobs/<2 hex>/<62 hex>   one blob, mode 0444, last used at its modification time
    tmp/<random>             a blob being written, under flock as long as its writer lives

A blob is hashed while it is written to `tmp/` and gets its name by a rename, over an older file if there is one:
that has the same content, and the new one brings a fresh time. So a file under a digest is always whole.
Several threads and processes may do all this at once.

Nothing is synced to the disk. After a crash of the whole machine a file may be short, or (rarely) full of zeros:
the first is noticed by its size whenever it is asked for, the second by `kitbuild cache verify`. Syncing
each blob would make writing many small ones ten times slower, to save what can be built again.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from kitbuild.cache.failure import failure
from kitbuild.cache.lease import FRESH_SECONDS
from kitbuild.digest import Digest, Hasher
from kitbuild.errors import MissingBlobError
from kitbuild.rule import BlobWriter

# Rules write headers of some dozen bytes; larger buffers brought nothing more.
_BUFFER_BYTES = 256 * 1024


class BlobFile(NamedTuple):
    """A blob as it lies on the disk: its hex digits, bytes, and last use in seconds since 1970."""

    hex: str
    size: int
    used: float


class Blobs:
    """The blobs of the cache at `folder`; whatever a clean-up must not miss is done inside `guard()`."""

    def __init__(self, folder: Path, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self._root = str(folder / "blobs")
        self._guard = guard
        self.temporary.mkdir(mode=0o700, exist_ok=True)
        (folder / "blobs").mkdir(mode=0o700, exist_ok=True)

    def file(self, hexdigits: str) -> str:
        """Where the blob of these digits lies or would lie."""
        return f"{self._root}/{hexdigits[:2]}/{hexdigits[2:]}"

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """A new blob; see kitbuild.rule.BlobWriter."""
        writer = _Writer(self, self._guard)
        try:
            yield writer
        finally:
            writer.close()

    def path(self, digest: Digest) -> Path:
        """The file of a blob; raises MissingBlobError."""
        if not self.present(digest):
            raise MissingBlobError(f"{digest.oci} is not in the cache {self.folder}")
        return Path(self.file(digest.hex))

    def present(self, digest: Digest) -> bool:
        """True if the blob is there with its full size, which then counts as used now."""
        path = self.file(digest.hex)
        try:
            status = os.stat(path)  # noqa: PTH116 (Path.stat takes twice as long, and this is asked ten thousand times)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise failure(self.folder, error) from error
        if status.st_size != digest.size:
            return False
        # A time in the future comes from a clock that was wrong; it would never grow old.
        if abs(time.time() - status.st_mtime) <= FRESH_SECONDS:
            return True
        return self._refresh(path)

    def all(self) -> Iterator[BlobFile]:
        """Every blob, in no order; files that are no blobs are passed over."""
        for shard in _scan(self._root):
            for entry in _scan(shard.path):
                hexdigits = shard.name + entry.name
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if len(hexdigits) == 64:
                        yield BlobFile(hexdigits, status.st_size, status.st_mtime)

    def _refresh(self, path: str) -> bool:
        try:
            with self._guard():
                os.utime(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise failure(self.folder, error) from error
        return True


class _Writer:
    """A BlobWriter into `blobs`."""

    def __init__(self, blobs: Blobs, guard: Callable[[], AbstractContextManager[None]]) -> None:
        self._blobs = blobs
        self._guard = guard
        self._hasher = Hasher()
        self._placed = False
        self._path = blobs.temporary / os.urandom(16).hex()
        try:
            # Made and locked under the guard: a clean-up must not find it unlocked and take it for a leftover.
            with guard():
                self._file = self._path.open("xb", buffering=_BUFFER_BYTES)
                fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as error:
            raise failure(blobs.folder, error) from error

    @property
    def size(self) -> int:
        """The number of bytes taken so far."""
        return self._hasher.size

    def write(self, piece: bytes | memoryview) -> int:
        """Takes the next piece."""
        try:
            self._file.write(piece)
        except OSError as error:
            raise failure(self._blobs.folder, error) from error
        self._hasher.update(piece)
        return len(piece)

    def digest(self) -> Digest:
        """The digest so far."""
        return self._hasher.digest()

    def commit(self) -> Digest:
        """Puts the blob in its place."""
        digest = self._hasher.digest()
        descriptor = self._file.fileno()
        try:
            self._file.flush()
            os.fchmod(descriptor, 0o444)
            with self._guard():
                os.utime(descriptor)
                self._place(self._blobs.file(digest.hex))
        except OSError as error:
            raise failure(self._blobs.folder, error) from error
        self._placed = True
        self.close()
        return digest

    def close(self) -> None:
        """Throws away what was not committed; may be called again."""
        # Closing writes what is left in the buffer, which fails once more on a full disk.
        with suppress(OSError):
            self._file.close()
        if not self._placed:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _place(self, target: str) -> None:
        try:
            self._path.rename(target)
        except FileNotFoundError:
            Path(target).parent.mkdir(mode=0o700, exist_ok=True)
            self._path.rename(target)


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
