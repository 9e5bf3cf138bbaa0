"""Export puts an artifact onto the user's disk: whole or not at all, and not again if it is already there."""

from __future__ import annotations

import errno
import json
import os
import shlex
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from typing import BinaryIO, NamedTuple

from kitbuild.digest import Digest, Hasher
from kitbuild.errors import KitbuildError, MissingBlobError
from kitbuild.extents import Extents, Literal, Slice, Zeros
from kitbuild.rule import Artifact
from kitbuild.store import Notes, Result, Store
from kitbuild.work import OpenBlobs, decoding, opened

_PIECE_BYTES = 1 << 20
# What the kernel copies at once: enough that a call costs nothing, little enough that hashing goes on beside it.
_STEP_BYTES = 1 << 24
_DEVICES = ("/dev", "/dev/fd", "/proc/self/fd")
# What runs of zeros are hashed, and short ones written, from.
_ZEROS = bytes(_PIECE_BYTES)


class Written(NamedTuple):
    """An output in place: `digest` names its bytes, `fresh` is false if it already was there."""

    path: Path
    digest: Digest
    fresh: bool


def in_place(path: Path, artifact: Artifact, notes: Notes) -> Digest | None:
    """The digest of the file at `path` if it still is what was exported there from `artifact`.

    A stat is enough: size, times, inode and device are those noted when it was written.
    """
    noted = notes.note("output", str(path.absolute()))
    if noted is None:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(noted)
        if content["artifact"] == artifact.digest.hex and content["stat"] == _stamp(path.stat()):
            return Digest.parse(content["sha256"], content["stat"][0])
    return None


