"""The kernel of the kit: Debian's cloud kernel and those of its modules that the examples need.

All 1,100 modules are 91 MB; the ones below with what they depend on are about 4 MB.
The index files that modprobe reads are made here, so no kmod is needed and every machine makes the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

import early
import elf
from oci import Member, archive
from packages import KitError, PackageFile

# name -> why it is here
MODULES = {
    "overlay": "writable containers and volumes",
    "virtio_pci": "every device QEMU and most clouds offer",
    "virtio_mmio": "the same on machines without PCI (microvm)",
    "virtio_net": "network card",
    "virtio_blk": "disk",
    "virtio_scsi": "disk and CD",
    "virtio_console": "console=hvc0",
    "virtio-rng": "random numbers from the host",
    "veth": "interfaces of containers with a network of their own",
    "bridge": "interfaces of containers joined together",
    "dummy": "interfaces that lead nowhere",
    "ata_piix": "disk and CD of QEMU's default machine",
    "sd_mod": "disks behind ata and scsi",
    "sr_mod": "CDs behind ata and scsi",
    "loop": "a file as a disk",
    "isofs": "root file system or data on a CD",
    "squashfs": "root file system of the format kernel+squashfs",
    "erofs": "root file system of the format kernel+erofs",
    "vfat": "EFI partitions",
    "nls_ascii": "file names on vfat",
    "nls_cp437": "file names on vfat",
}


def kernel_members(
    files: Iterable[PackageFile], *, busybox: bytes, all_modules: bool = False
) -> list[Member]:
    """The members of the kernel image: `kernel`, `kernel.tar` and `early.cpio`, which runs `busybox`.

    `files` are those of Debian's kernel package.
    """
    modules: dict[str, bytes] = {}
    kernel = b""
    version = ""
    builtin: dict[str, bytes] = {}
    for file in files:
        path = PurePosixPath(file.path)
        if path.match("boot/vmlinuz-*"):
            kernel, version = file.data, path.name.removeprefix("vmlinuz-")
        elif path.suffix == ".ko":
            modules[file.path] = file.data
        elif path.name in {"modules.builtin", "modules.builtin.modinfo"}:
            builtin[path.name] = file.data
    if not kernel:
        raise KitError("expected a kernel package with boot/vmlinuz-<version>, found none")
    # Debian before and after the merge of /lib into /usr
    below = {path.split(f"modules/{version}/")[1]: data for path, data in modules.items()}
    facts = {path: list(elf.module_facts(data)) for path, data in below.items()}
    dependencies = _dependencies(facts)
    kept = sorted(below if all_modules else _closure(dependencies))
    index = {"modules.dep": _dep(kept, dependencies), "modules.alias": _alias(kept, facts)}
    tree = {path: below[path] for path in kept} | builtin | index
    tar = archive((Member(f"lib/modules/{version}/{path}", data) for path, data in tree.items()), root=True)
    first = early.archive((below[path] for path in _load_order(early.MODULES, dependencies)), busybox)
    return [Member("kernel", kernel), Member("kernel.tar", tar), Member("early.cpio", first)]


def _name(path: str) -> str:
    """A module's name as the kernel knows it: file names may have `-` where names have `_`."""
    return PurePosixPath(path).stem.replace("-", "_")


def _dependencies(facts: Mapping[str, list[tuple[str, str]]]) -> dict[str, list[str]]:
    """Path of a module -> paths of what it needs directly."""
    paths = {_name(path): path for path in facts}
    return {
        path: [
            paths[name.replace("-", "_")]
            for fact, value in found
            if fact == "depends"
            for name in value.split(",")
            if name
        ]
        for path, found in facts.items()
    }


def _closure(dependencies: Mapping[str, list[str]]) -> set[str]:
    kept = _paths(MODULES, dependencies)
    return {*kept}.union(*(_needed(path, dependencies) for path in kept))


def _load_order(names: Iterable[str], dependencies: Mapping[str, list[str]]) -> list[str]:
    """The modules `names` and all that they need, once each, none before what it needs."""
    ordered = {
        needed: None
        for path in _paths(names, dependencies)
        for needed in (*reversed(_needed(path, dependencies)), path)
    }
    return list(ordered)


def _paths(names: Iterable[str], dependencies: Mapping[str, list[str]]) -> list[str]:
    """The modules of these names, in their order; a kernel for another architecture may lack some."""
    paths = {_name(path): path for path in dependencies}
    return [paths[name] for name in (name.replace("-", "_") for name in names) if name in paths]


def _needed(path: str, dependencies: Mapping[str, list[str]]) -> list[str]:
    """All a module needs, in modules.dep order: what must be loaded first stands last."""
    found: list[str] = []

    def visit(module: str) -> None:
        for needed in dependencies[module]:
            visit(needed)
            if needed not in found:
                found.append(needed)

    visit(path)
    return found[::-1]


def _dep(kept: Iterable[str], dependencies: Mapping[str, list[str]]) -> bytes:
    return "".join(f"{' '.join([f'{path}:', *_needed(path, dependencies)])}\n" for path in kept).encode()


def _alias(kept: Iterable[str], facts: Mapping[str, list[tuple[str, str]]]) -> bytes:
    def lines() -> Iterator[str]:
        for path in kept:
            for fact, value in facts[path]:
                if fact == "alias":
                    yield f"alias {value} {_name(path)}\n"

    return "".join(lines()).encode()
