"""Snapshot: all of a system that two of them are compared by, section by section."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

Kind = Literal["directory", "file", "symlink", "hardlink", "char", "block", "fifo", "socket"]
Source = Literal["config", "output", "record"]

_NONE: Mapping[str, Any] = MappingProxyType({})


class Content:
    """The content of a file, which is read only if nothing cheaper tells it from another.

    `identity`, if there is one, is equal for equal contents alone (the slice of a blob, say). `read` gives the sha256
    of the content in hex digits; it is asked at most once.
    """

    __slots__ = ("_hex", "_read", "identity")

    def __init__(self, read: Callable[[], str], identity: Hashable = None) -> None:
        self.identity = identity
        self._read = read
        self._hex = ""

    def hex(self) -> str:
        """The sha256 of the content."""
        if not self._hex:
            self._hex = self._read()
        return self._hex

    def same(self, other: Content) -> bool:
        """Whether the other content has the same bytes."""
        if self is other or (self.identity is not None and self.identity == other.identity):
            return True
        return self.hex() == other.hex()


class File(NamedTuple):
    """One path of a system.

    `size` is in bytes, 0 for everything that is not a file. Of the names of one file the first in the order of paths
    is the file, the others are hard links whose `target` is that name. `mtime` is in nanoseconds. `part` names the
    section it comes from where that is recorded.
    """

    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    content: Content | None = None
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()
    part: str = ""


class ImageName(NamedTuple):
    """An image as a section names it, and the sha256 of what that led to (hex), empty if nobody knows."""

    reference: str
    digest: str = ""


class Section(NamedTuple):
    """One part of a system. What is None is not known; what is empty is known to be nothing.

    `files` are by their paths in the system, in which the number of an onboot container is left out; `number` is that
    number. `settings` is what the config says, `runtime` the documents that describe how a container runs, by name.
    `lines` says where a setting is written, by the way to it ("command[1]"): `file:line`.
    """

    name: str
    files: Mapping[str, File] | None = None
    packages: Mapping[str, tuple[str, ...]] | None = _NONE
    image: ImageName | None = None
    settings: Any = None
    runtime: Mapping[str, Any] | None = None
    number: str = ""
    lines: Mapping[str, str] = _NONE

    @property
    def size(self) -> int | None:
        """The bytes of its files, each counted once; None while its files are not known."""
        return None if self.files is None else sum(file.size for file in self.files.values())


class Snapshot(NamedTuple):
    """A system, by the name the user gave it.

    `format` is that of an output. `flags` and `cmdline` are None if they are not known. `packages` are those of an
    SBOM of the whole system. `outputs` are the bytes of files a user gets, by what follows the output name
    ("-initrd.img"). `missing` are sentences about what is not known; `warnings` about what could not be read.
    """

    name: str
    source: Source
    sections: Mapping[str, Section]
    format: str = ""
    cmdline: str | None = None
    flags: Mapping[str, str] | None = None
    packages: Mapping[str, tuple[str, ...]] | None = _NONE
    medium: Mapping[str, File] | None = None
    outputs: Mapping[str, int] = _NONE
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