def export(result: Result, path: Path, *, store: Store, notes: Notes) -> Written:
    """Writes the file a result that is a blob or extents describes, with mode 0666 less the umask.

    It is written beside `path` under a temporary name, hashed on the way, and renamed; only what is no file
    (/dev/null, a disk, a fifo) is written to where it is. Raises MissingBlobError if the store lost content,
    KitbuildError if the folder is not there, not writable, or full.
    """
    there = in_place(path, result.artifact, notes)
    if there is not None:
        return Written(path, there, fresh=False)
    if is_stream(path):
        return Written(path, _poured(result, path, store), fresh=True)
    with _new_file(path) as out:
        digest = write(extents_of(result.file(store), store), out, store, holes=True)
        ours = os.fstat(out.fileno())
    with suppress(FileNotFoundError):
        there_now = path.stat()
        # Another build may have put its own file there in between: that one is not noted as ours.
        # Nor is one on a file system that counts seconds, where a later change of the same length would not show.
        if os.path.samestat(ours, there_now) and there_now.st_mtime_ns % 1_000_000_000:
            note = {"artifact": result.artifact.digest.hex, "sha256": digest.hex, "stat": _stamp(there_now)}
            notes.keep("output", str(path.absolute()), json.dumps(note).encode())
    return Written(path, digest, fresh=True)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a small file so that there is the old one or all of the new one; raises KitbuildError.

    What is no file (/dev/stdout), or a link to one, is written to where it is.
    """
    try:
        if is_stream(path) or path.is_symlink():
            path.write_bytes(content)
            return
        with _new_file(path) as out:
            out.write(content)
    except OSError as error:
        raise KitbuildError(f"cannot write `{path}`: {error.strerror}") from error


def extents_of(artifact: Artifact, store: Store) -> Extents:
    """The file an artifact describes; a tree describes none."""
    if artifact.kind == "blob":
        return Extents.whole(artifact.digest)
    assert artifact.kind == "extents", f"{artifact.kind} is not a file"
    with opened(artifact.digest, store) as lines, decoding(artifact):
        return Extents.decode(lines)


def write(extents: Extents, out: BinaryIO, store: Store, *, holes: bool = False) -> Digest:
    """Writes the bytes of `extents` to `out` in constant memory and gives their digest.

    With `holes`, for a new file, long runs of zeros are not written: it reads the same and takes less of a disk.
    """
    with OpenBlobs(store) as blobs, _Hashing() as hashing:
        for part in extents.parts:
            if isinstance(part, Literal):
                _put(part.content, out, hashing)
            elif isinstance(part, Zeros):
                _zero(part.size, out, hashing, hole=holes and part.size >= _PIECE_BYTES)
            else:
                _copy(part, blobs.descriptor(part.blob), out, hashing)
        out.flush()
        if holes:
            # A hole at the end is there only once the file is as long.
            os.ftruncate(out.fileno(), os.lseek(out.fileno(), 0, os.SEEK_CUR))
        return hashing.digest()


def _zero(size: int, out: BinaryIO, hashing: _Hashing, *, hole: bool) -> None:
    if hole:
        out.flush()
        os.lseek(out.fileno(), size, os.SEEK_CUR)
    for offset in range(0, size, _PIECE_BYTES):
        piece = _ZEROS[: min(_PIECE_BYTES, size - offset)]
        hashing.update(piece)
        if not hole:
            out.write(piece)


def _put(piece: bytes, out: BinaryIO, hashing: _Hashing) -> None:
    out.write(piece)
    hashing.update(piece)


def _copy(part: Slice, source: int, out: BinaryIO, hashing: _Hashing) -> None:
    """Copies a slice; a large one inside the kernel, which shares the blocks where the file system can."""
    copied = 0
    if part.size >= _PIECE_BYTES:
        out.flush()
        while copied < part.size:
            wanted = min(_STEP_BYTES, part.size - copied)
            try:
                step = os.copy_file_range(source, out.fileno(), wanted, part.offset + copied)
            except OSError:  # across file systems, or into a pipe: the ordinary way below
                break
            if step == 0:
                break
            hashing.update_from(source, part.offset + copied, step)
            copied += step
    for offset in range(part.offset + copied, part.offset + part.size, _PIECE_BYTES):
        size = min(_PIECE_BYTES, part.offset + part.size - offset)
        piece = os.pread(source, size, offset)
        if len(piece) != size:
            raise MissingBlobError(f"{part.blob} is shorter than it was")
        _put(piece, out, hashing)


class _Hashing:
    """Hashes in a thread beside the writing: both let go of the interpreter, so the slower one alone counts."""

    def __init__(self) -> None:
        self._hasher = Hasher()
        # A few pieces ahead keep both busy and bound the memory.
        self._pieces: Queue[bytes | tuple[int, int, int] | None] = Queue(maxsize=4)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Hashing:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._thread.is_alive():
            self._pieces.put(None)
            self._thread.join()

    def update(self, piece: bytes) -> None:
        self._pieces.put(piece)

    def update_from(self, source: int, offset: int, size: int) -> None:
        self._pieces.put((os.dup(source), offset, size))

    def digest(self) -> Digest:
        self._pieces.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._hasher.digest()

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if isinstance(piece, bytes):
                self._hasher.update(piece)
            else:
                self._hash_file(*piece)

    def _hash_file(self, descriptor: int, offset: int, size: int) -> None:
        try:
            while size and self._error is None:
                piece = os.pread(descriptor, min(_PIECE_BYTES, size), offset)
                if not piece:
                    raise MissingBlobError("a blob became shorter while it was written")
                self._hasher.update(piece)
                offset, size = offset + len(piece), size - len(piece)
        except (OSError, MissingBlobError) as error:
            self._error = error  # kept until `digest`, so that the queue is still emptied
        finally:
            os.close(descriptor)


def is_stream(path: Path) -> bool:
    """Whether a path is of something that is written to, never replaced: a pipe, a device, /dev/stdout."""
    with suppress(OSError):
        mode = path.stat().st_mode
        # A link to whatever the shell opened, a file perhaps: what takes its place is there for all programs.
        if str(path.absolute().parent) in _DEVICES:
            return True
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def _poured(result: Result, path: Path, store: Store) -> Digest:
    try:
        with path.open("wb") as out:
            return write(extents_of(result.file(store), store), out, store)
    except OSError as error:
        raise KitbuildError(f"cannot write to `{path}`: {error.strerror}") from error


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the name `path` when the block ends well, and leaves nothing when it does not."""
    # Named before it is made: an interrupt just after that still finds what to remove. And named short: the name of
    # the output may be as long as a name can be.
    temporary = path.with_name(f".kitbuild-{os.urandom(8).hex()}")
    try:
        with temporary.open("xb") as out:
            yield out
        temporary.replace(path)
    except OSError as error:
        raise KitbuildError(f"cannot write `{path}`: {error.strerror}", hint=_hint(error, path)) from error
    finally:
        # After an error in the folder itself there is nothing to remove.
        with suppress(OSError):
            temporary.unlink()


def _hint(error: OSError, path: Path) -> str | None:
    if error.errno == errno.ENOENT:
        return f"make the folder first: mkdir -p {shlex.quote(str(path.parent))}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space there, or choose another folder with `--dir`"
    if error.errno in (errno.EFBIG, errno.EINVAL):
        return "lower `--size`, or choose another folder with `--dir`: this one holds no file as large"
    if error.errno in (errno.EACCES, errno.EROFS):
        return "choose a folder you may write to with `--dir`"
    return None


def _stamp(found: os.stat_result) -> list[int]:
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]
