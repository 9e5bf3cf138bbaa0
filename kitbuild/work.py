"""What one run of a rule may touch, over a real store."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RuleError, StoreError
from kitbuild.extents import Extents, Slice
from kitbuild.rule import Artifact, BlobWriter, Value
from kitbuild.store import Result, Store
from kitbuild.tree import Entry, Tree, entries_of

# Large enough that a system call and a Python call cost nothing beside the bytes, small enough for constant memory.
PIECE_BYTES = 1 << 20
# Blobs one run keeps open. A process may often have a thousand files, and as many runs go on as it has processors.
_MOST_OPEN = 16
# How often a run that waits for a program looks whether the build was stopped.
_LOOK_SECONDS = 0.2
# How often a run tells how far it is, and after how many bytes it looks at the clock for that.
_TELL_SECONDS = 0.1
_TELL_BYTES = 1 << 16


class CancelledError(Exception):
    """The build was stopped while this run was going on."""


class StoreWork:
    """The Work of one node: its options, its inputs' artifacts, and a store to read from and write to.

    Use it as a context manager: leaving it closes what was opened and removes the scratch folder. Blobs are read
    with `pread` on files kept open, never mapped: mapped pages would count as this process's memory. `progress` is
    told now and then how many bytes the run has gone through, of how many if it said so (0: nobody knows).
    """

    def __init__(
        self,
        *,
        options: Any,
        inputs: Mapping[str, tuple[Artifact, ...]],
        store: Store,
        cancelled: Callable[[], bool] = lambda: False,
        warn: Callable[[str], None] = lambda message: None,
        progress: Callable[[int, int], None] = lambda done, size: None,
    ) -> None:
        self.options = options
        self._inputs = inputs
        self._store = store
        self._cancelled = cancelled
        self._warn = warn
        self._meter = _Meter(progress)
        self._closing = ExitStack()
        self._blobs = self._closing.enter_context(OpenBlobs(store))

    def __enter__(self) -> StoreWork:
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.close()

    def artifact(self, name: str) -> Artifact:
        (artifact,) = self._inputs[name]
        return artifact

    def artifacts(self, name: str) -> tuple[Artifact, ...]:
        return self._inputs.get(name, ())

    def tree(self, artifact: Artifact) -> Tree:
        return Tree(tuple(self.entries(artifact)))

    def entries(self, artifact: Artifact) -> Iterator[Entry]:
        with self.open(artifact.digest) as lines, decoding(artifact):
            yield from entries_of(lines)

    def extents(self, artifact: Artifact) -> Extents:
        with self.open(artifact.digest) as lines, decoding(artifact):
            return Extents.decode(lines)

    def open(self, blob: Digest) -> BinaryIO:
        self._stop_if_cancelled()
        return opened(blob, self._store)

    def read(self, part: Slice) -> bytes:
        self._stop_if_cancelled()
        content = os.pread(self._blobs.descriptor(part.blob), part.size, part.offset)
        if len(content) != part.size:
            raise MissingBlobError(f"{part.blob} is shorter than it was")
        self._meter.read(part.size)
        return content

    def pieces(self, part: Slice) -> Iterator[bytes]:
        end = part.offset + part.size
        for offset in range(part.offset, end, PIECE_BYTES):
            yield self.read(Slice(part.blob, offset, min(PIECE_BYTES, end - offset)))

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        with self._store.writer() as writer:
            yield _CancellableWriter(writer, self._stop_if_cancelled, self._meter.wrote)

    def put(self, content: bytes) -> Digest:
        with self.writer() as writer:
            writer.write(content)
            return writer.commit()

    def scratch(self) -> Path:
        import shutil
        import tempfile

        folder = tempfile.mkdtemp(prefix="kitbuild-")
        self._closing.callback(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def tool(self, command: Sequence[str], folder: Path | None = None) -> bytes:
        import subprocess

        environment = {**os.environ, "LC_ALL": "C"}
        try:
            process = subprocess.Popen(
                command,
                cwd=folder or self.scratch(),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise RuleError(f"cannot run `{command[0]}`: {error.strerror}") from error
        with process:
            try:
                while True:
                    try:
                        output, errors = process.communicate(timeout=_LOOK_SECONDS)
                        break
                    except subprocess.TimeoutExpired:
                        self._stop_if_cancelled()
            finally:
                process.kill()
        if process.returncode:
            last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise RuleError(f"`{command[0]}` failed: {last or f'exit status {process.returncode}'}")
        return output

    def passing(self, pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
        self._meter.expect(size)
        for piece in pieces:
            self._stop_if_cancelled()
            self._meter.passed(len(piece))
            yield piece

    def warn(self, message: str) -> None:
        self._warn(message)

    def _stop_if_cancelled(self) -> None:
        if self._cancelled():
            raise CancelledError


def kept(
    value: Value, work: StoreWork, inputs: Mapping[str, tuple[Result, ...]]
) -> tuple[Artifact, tuple[Digest, ...]]:
    """The artifact of what a rule gave, once its bytes are in the store, and the blobs those refer to."""
    if isinstance(value, Tree):
        with work.writer() as writer:
            for piece in value.pieces():
                writer.write(piece)
            return Artifact("tree", writer.commit()), value.blobs()
    if isinstance(value, Extents):
        return Artifact("extents", work.put(value.encode())), value.blobs()
    if isinstance(value, Artifact):
        (blobs,) = {
            given.blobs for results in inputs.values() for given in results if given.artifact == value
        }
        return value, blobs
    return Artifact("blob", value), ()


class OpenBlobs:
    """Blobs of a store kept open for reading, those used last; closed when the `with` ends."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._files: OrderedDict[Digest, BinaryIO] = OrderedDict()

    def __enter__(self) -> OpenBlobs:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files.values():
            file.close()

    def descriptor(self, blob: Digest) -> int:
        """The file descriptor of a blob, good until others were asked for; raises MissingBlobError."""
        if blob not in self._files:
            self._files[blob] = opened(blob, self._store)
            if len(self._files) > _MOST_OPEN:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(blob)
        return self._files[blob].fileno()


