"""Tars of any kind: ustar, pax, GNU; sparse files and extended attributes too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kitbuild.errors import KitbuildError
from kitbuild.reading.entries import Content, Kind, Listing, OutputEntry, joined
from kitbuild.reading.window import Piece, Pieces, Window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from tarfile import TarInfo

_BLOCK = 512
_XATTR = "SCHILY.xattr."
_NANO = 1_000_000_000
_KINDS: dict[bytes, Kind] = {
    b"\0": "file",
    b"0": "file",
    b"7": "file",
    b"S": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "character",
    b"4": "block",
    b"5": "directory",
    b"6": "fifo",
}


def is_tar(window: Window) -> bool:
    """Whether it begins with a header whose sum is right."""
    head = window.read(0, _BLOCK)
    if len(head) < _BLOCK or not any(head):
        return False
    found = head[148:156].split(b"\0")[0].strip()
    if not found or any(byte not in b"01234567" for byte in found):
        return False
    return int(found, 8) == sum(head) - sum(head[148:156]) + 8 * 0x20


def read_tar(window: Window) -> Listing:
    """Everything in a tar; what comes later takes the place of what came before."""
    listing = Listing(window)
    add_tar(window, listing)
    return listing


def add_tar(window: Window, listing: Listing) -> None:
    """Adds what is in a tar, as `tar x` would over what is there."""
    for member in members(window):
        add_member(window, member, listing)


def members(window: Window) -> Iterator[TarInfo]:
    """The headers in their order. Raises KitbuildError for a tar that is damaged."""
    import tarfile

    place = 0
    try:
        with tarfile.open(fileobj=window.open(), mode="r:", errors="surrogateescape") as tar:
            for member in tar:
                # It keeps them all.
                tar.members.clear()  # type: ignore[attr-defined]
                yield member
                place = tar.offset
            place = tar.offset
    except KitbuildError:
        raise
    except (
        tarfile.TarError,
        ValueError,
        OverflowError,
        RecursionError,
        EOFError,
        OSError,
        KeyError,
    ) as error:
        raise window.broken(place, f"not a whole tar: {error}") from None
    # It takes a damaged header for the end.
    if window.read(place, _BLOCK).strip(b"\0"):
        raise window.broken(place, "expected a header of a tar")


def add_member(window: Window, member: TarInfo, listing: Listing) -> None:
    """Adds one member of the tar in `window`."""
    kind = _KINDS.get(member.type)
    if kind is None:
        raise window.broken(member.offset, f"expected a known type of tar member, got {member.type!r}")
    if member.size < 0 or not math.isfinite(member.mtime):
        raise window.broken(
            member.offset, f"expected a size and a time, got {member.size} and {member.mtime}"
        )
    path = _place(member.name, listing)
    entry = OutputEntry(
        path,
        kind,
        member.mode & 0o7777,
        member.uid,
        member.gid,
        member.size if kind == "file" else 0,
        int(member.mtime * _NANO),
        member.linkname if kind == "symlink" else "",
        (member.devmajor, member.devminor) if kind in ("character", "block") else None,
        tuple(
            (key[len(_XATTR) :], value.encode("utf-8", "surrogateescape"))
            for key, value in sorted(member.pax_headers.items())
            if key.startswith(_XATTR)
        ),
    )
    before = listing.found.get(path)
    if before is not None and before.entry.kind == "directory" and kind != "directory":
        listing.remove([path])
    if kind == "hardlink":
        listing.link(entry, _place(member.linkname, listing), offset=member.offset)
    elif kind == "symlink":
        listing.put(entry._replace(size=len(entry.target)), offset=member.offset)
    else:
        content = _content(window, member, path) if kind == "file" else None
        listing.put(entry, content, offset=member.offset)


def _place(name: str, listing: Listing) -> str:
    """Where a member is or a hard link leads: symlinks among the folders of its path are followed, as by `tar x`."""
    path = joined(name.encode("utf-8", "surrogateescape"))
    folder = path.rpartition("/")[0]
    if not folder:
        return path
    found = listing.found.get(folder)
    return path if found is not None and found.entry.kind != "symlink" else listing.real(path)


def _content(window: Window, member: TarInfo, path: str) -> Content:
    sparse: list[tuple[int, int]] | None = member.sparse  # type: ignore[assignment]
    if sparse is None:
        return window.part(member.offset_data, member.size, path)
    pieces = []
    place = member.offset_data
    for start, size in sparse:
        pieces.append(Piece(start, size, window, place))
        place += size
    return Pieces(f"{window.name}: {path}", pieces, member.size)
