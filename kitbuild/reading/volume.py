"""A file system of any kind that is known, told by its magic number."""

from __future__ import annotations

from typing import NamedTuple

from kitbuild.reading.entries import Listing
from kitbuild.reading.window import Window


class Volume(NamedTuple):
    """A file system: its kind with what is worth knowing of it (`squashfs (zstd)`), and everything in it."""

    name: str
    listing: Listing


def volume_kind(window: Window) -> str:
    """squashfs, erofs, ext4, iso, fat; or nothing."""
    head = window.read(0, 2048)
    if head[:4] == b"hsqs":
        return "squashfs"
    if head[1024:1028] == b"\xe2\xe1\xf5\xe0":
        return "erofs"
    if window.read(16 * 2048, 6) == b"\x01CD001":
        return "iso"
    if head[1080:1082] == b"\x53\xef":
        return "ext4"
    from kitbuild.reading.fat import is_fat

    return "fat" if is_fat(head) else ""


def read_volume(window: Window) -> Volume | None:
    """Everything in a file system, or None if it is none that is known."""
    kind = volume_kind(window)
    if kind == "squashfs":
        from kitbuild.reading.squashfs import read_squashfs as read
    elif kind == "erofs":
        from kitbuild.reading.erofs import read_erofs as read
    elif kind == "iso":
        from kitbuild.reading.iso import read_iso as read
    elif kind == "ext4":
        from kitbuild.reading.ext4 import read_ext4 as read
    elif kind == "fat":
        from kitbuild.reading.fat import read_fat as read
    else:
        return None
    return Volume(*read(window))
