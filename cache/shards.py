"""FileShards: files under names of 64 hex digits, in a folder, perhaps on a network file system, perhaps of a group.

    <folder>/                      made when it is first written to
        <room>/<2 hex>/<64 hex>    a file; the room of content is `cas`, that of records `ac`
        tmp/<32 hex>               what is being written

Nothing is locked and nothing synced, so that any file system will do: a file gets its name by a rename when it is
whole. Folders and files get the permissions that `<folder>` has, whatever the umask: make it, or its parent, 2775 for
a group. Links inside `<folder>` are not followed. Safe for any number of threads, processes and machines at once.

A file's modification time says when it was last used, give or take an hour, if whoever uses it may set it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal

from kitbuild.errors import RemoteError

Room = Literal["ac", "cas"]

# A use within this time of the last one is not written down.
_FRESH_SECONDS = 3600
# A file in tmp/ that nobody has written to for this long is left from a killed process.
_LEFTOVER_SECONDS = 24 * 3600
_INSIDE = os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
# Asking again is of no use.
_LASTING = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG} | _ABSENT
# Whoever may write to the folder itself may write to what is in it, except everybody.
_MOST_MODE = stat.S_ISGID | 0o775


class FileShards:
    """The files in `folder`. Every method raises RemoteError if the folder cannot be read or written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The permissions of what is made; None until the folder is known to be there.
        self._mode: int | None = None
        self._reachable = False

    def path(self, room: Room, name: str) -> Path:
        """Where the record (ac) or content (cas) of these 64 hex digits lies or would lie."""
        return self.folder / room / name[:2] / name

    def size(self, room: Room, name: str) -> int | None:
        """Its bytes, None if it is not there; it counts as used now."""
        try:
            with self._shard(room, name) as shard:
                found = os.stat(name, dir_fd=shard, follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode):
                    return None
                if _is_stale(found):
                    with suppress(OSError):
                        os.utime(name, dir_fd=shard, follow_symlinks=False)
                return found.st_size
        except OSError as error:
            self._unless_absent(error)
            return None

    def open(self, room: Room, name: str) -> BinaryIO | None:
        """The file, to be closed by the caller, None if it is not there; it counts as used now."""
        try:
            with self._shard(room, name) as shard:
                # A pipe somebody put there would block us.
                descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _INSIDE, dir_fd=shard)
            found = os.fstat(descriptor)
        except OSError as error:
            self._unless_absent(error)
            return None
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            return None
        if _is_stale(found):
            with suppress(OSError):
                os.utime(descriptor)
        return os.fdopen(descriptor, "rb")

    @contextmanager
    def writer(self, room: Room) -> Iterator[FileWriter]:
        """A new file; it vanishes unless it is committed."""
        try:
            writer = FileWriter(self, room)
        except OSError as error:
            raise self.failure(error, "written to") from error
        try:
            yield writer
        finally:
            writer.close()

    def failure(self, error: OSError, doing: str) -> RemoteError:
        """What to tell about a folder that cannot be read or written to."""
        return RemoteError(
            f"{self.folder} cannot be {doing}: {error.strerror or error}",
            lasting=error.errno in _LASTING,
            writing=doing != "read",
        )

    def make(self, room: str, name: str = "") -> tuple[int, int]:
        """An open folder that is made if it is not there, and the permissions it has; for FileWriter."""
        if self._mode is None:
            self._reach()
            _make_root(self.folder)
            self._mode = self.folder.stat().st_mode & _MOST_MODE
            _sweep(self.folder / "tmp")
        return _entered(self.folder, (room, name[:2]) if name else (room,), self._mode), self._mode

    @contextmanager
    def _shard(self, room: Room, name: str) -> Iterator[int]:
        self._reach()
        shard = _entered(self.folder, (room, name[:2]), None)
        try:
            yield shard
        finally:
            os.close(shard)

    def _reach(self) -> None:
        """Raises RemoteError if nothing is mounted, or the path is mistyped."""
        outer = self.folder.parent
        # One more level may be missing: that of a namespace, whose cache nobody has written to yet.
        if not self._reachable and not (_is_folder(outer) or _is_folder(outer.parent)):
            raise RemoteError(f"expected a folder {outer} for the remote cache, got none", lasting=True)
        self._reachable = True

    def _unless_absent(self, error: OSError) -> None:
        if error.errno not in _ABSENT:
            raise self.failure(error, "read") from error


class FileWriter:
    """A file being written; made by FileShards.writer."""

    def __init__(self, shards: FileShards, room: Room) -> None:
        self.size = 0
        self._shards = shards
        self._room = room
        self._name = os.urandom(16).hex()
        self._folder, mode = shards.make("tmp")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _INSIDE
            self._file = os.fdopen(os.open(self._name, flags, 0o600, dir_fd=self._folder), "wb", 0)
        except OSError:
            os.close(self._folder)
            raise
        _allow(self._file.fileno(), mode & 0o664)
        self._open = True

    def write(self, piece: bytes | memoryview) -> None:
        """Takes the next piece; raises RemoteError."""
        rest = memoryview(piece)
        self.size += len(rest)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._shards.failure(error, "written to") from error

    def commit(self, name: str) -> None:
        """Gives the file its name, in the place of one that has it; raises RemoteError."""
        try:
            # Network file systems may tell of a full disk only now.
            self._file.close()
            shard, _ = self._shards.make(self._room, name)
            try:
                os.rename(self._name, name, src_dir_fd=self._folder, dst_dir_fd=shard)
            finally:
                os.close(shard)
        except OSError as error:
            raise self._shards.failure(error, "written to") from error

    def close(self) -> None:
        """Throws away what was not committed; may be called again."""
        if self._open:
            self._open = False
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._folder)
            os.close(self._folder)


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 (Path's raises what the system says)


def _make_root(folder: Path) -> None:
    """Makes a folder, for the group that its parent is for."""
    if _is_folder(folder):
        return
    if not _is_folder(folder.parent):
        _make_root(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
        mode = folder.parent.stat().st_mode
        if mode & stat.S_ISGID:
            with suppress(OSError):
                folder.chmod(mode & _MOST_MODE)


def _is_stale(found: os.stat_result) -> bool:
    # A time in the future comes from a clock that was wrong; it would never grow old.
    return abs(time.time() - found.st_mtime) > _FRESH_SECONDS


def _entered(root: Path, names: tuple[str, ...], mode: int | None) -> int:
    """The folder `names` below `root`, opened; made with `mode`, if that is given. No link is followed but `root`."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in names:
        try:
            inner = _step(descriptor, name, mode)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _step(outer: int, name: str, mode: int | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | _INSIDE
    try:
        return os.open(name, flags, dir_fd=outer)
    except FileNotFoundError:
        if mode is None:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=outer)
    inner = os.open(name, flags, dir_fd=outer)
    _allow(inner, mode)
    return inner


def _allow(descriptor: int, mode: int) -> None:
    # File systems without permissions refuse, and need none.
    with suppress(OSError):
        os.fchmod(descriptor, mode)


def _sweep(folder: Path) -> None:
    """Removes what killed processes have left."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFTOVER_SECONDS:
                Path(entry.path).unlink(missing_ok=True)
