"""Rule: one kind of node, the port that everything in kitbuild.rules implements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Generic, Literal, NamedTuple, Protocol, TypeVar

from kitbuild.digest import Digest
from kitbuild.extents import Extents, Slice
from kitbuild.tree import Entry, Tree

ArtifactKind = Literal["blob", "tree", "extents"]
OptionsT = TypeVar("OptionsT", covariant=True)


class Artifact(NamedTuple):
    """What a node gives: a blob, or a tree or extents in their canonical bytes; `digest` names those bytes."""

    kind: ArtifactKind
    digest: Digest


class BlobWriter(Protocol):
    """Takes one blob in pieces. Nothing is in the store before `commit`, and nothing stays without it."""

    def write(self, piece: bytes | memoryview) -> int:
        """Takes the next piece and gives its length."""

    @property
    def size(self) -> int:
        """The number of bytes taken so far: the offset of the next piece."""

    def digest(self) -> Digest:
        """The digest of what was taken so far: to check before a wrong blob gets into the store."""

    def commit(self) -> Digest:
        """Puts the blob into the store and gives its digest; at most once."""


class Work(Protocol[OptionsT]):
    """What one run of a rule may touch; nothing else exists for it.

    Inputs are asked for by the name the rule declares. Reading an input is lazy: one that is never read costs
    nothing. Every method raises an error that ends the run when the build is cancelled.
    """

    @property
    def options(self) -> OptionsT:
        """The node's options."""

    def artifact(self, name: str) -> Artifact:
        """The one artifact given as input `name`."""

    def artifacts(self, name: str) -> tuple[Artifact, ...]:
        """All artifacts given as input `name`, in the node's order; none if it was left out."""

    def tree(self, artifact: Artifact) -> Tree:
        """The tree behind an input's artifact."""

    def entries(self, artifact: Artifact) -> Iterator[Entry]:
        """The entries of that tree one by one, for rules that need not hold it."""

    def extents(self, artifact: Artifact) -> Extents:
        """The extents behind an input's artifact."""

    def open(self, blob: Digest) -> BinaryIO:
        """A blob as a plain file with a file descriptor; close it."""

    def read(self, part: Slice) -> bytes:
        """The bytes of a slice; for things that are small by their nature."""

    def pieces(self, part: Slice) -> Iterator[bytes]:
        """The bytes of a slice in pieces of at most 1 MiB."""

    def writer(self) -> AbstractContextManager[BlobWriter]:
        """A new blob, thrown away unless it is committed inside the `with`."""

    def put(self, content: bytes) -> Digest:
        """A new blob from bytes at hand."""

    def scratch(self) -> Path:
        """An empty folder of this run's own, removed afterwards."""

    def tool(self, command: Sequence[str], folder: Path | None = None) -> bytes:
        """What a program of the host writes to its standard output, run in `folder` or an empty one.

        Raises RuleError if it is not installed or ends with another status than 0.
        """

    def passing(self, pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
        """The same pieces, shown to the user as they pass: `size` bytes in all are what this run goes through."""

    def warn(self, message: str) -> None:
        """Tells the user something that does not stop the build."""


Value = Tree | Extents | Digest | Artifact


class Input(NamedTuple):
    """What a rule takes under one name: artifacts of `kind`, exactly one unless `many` or `optional`."""

    kind: ArtifactKind
    many: bool = False
    optional: bool = False


def _no_tools(_options: Any) -> Mapping[str, str]:
    return {}


class Rule(NamedTuple, Generic[OptionsT]):
    """One kind of node. A module of kitbuild.rules holds it as RULE.

    `run` gives the output: a Tree, Extents, a committed blob's Digest, or the Artifact of an input passed on
    unchanged. It is a function of the options and inputs alone; `version` goes up whenever it gives other bytes
    for the same ones. `tools` names what else shapes the bytes (a compressor with version and level).
    The fields of `options` named in `unkeyed` (where to look, what to call it) do not shape the bytes and stay out
    of the key.
    """

    name: str
    version: int
    summary: str
    options: type[OptionsT]
    output: ArtifactKind
    run: Callable[[Work[Any]], Value]
    inputs: Mapping[str, Input] = MappingProxyType({})
    tools: Callable[[Any], Mapping[str, str]] = _no_tools
    unkeyed: tuple[str, ...] = ()


class NoOptions(NamedTuple):
    """For rules that take inputs alone."""
