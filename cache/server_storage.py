"""Storage: the folder of a cache server.

    ac/<2 hex>/<64 hex>                      a result
    cas/<2 hex>/<64 hex>                     content, of all namespaces
    namespaces/<name>/ac/<2 hex>/<64 hex>    a result of a namespace, whose name may have several parts
    upload-<random>                          what is being uploaded
    server.lock                              held by the server

That is the layout of Bazel's disk cache with namespaces added: `bazel --disk_cache` and `file://` may use the same
folder at the same time. A file gets its name when it is whole, by a rename; its modification time is that of its last
use. So the folder says everything, and a server that was killed left nothing but uploads, which the next one removes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from kitbuild.cache.failure import failure
from kitbuild.cache.server_results import all_needs
from kitbuild.digest import Digest
from kitbuild.errors import StoreError

EMPTY = Digest.of(b"")

# Uses within this time of the last one are not written down: one system call less for each GET.
TOUCH_SECONDS = 60

# What a file takes of a disk, whatever is in it.
_BLOCK_BYTES = 4096

_UPLOAD = "upload-"
# No part of a namespace is `ac` or `cas`, which say what follows, or begins with a dot. Four levels are plenty.
_PART = r"(?!(?:ac|cas)/)[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_PATH = re.compile(rf"/((?:{_PART}/){{0,4}})(ac|cas)/([0-9a-f]{{64}})\Z")


class Name(NamedTuple):
    """What a URL names: a result ("ac") of a namespace, or content ("cas"), which is of all of them."""

    namespace: str
    kind: str
    hex: str

    @classmethod
    def parse(cls, path: str) -> Name | None:
        """Reads the path of a URL as it was sent; None if it names nothing."""
        match = _PATH.match(path)
        return None if match is None else cls(match[1].rstrip("/"), match[2], match[3])


class Storage:
    """Results and content in a folder, for one server. Not for use from several threads but for what says so."""

    def __init__(self, folder: Path) -> None:
        """Opens the folder and removes uploads that were cut off; raises StoreError if another server uses it."""
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(folder)
            for left in folder.glob(f"{_UPLOAD}*"):
                left.unlink(missing_ok=True)
        except OSError as error:
            raise failure(folder, error) from error
        # What is being uploaded has this before its name.
        self.upload_prefix = f"{folder}/{_UPLOAD}"
        # While something looks for what to drop: what was used meanwhile.
        self.used: set[str] | None = None
        # What is there; set by whoever looks through the folder, and kept up from then on.
        self.bytes = 0
        self.counts = Counter[str]()

    def close(self) -> None:
        """Lets go of the folder."""
        self._lock.close()

    def path(self, name: Name) -> str:
        """Where a result or content lies or would lie. From any thread."""
        inside = f"namespaces/{name.namespace}/" if name.namespace and name.kind == "ac" else ""
        return f"{self.folder}/{inside}{name.kind}/{name.hex[:2]}/{name.hex}"

    def status(self, path: str) -> os.stat_result | None:
        """What the system knows of a file; None for what is not there, or empty. From any thread.

        Empty content is never asked for here, so an empty file is what a crash of the machine left.
        """
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found if found.st_size and stat.S_ISREG(found.st_mode) else None

    def touch(self, path: str, status: os.stat_result) -> None:
        """Counts a file as used now."""
        if self.used is not None:
            self.used.add(path)
        # A time in the future comes from a clock that was wrong; it would never grow old.
        if abs(time.time() - status.st_mtime) > TOUCH_SECONDS:
            with suppress(OSError):  # gone, or another user's: either is no reason to refuse it
                os.utime(path)

    def read(self, digest: Digest) -> bytes | None:
        """Small content, None if it is not there. From any thread."""
        try:
            content = Path(self.path(Name("", "cas", digest.hex))).read_bytes()
        except OSError:
            return None
        return content if len(content) == digest.size else None

    def found(self, content: bytes) -> list[tuple[str, os.stat_result]] | None:
        """Files of all that a result refers to; None unless all of it is there. From any thread.

        Raises ValueError for what is no result.
        """
        needed = all_needs(content, self.read)
        if needed is None:
            return None
        files = []
        for digest in needed:
            if digest.size == 0 and digest == EMPTY:
                continue
            path = self.path(Name("", "cas", digest.hex))
            status = self.status(path)
            if status is None or status.st_size != digest.size:
                return None
            files.append((path, status))
        return files

    def free_bytes(self) -> int:
        """How much the disk still takes. From any thread."""
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    def place(self, path: str, name: Name, size: int) -> bool:
        """Gives a file of `size` bytes its name; True if there was none of this name. Raises OSError."""
        final = self.path(name)
        before = self.status(final)
        try:
            os.rename(path, final)  # noqa: PTH104
        except FileNotFoundError:
            os.makedirs(os.path.dirname(final), exist_ok=True)  # noqa: PTH103, PTH120
            os.rename(path, final)  # noqa: PTH104
        if self.used is not None:
            self.used.add(final)
        self.bytes += on_disk(size) - (on_disk(before.st_size) if before else 0)
        self.counts[name.kind] += before is None
        return before is None

    def remove(self, path: str, kind: str, size: int) -> bool:
        """Removes a file that takes `size` bytes of the disk; False if it is not there any more."""
        try:
            os.unlink(path)  # noqa: PTH108 (paths are text here)
        except OSError:
            return False
        self.bytes -= size
        self.counts[kind] -= 1
        return True

    def files(self, kind: str) -> Iterator[tuple[str, os.stat_result]]:
        """All results ("ac") or all content ("cas") as (path, status), in no order. From any thread."""
        roots = [str(self.folder)]
        if kind == "ac":
            roots += _namespaces(f"{self.folder}/namespaces")
        for root in roots:
            for shard in _entries(f"{root}/{kind}"):
                for entry in _entries(shard.path):
                    if len(entry.name) == 64 and entry.name.startswith(shard.name):
                        with suppress(FileNotFoundError):
                            yield entry.path, entry.stat(follow_symlinks=False)


def on_disk(size: int) -> int:
    """What a file of so many bytes takes of the disk: whole blocks."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _locked(folder: Path) -> IO[str]:
    """The lock of a folder, held until it is closed or this process ends."""
    file = (folder / "server.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        raise StoreError(
            f"another server uses the folder {folder}", hint="stop it, or give another folder as --dir"
        ) from error
    return file


def _namespaces(folder: str) -> Iterator[str]:
    for entry in _entries(folder):
        if entry.name != "ac":
            yield entry.path
            yield from _namespaces(entry.path)


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
