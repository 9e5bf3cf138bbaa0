"""newc cpio archives, and initrds made of several: compressed or not, padded, with microcode in front.

Source: kernel Documentation/driver-api/early-userspace/buffer-format.rst; init/initramfs.c for what that page leaves
out: hard links are found by inode until the trailer, and what comes later replaces what came before.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from kitbuild.reading.decompression import Decompressed, compression_of
from kitbuild.reading.entries import KINDS, PATH_BYTES, Listing, OutputEntry, joined
from kitbuild.reading.window import Window

MAGICS = (b"070701", b"070702")
_HEADER_BYTES = 110
_UNPACK = Struct(">13I").unpack
_TRAILER = b"TRAILER!!!"
_READ_BYTES = 1 << 16
_MOST_SEGMENTS = 100_000
_NANO = 1_000_000_000


class Segment(NamedTuple):
    """A stretch of an initrd: how it is compressed (nothing: not at all), and what it holds."""

    compression: str
    offset: int


def is_initrd(window: Window) -> bool:
    """Whether the first thing in it is a cpio archive, perhaps compressed."""
    head = window.read(0, 64)
    if head.startswith(MAGICS):
        return True
    compression = compression_of(head)
    return (
        compression not in ("", "lz4", "bzip2") and Decompressed(window, 0, compression).read(0, 6) in MAGICS
    )


def read_initrd(window: Window) -> tuple[Listing, list[Segment]]:
    """What the kernel unpacks from an initrd, and the segments it is made of."""
    listing = Listing(window)
    segments: list[Segment] = []
    offset = 0
    while (offset := _behind_zeros(window, offset)) >= 0:
        head = window.read(offset, 8)
        if head.startswith(MAGICS):
            segments.append(Segment("", offset))
            offset = _Archive(window, offset, listing).read()
        elif compression := compression_of(head):
            segments.append(Segment(compression, offset))
            stream = Decompressed(window, offset, compression)
            _read_stream(stream, listing)
            offset = stream.end()
        else:
            raise window.broken(offset, f"expected a cpio archive or a compressed one, got {head!r}")
        if len(segments) > _MOST_SEGMENTS:
            raise window.broken(offset, f"expected at most {_MOST_SEGMENTS} archives, got more")
    return listing, segments


def _read_stream(stream: Decompressed, listing: Listing) -> None:
    offset = 0
    while (offset := _behind_zeros(stream, offset)) >= 0:
        head = stream.read(offset, 6)
        if head not in MAGICS:
            raise stream.broken(offset, f"expected a cpio archive, got {head!r}")
        offset = _Archive(stream, offset, listing).read()


def _behind_zeros(window: Window, offset: int) -> int:
    """The place of the first byte from `offset` on that is no zero, or -1."""
    size = 1 << 9
    while content := window.read(offset, size):
        rest = content.lstrip(b"\0")
        if rest:
            return offset + len(content) - len(rest)
        offset += len(content)
        size = _READ_BYTES
    return -1


class _Archive:
    """One archive in a window, being read from front to back."""

    def __init__(self, window: Window, offset: int, listing: Listing) -> None:
        self._window, self._listing = window, listing
        self._offset = offset
        self._names: dict[tuple[int, int, int], list[str]] = {}
        self._buffer = b""
        self._buffer_at = offset

    def read(self) -> int:
        """Adds all entries, and gives the place behind the trailer."""
        while True:
            offset = self._offset
            numbers = self._numbers(offset)
            name = self._text(offset + _HEADER_BYTES, numbers[11], "a name").rstrip(b"\0")
            data = offset + (_HEADER_BYTES + numbers[11] + 3 & ~3)
            self._offset = data + (numbers[6] + 3 & ~3)
            if name == _TRAILER:
                return self._offset
            self._add(name, numbers, offset, data)

    def _numbers(self, offset: int) -> tuple[int, ...]:
        header = self._get(offset, _HEADER_BYTES, "a cpio header")
        if not header.startswith(MAGICS):
            raise self._window.broken(offset, f"expected a cpio header, got {header[:6]!r}")
        try:
            packed = bytes.fromhex(header[6:].decode("ascii"))
        except ValueError:
            packed = b""
        if len(packed) != 52:
            raise self._window.broken(offset, "expected hexadecimal numbers in a cpio header")
        return _UNPACK(packed)

    def _text(self, offset: int, size: int, what: str) -> bytes:
        if size > PATH_BYTES + 1:
            raise self._window.broken(offset, f"expected {what} of at most {PATH_BYTES} bytes, got {size}")
        return self._get(offset, size, what)

    def _add(self, name: bytes, numbers: tuple[int, ...], offset: int, data: int) -> None:
        inode, mode, uid, gid, links, mtime, size, major, minor, device_major, device_minor, _, _ = numbers
        kind = KINDS.get(mode & 0o170000)
        if kind is None:
            raise self._window.broken(offset, f"expected a type of file, got mode {mode:o}")
        path = self._place(joined(name))
        target = ""
        if kind == "symlink":
            target = self._text(data, size, "a symlink").split(b"\0")[0].decode("utf-8", "surrogateescape")
        device = (device_major, device_minor) if kind in ("block", "character") else None
        entry = OutputEntry(path, kind, mode & 0o7777, uid, gid, size, mtime * _NANO, target, device)
        listing = self._listing
        before = listing.found.get(path)
        if before is not None and before.entry.kind == "directory" and kind != "directory":
            listing.remove([path])
        if kind != "file":
            listing.put(entry, offset=offset)
            return
        content = self._window.part(data, size, path)
        if links < 2:
            listing.put(entry, content, offset=offset)
            return
        names = self._names.setdefault((major, minor, inode), [])
        if names and size == 0:
            listing.link(entry, names[0], offset=offset)
        else:
            # The last name brings the content, or the first.
            mark = listing.found[names[0]].mark if names and names[0] in listing else listing.new_mark()
            for each in [*names, path]:
                listing.put(entry._replace(path=each), content, mark=mark, offset=offset)
        if path not in names:
            names.append(path)

    def _place(self, path: str) -> str:
        """The kernel follows symlinks among the folders of a path."""
        folder = path.rpartition("/")[0]
        if not folder:
            return path
        found = self._listing.found.get(folder)
        if found is not None and found.entry.kind == "directory":
            return path
        return self._listing.real(path)

    def _get(self, offset: int, size: int, what: str) -> bytes:
        start = offset - self._buffer_at
        if start < 0 or start + size > len(self._buffer):
            self._buffer = self._window.read(offset, max(size, _READ_BYTES))
            self._buffer_at, start = offset, 0
            if len(self._buffer) < size:
                got = len(self._buffer)
                raise self._window.broken(offset, f"expected {size} bytes of {what}, got {got}")
        return self._buffer[start : start + size]
