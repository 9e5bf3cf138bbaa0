"""Writes what is in an output below a folder, as anybody, and never outside of it.

Every folder on the way is opened by itself and must not be a symlink, so that neither a symlink of the output nor
one that is put there meanwhile leads anywhere else.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from kitbuild.errors import KitbuildError
from kitbuild.reading.entries import OutputEntry, parents_of
from kitbuild.reading.output import Output

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = ("character", "block", "fifo", "socket")
_PLAIN_MODE = 0o777
_ALL_MODE = 0o7777
_CHUNK_BYTES = 1 << 20
# Nanoseconds; what is farther away does not fit into the numbers of system calls.
_FARTHEST = (1 << 62) * 1_000_000_000


class Extracted(NamedTuple):
    """How much was written, by kind, and what was left out, by kind; bytes of the files."""

    written: Counter[str]
    skipped: Counter[str]
    bytes: int


class Extraction:
    """One go of writing below `folder`, which is made if it is not there.

    `force` replaces what is there; `all_modes` keeps the bits setuid, setgid and sticky. Raises KitbuildError for
    what cannot be read or written, after taking back what it has made.
    """

    def __init__(self, output: Output, folder: Path, *, force: bool = False, all_modes: bool = False) -> None:
        self._output, self._folder, self._force = output, folder, force
        self._mask = _ALL_MODE if all_modes else _PLAIN_MODE
        self._made: list[tuple[str, bool]] = []
        self._modes: list[OutputEntry] = []
        self._written: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._bytes = 0
        self._replaced = 0
        self._made_names: set[tuple[str, bool]] = set()
        self._parent: tuple[str, int] = ("", -1)

    def run(self, entries: Iterable[OutputEntry]) -> Extracted:
        """Writes the entries, and the folders above them."""
        wanted = sorted(entries, key=lambda entry: entry.path)
        is_new = not self._folder.exists()
        place = str(self._folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise KitbuildError(f"cannot write to `{self._folder}`: {error.strerror}") from None
        try:
            for folder in sorted(parents_of(entry.path for entry in wanted)):
                place = folder
                self._make_folder(OutputEntry(folder, "directory", 0o755), is_asked=False)
            for entry in wanted:
                place = entry.path
                self._write(entry)
            self._finish_folders()
        except BaseException as error:
            self._take_back(is_new=is_new)
            if isinstance(error, OSError):
                raise self._failed(place, error) from None
            raise
        finally:
            self._leave_parent()
            os.close(self._root)
        return Extracted(self._written, self._skipped, self._bytes)

    def _write(self, entry: OutputEntry) -> None:
        if entry.kind in _SPECIAL:
            self._skipped[entry.kind] += 1
            return
        if entry.kind == "directory":
            self._make_folder(entry, is_asked=True)
        else:
            folder, name = self._place(entry.path)
            self._make_room(folder, name)
            if entry.kind == "symlink":
                os.symlink(entry.target, name, dir_fd=folder)
                self._made.append((entry.path, False))
                os.utime(name, ns=_times(entry), dir_fd=folder, follow_symlinks=False)
            elif entry.kind != "hardlink" or not self._link(entry, folder, name):
                self._write_file(entry, folder, name)
        self._written[entry.kind] += 1

    def _write_file(self, entry: OutputEntry, folder: int, name: str) -> None:
        descriptor = os.open(name, _FILE_FLAGS, 0o600, dir_fd=folder)
        self._made.append((entry.path, False))
        with os.fdopen(descriptor, "wb", buffering=0) as file, self._output.open(entry) as content:
            left = entry.size
            while piece := content.read(min(_CHUNK_BYTES, left)):
                left -= len(piece)
                rest = memoryview(piece)
                while rest:
                    rest = rest[file.write(rest) :]
            if left:
                raise KitbuildError(f"`{entry.path}`: expected {entry.size} bytes, got {entry.size - left}")
            self._bytes += entry.size
            os.fchmod(descriptor, entry.mode & self._mask)
            os.utime(descriptor, ns=_times(entry))

    def _link(self, entry: OutputEntry, folder: int, name: str) -> bool:
        """One more name for a file written before; False if that one is not among what is written."""
        if (entry.target, False) not in self._links():
            return False
        inside, _, source = entry.target.rpartition("/")
        other = self._walk(inside)
        try:
            os.link(source, name, src_dir_fd=other, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(other)
        self._made.append((entry.path, False))
        return True

    def _links(self) -> set[tuple[str, bool]]:
        if len(self._made_names) != len(self._made):
            self._made_names.update(self._made[len(self._made_names) :])
        return self._made_names

    def _make_folder(self, entry: OutputEntry, *, is_asked: bool) -> None:
        folder, name = self._place(entry.path)
        try:
            os.mkdir(name, 0o700, dir_fd=folder)
        except FileExistsError:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                if self._force and is_asked:
                    self._modes.append(entry)
                return
            self._make_room(folder, name)
            os.mkdir(name, 0o700, dir_fd=folder)
        self._made.append((entry.path, True))
        self._modes.append(entry)

    def _make_room(self, folder: int, name: str) -> None:
        """Takes away what is there, if it may; only O_EXCL knows for sure that there is nothing."""
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not self._force:
            raise FileExistsError(17, "it is there already")
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(21, "there is a folder of that name")
        os.unlink(name, dir_fd=folder)
        self._replaced += 1

    def _finish_folders(self) -> None:
        """Modes and times, the deepest folders first: what is written into one changes its time."""
        for entry in reversed(self._modes):
            descriptor = self._walk(entry.path)
            try:
                os.fchmod(descriptor, entry.mode & self._mask)
                os.utime(descriptor, ns=_times(entry))
            finally:
                os.close(descriptor)

    def _place(self, path: str) -> tuple[int, str]:
        """The folder a path is in, opened, and the name there."""
        folder, _, name = path.rpartition("/")
        if self._parent[1] < 0 or self._parent[0] != folder:
            self._leave_parent()
            self._parent = folder, self._walk(folder)
        return self._parent[1], name

    def _leave_parent(self) -> None:
        if self._parent[1] >= 0:
            os.close(self._parent[1])
        self._parent = "", -1

    def _walk(self, path: str) -> int:
        """Opens a folder below the top, part by part."""
        descriptor = os.dup(self._root)
        for part in path.split("/") if path else ():
            try:
                inner = os.open(part, _FOLDER_FLAGS, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor

    def _take_back(self, *, is_new: bool) -> None:
        for path, is_folder in reversed(self._made):
            folder, _, name = path.rpartition("/")
            with suppress(OSError):
                descriptor = self._walk(folder)
                try:
                    (os.rmdir if is_folder else os.unlink)(name, dir_fd=descriptor)
                finally:
                    os.close(descriptor)
        if is_new:
            with suppress(OSError):
                self._folder.rmdir()

    def _failed(self, path: str, error: OSError) -> KitbuildError:
        rest = f"; {self._replaced} files replaced before that are gone" if self._replaced else ""
        hint = "add `--force` to replace it, or choose another folder with `-C`"
        return KitbuildError(
            f"cannot write `{self._folder / path}`: {error.strerror}{rest}",
            hint=hint if isinstance(error, FileExistsError) else None,
        )


def _times(entry: OutputEntry) -> tuple[int, int]:
    """Those of access and change, as `os.utime` takes them."""
    time = max(-_FARTHEST, min(entry.mtime, _FARTHEST))
    return time, time
