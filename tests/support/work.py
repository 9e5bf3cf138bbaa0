"""A Work over a folder, to run one rule in a test without an engine, and Notes in memory."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Generic

from kitbuild.digest import Digest, Hasher
from kitbuild.extents import Extents, Slice
from kitbuild.rule import Artifact, OptionsT, Rule
from kitbuild.tree import Entry, Tree, entries_of


class FolderWork(Generic[OptionsT]):
    """Keeps blobs as `<folder>/blobs/<hex>`; `warnings` holds what the rule told the user."""

    def __init__(
        self, options: OptionsT, folder: Path, *, inputs: Mapping[str, tuple[Artifact, ...]] | None = None
    ) -> None:
        self._options = options
        self._inputs = dict(inputs or {})
        self._folder = folder
        self._blobs = folder / "blobs"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self.warnings: list[str] = []

    @property
    def options(self) -> OptionsT:
        """The options given."""
        return self._options

    def artifact(self, name: str) -> Artifact:
        """The one artifact of an input."""
        (only,) = self._inputs[name]
        return only

    def artifacts(self, name: str) -> tuple[Artifact, ...]:
        """All artifacts of an input."""
        return self._inputs.get(name, ())

    def tree(self, artifact: Artifact) -> Tree:
        """The tree behind an artifact."""
        with self.open(artifact.digest) as stream:
            return Tree.decode(stream)

    def entries(self, artifact: Artifact) -> Iterator[Entry]:
        """The entries of that tree."""
        with self.open(artifact.digest) as stream:
            yield from entries_of(stream)

    def extents(self, artifact: Artifact) -> Extents:
        """The extents behind an artifact."""
        with self.open(artifact.digest) as stream:
            return Extents.decode(stream)

    def open(self, blob: Digest) -> BinaryIO:
        """A blob as a file."""
        return (self._blobs / blob.hex).open("rb")

    def read(self, part: Slice) -> bytes:
        """The bytes of a slice."""
        return b"".join(self.pieces(part))

    def pieces(self, part: Slice) -> Iterator[bytes]:
        """The bytes of a slice, at most 1 MiB at a time."""
        with self.open(part.blob) as stream:
            stream.seek(part.offset)
            left = part.size
            while left:
                piece = stream.read(min(left, 1 << 20))
                assert piece, "the blob is shorter than its digest says"
                left -= len(piece)
                yield piece

    @contextmanager
    def writer(self) -> Iterator[_Writer]:
        """A new blob."""
        path = self.scratch() / "blob"
        try:
            with path.open("wb") as stream:
                yield _Writer(stream, path, self._blobs)
        finally:
            path.unlink(missing_ok=True)

    def put(self, content: bytes) -> Digest:
        """A new blob from bytes."""
        digest = Digest(hashlib.sha256(content).hexdigest(), len(content))
        (self._blobs / digest.hex).write_bytes(content)
        return digest

    def scratch(self) -> Path:
        """An empty folder."""
        return Path(tempfile.mkdtemp(prefix="scratch-", dir=self._folder))

    def tool(self, command: Sequence[str], folder: Path | None = None) -> bytes:
        """No test of a rule that needs one works on a folder."""
        raise AssertionError(f"a program was run: {command}")

    def passing(self, pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
        """The same pieces."""
        yield from pieces

    def warn(self, message: str) -> None:
        """Notes a warning."""
        self.warnings.append(message)

    def kept(self) -> set[str]:
        """The hex digests of all blobs that were committed."""
        return {path.name for path in self._blobs.iterdir()}


class _Writer:
    def __init__(self, stream: BinaryIO, path: Path, blobs: Path) -> None:
        self._stream, self._path, self._blobs = stream, path, blobs
        self._hasher = Hasher()
        self._committed = False

    def write(self, piece: bytes | memoryview) -> int:
        self._hasher.update(piece)
        return self._stream.write(piece)

    @property
    def size(self) -> int:
        return self._hasher.size

    def digest(self) -> Digest:
        return self._hasher.digest()

    def commit(self) -> Digest:
        assert not self._committed, "a blob is committed at most once"
        self._stream.flush()
        digest = self._hasher.digest()
        self._path.rename(self._blobs / digest.hex)
        self._committed = True
        return digest


def run(rule: Rule[Any], work: FolderWork[Any]) -> Artifact:
    """Runs a rule and gives its artifact, with trees and extents put into the folder."""
    value = rule.run(work)
    if isinstance(value, Artifact):
        return value
    digest = value if isinstance(value, Digest) else work.put(value.encode())
    return Artifact(rule.output, digest)


class MemoryNotes:
    """Notes in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    def note(self, space: str, name: str) -> bytes | None:
        """The note of this name."""
        return self.kept.get((space, name))

    def keep(self, space: str, name: str, content: bytes) -> None:
        """Keeps a note."""
        self.kept[space, name] = content