def opened(blob: Digest, store: Store) -> BinaryIO:
    """The file of a blob; raises MissingBlobError, also if a clean-up was faster."""
    try:
        return store.path(blob).open("rb")
    except FileNotFoundError as error:
        raise MissingBlobError(f"{blob} is no longer in the cache") from error


@contextmanager
def decoding(artifact: Artifact) -> Iterator[None]:
    """Makes a tree or extents that cannot be read an error of the cache: it took whole ones only."""
    try:
        yield
    except ValueError as error:
        raise StoreError(
            f"{artifact.kind} {artifact.digest} in the cache is damaged: {error}",
            hint="run `kitbuild cache verify`, then build again",
        ) from error


class _Meter:
    """How far a run is. What passes counts if anything does, else what was read or written, whichever is more."""

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self._tell = tell
        self._size: int | None = None
        self._read = self._wrote = self._passed = 0
        self._next_bytes = _TELL_BYTES
        self._next_seconds = time.monotonic() + _TELL_SECONDS

    def expect(self, size: int) -> None:
        self._size = size + (self._size or 0)

    def read(self, size: int) -> None:
        self._read += size
        self._look()

    def wrote(self, size: int) -> None:
        self._wrote += size
        self._look()

    def passed(self, size: int) -> None:
        self._passed += size
        self._look()

    def _look(self) -> None:
        done = max(self._read, self._wrote) if self._size is None else self._passed
        if done < self._next_bytes:
            return
        self._next_bytes = done + _TELL_BYTES
        # What is packed has headers besides the contents that the size is of.
        done = min(done, self._size) if self._size else done
        now = time.monotonic()
        if now >= self._next_seconds:
            self._next_seconds = now + _TELL_SECONDS
            self._tell(done, self._size or 0)


class _CancellableWriter:
    def __init__(self, inner: BlobWriter, check: Callable[[], None], wrote: Callable[[int], None]) -> None:
        self._inner = inner
        self._check = check
        self._wrote = wrote

    def write(self, piece: bytes | memoryview) -> int:
        self._check()
        self._wrote(len(piece))
        return self._inner.write(piece)

    @property
    def size(self) -> int:
        return self._inner.size

    def digest(self) -> Digest:
        return self._inner.digest()

    def commit(self) -> Digest:
        return self._inner.commit()
