"""The digest of a local file that a config names, and whether it has changed since it was last read."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from kitbuild.digest import Digest, Hasher
from kitbuild.errors import RuleError
from kitbuild.store import Notes

_PIECE_BYTES = 1 << 20
# FAT keeps times in steps of two seconds, the coarsest in use.
_RACY_NANOSECONDS = 2_000_000_000


def local_file(path: Path, notes: Notes) -> Digest:
    """The digest of a file of the user's; unchanged files are not read again.

    A file counts as unchanged if size, mtime, ctime, inode and device are those noted. Raises RuleError if it
    cannot be read, is no regular file, or changes while it is read.
    """
    name = str(path.absolute())
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise RuleError(f"expected a regular file, got something else: `{path}`")
        return _noted(notes.note("stat", name), status) or _hashed(path, name, notes)
    except OSError as error:
        raise RuleError(f"cannot read `{path}`: {error.strerror}") from error


def _hashed(path: Path, name: str, notes: Notes) -> Digest:
    began = time.time_ns()
    with path.open("rb", buffering=0) as stream:
        before = os.fstat(stream.fileno())
        hasher = Hasher()
        # One byte past the size tells a file that is being written, without following it for ever.
        while hasher.size <= before.st_size and (piece := stream.read(_PIECE_BYTES)):
            hasher.update(piece)
        after = os.fstat(stream.fileno())
    if hasher.size != before.st_size or _identity(before) != _identity(after):
        raise RuleError(f"`{path}` changed while it was read", hint="build again once nothing writes to it")
    digest = hasher.digest()
    # A file written a moment ago can be written again within the same tick of its clock: that would not show.
    # Its ctime says when: archives and packagers set the mtime back.
    if began - max(before.st_mtime_ns, before.st_ctime_ns) > _RACY_NANOSECONDS:
        notes.keep("stat", name, f"{_identity(before)} {digest.hex}".encode())
    return digest


def _noted(note: bytes | None, status: os.stat_result) -> Digest | None:
    if note is None:
        return None
    identity, _, hexdigits = note.decode("ascii", "replace").rpartition(" ")
    if identity != _identity(status):
        return None
    try:
        return Digest.parse(hexdigits, status.st_size)
    except ValueError:
        return None


def _identity(status: os.stat_result) -> str:
    fields = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    return " ".join(map(str, fields))
