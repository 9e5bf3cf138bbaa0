"""What an output is, told by what is in it; each kind knows where the system is that boots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from kitbuild.errors import KitbuildError
from kitbuild.reading.boot import Boot, boot_of, boot_of_unified, unified
from kitbuild.reading.cpio import is_initrd, read_initrd
from kitbuild.reading.decompression import Decompressed, compression_of
from kitbuild.reading.entries import Listing, OutputEntry
from kitbuild.reading.window import Window

_KNOWN = "an output: a tar, initrd, disk, ISO, file system, UKI, kernel or OCI image"
# What lies beside a file whose name ends so: the command line that goes with it.
_BESIDE = ("-initrd.img", "-squashfs.img", "-erofs.img", "-kernel", ".iso")
_MOST_CMDLINE_BYTES = 1 << 16


class Recognised(NamedTuple):
    """What a window holds. `layers` says so from outside to inside, and grows as more of it is looked at.

    So do `notes`: sentences about what was chosen for the user.
    """

    format: str
    layers: list[str]
    system: Callable[[], Listing]
    medium: Callable[[], Listing]
    cmdline: Callable[[], str | None]
    notes: Sequence[str] = ()


def recognise(window: Window, path: Path) -> Recognised:
    """What is in a file. Raises KitbuildError for what nothing here can read."""
    if not window.read(0, 1):
        raise KitbuildError(f"`{path}`: expected {_KNOWN}, got an empty file")
    found = (
        _disk(window) or _program(window) or _file_system(window) or _archive(window) or _partitioned(window)
    )
    if found is None:
        raise KitbuildError(f"`{path}`: expected {_KNOWN}, got something else")
    beside = cache(lambda: _cmdline_beside(path))
    return found._replace(cmdline=lambda: beside() if (own := found.cmdline()) is None else own)


def open_as_disk(window: Window) -> Recognised:
    """What is on a disk, which may be one of a virtual machine."""
    found = _disk(window) or _file_system(window) or _partitioned(window)
    if found is None:
        raise window.broken(0, "expected a partition table or a file system on the disk")
    return found


def _disk(window: Window) -> Recognised | None:
    from kitbuild.reading.disk import open_disk

    disk = open_disk(window)
    if disk is None:
        return None
    found = _file_system(disk.content) or _partitioned(disk.content)
    if found is None:
        raise disk.content.broken(0, "expected a partition table or a file system on the disk")
    return found._replace(format=disk.format, layers=_in(found, disk.summary))


def _in(found: Recognised, *layers: str) -> list[str]:
    found.layers[:0] = layers
    return found.layers


def _partitioned(window: Window) -> Recognised | None:
    from kitbuild.reading.partitions import partitions

    table = partitions(window)
    if table is None:
        return None
    kind, parts = table
    layers = [kind]

    @cache
    def medium() -> Listing:
        from kitbuild.reading.volume import read_volume

        whole = Listing(window)
        for name, part in parts:
            volume = read_volume(part)
            whole.put(OutputEntry(name, "directory", 0o755))
            if volume is None:
                continue
            layers.append(volume.name)
            for each in volume.listing.found.values():
                target = each.entry.target if each.entry.kind == "symlink" else ""
                entry = each.entry._replace(path=f"{name}/{each.entry.path}", target=target)
                whole.put(entry, each.content, mark=each.mark)
        return whole

    return booted("raw", layers, medium)


def booted(
    name: str,
    layers: list[str],
    medium: Callable[[], Listing],
    boot_of: Callable[[Listing], Boot] = boot_of,
) -> Recognised:
    """A medium with a boot loader, or with the root file system itself."""

    @cache
    def boot() -> Boot:
        return boot_of(medium())

    @cache
    def system() -> Listing:
        listing, of = boot().system()
        layers.extend(of)
        return listing

    return Recognised(name, layers, system, medium, lambda: boot().cmdline)


def _program(window: Window) -> Recognised | None:
    """A kernel, a UKI, or what U-Boot loads."""
    from kitbuild.reading.kernel import describe
    from kitbuild.reading.pe import sections
    from kitbuild.reading.uimage import payload

    loaded = payload(window)
    if loaded is not None and loaded.kind == "ramdisk":
        found = _archive(loaded.content)
        return found and found._replace(layers=_in(found, "uImage"))
    parts = sections(window)
    if ".linux" in parts:
        return booted("uki", ["UKI"], cache(lambda: unified(window)), boot_of_unified)
    what = describe(window)
    if what is None:
        return None
    medium = Listing(window)
    medium.put(OutputEntry("kernel", size=window.size), window)
    return Recognised("kernel", [what], lambda: Listing(window), lambda: medium, lambda: None)


def _file_system(window: Window) -> Recognised | None:
    from kitbuild.reading.volume import read_volume, volume_kind

    kind = volume_kind(window)
    if not kind:
        return None
    layers: list[str] = []

    @cache
    def medium() -> Listing:
        volume = read_volume(window)
        assert volume is not None
        layers[:] = [volume.name]
        return volume.listing

    layers.append(kind)
    if kind in ("iso", "fat", "ext4"):
        return booted(kind, layers, medium)
    return Recognised(kind, layers, medium, medium, lambda: None)


def _archive(window: Window) -> Recognised | None:
    """A tar, compressed or not, or an initrd."""
    from kitbuild.reading.tar import is_tar
    from kitbuild.reading.tars import recognise_tar

    if is_initrd(window):
        return _initrd(window)
    if is_tar(window):
        return recognise_tar(window)
    compression = compression_of(window.read(0, 16))
    if compression:
        inner = Decompressed(window, 0, compression, joins=True)
        if is_tar(inner):
            found = recognise_tar(inner)
            return found._replace(layers=_in(found, compression))
    return None


def _initrd(window: Window) -> Recognised:
    layers = ["initrd"]

    @cache
    def system() -> Listing:
        listing, segments = read_initrd(window)
        kinds = sorted({segment.compression or "not compressed" for segment in segments})
        layers[:] = [f"initrd of {len(segments)} segment{'s' * (len(segments) > 1)} ({', '.join(kinds)})"]
        return listing

    return Recognised("initrd", layers, system, system, lambda: None)


def _cmdline_beside(path: Path) -> str | None:
    """The text of NAME-cmdline beside NAME-initrd.img and the like."""
    for ending in _BESIDE:
        if path.name.endswith(ending):
            beside = path.with_name(f"{path.name.removesuffix(ending)}-cmdline")
            try:
                with beside.open("rb") as file:
                    return file.read(_MOST_CMDLINE_BYTES).decode("utf-8", "surrogateescape").rstrip("\n")
            except OSError:
                return None
    return None
