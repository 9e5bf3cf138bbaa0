"""What a tar is: a root file system, a boot partition, a disk, or an image; told by the names in it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache

from kitbuild.reading.boot import ROOT_NAMES
from kitbuild.reading.entries import Listing
from kitbuild.reading.recognition import Recognised, booted, open_as_disk
from kitbuild.reading.tar import add_member, members
from kitbuild.reading.window import Window

_LOOKED_AT = 64
_IMAGE_NAMES = ("oci-layout", "index.json", "manifest.json", "blobs")


def recognise_tar(window: Window) -> Recognised:
    """What kind of tar it is."""
    head = _first_members(window)
    names = set(head.found)
    first = next(iter(head.found), "")
    if first == "disk.raw":
        return _disk("gcp", "tar", head.found[first].window())
    if first.endswith(".ovf"):
        disks = [each for name, each in _whole(window).found.items() if name.endswith(".vmdk")]
        if disks:
            return _disk("ova", "OVA", disks[0].window())
    if _is_image(names):
        from kitbuild.reading.oci import archive_layout

        return archive_layout(cache(lambda: _whole(window)))
    whole = cache(lambda: _whole(window))
    if "kernel.uimg" in names or ("config.txt" in names and "initrd.uimg" in _whole(window)):
        return booted("rpi3", ["tar"], whole)
    if "initrd.img" in names and names <= {"kernel", "initrd.img", "cmdline", "ucode.cpio"}:
        return booted("tar-kernel-initrd", ["tar"], whole)
    return _root(window, whole)


def _is_image(names: Collection[str]) -> bool:
    """Whether these are files of an image; a root file system may have some of the same names."""
    tops = {name.partition("/")[0] for name in names}
    return not tops.isdisjoint(_IMAGE_NAMES) and tops.isdisjoint(ROOT_NAMES)


def _root(window: Window, whole: Callable[[], Listing]) -> Recognised:
    def cmdline() -> str | None:
        found = whole().found.get("boot/cmdline")
        if found is None:
            return None
        return found.window().read(0, 1 << 16).decode("utf-8", "surrogateescape").rstrip("\n")

    return Recognised("tar", ["tar"], whole, whole, cmdline)


def _first_members(window: Window) -> Listing:
    listing = Listing(window)
    for number, member in enumerate(members(window)):
        if number >= _LOOKED_AT:
            break
        if member.isreg() or member.isdir():
            add_member(window, member, listing)
        if member.name == "disk.raw":
            # Nothing follows a disk, and its end may be far away.
            break
    return listing


def _whole(window: Window) -> Listing:
    listing = Listing(window)
    for member in members(window):
        add_member(window, member, listing)
    return listing


def _disk(name: str, layer: str, content: Window) -> Recognised:
    found = open_as_disk(content)
    found.layers.insert(0, layer)
    return found._replace(format=name)
