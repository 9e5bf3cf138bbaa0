"""Disks as the files that machines and clouds take: qcow2, VHD, VHDX, VMDK, OVA, and Compute Engine's tar.gz.

Payload that needs no compression stays in the blobs where it is; what is written is tables and what shrinks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal
from kitbuild.node import Node
from kitbuild.rule import Input, NoOptions, Rule, Work
from kitbuild.rules.format.archive import archive
from kitbuild.rules.format.compression import deflate, tools
from kitbuild.rules.format.stored import stored
from kitbuild.rules.layout import gnu_tar, gzip, ovf, qcow2, vhd, vhdx, vmdk
from kitbuild.system import MTIME, System

# A disk for clouds and hypervisors as LinuxKit makes it, if nobody asks for another size.
DISK_BYTES = 1 << 30

_SECONDS = MTIME // 1_000_000_000
_GIB = 1 << 30
# A size of eleven octal digits; OVF allows no other way to write one.
_USTAR_BYTES = 1 << 33


class OvaOptions(NamedTuple):
    """What the machine and the files in the archive are called."""

    name: str


class VhdOptions(NamedTuple):
    """Whether blocks of zeros are left out."""

    is_dynamic: bool = False


def _qcow2(work: Work[NoOptions]) -> Extents:
    return qcow2.image(_disk(work))


def _vhd(work: Work[VhdOptions]) -> Extents:
    return (vhd.dynamic if work.options.is_dynamic else vhd.fixed)(_disk(work), seconds=_SECONDS)


def _vhdx(work: Work[NoOptions]) -> Extents:
    return vhdx.image(_disk(work))


def _vmdk(work: Work[NoOptions]) -> Extents:
    return stored(vmdk.pieces(_disk(work), deflate=deflate(), read=work.read), work)


def _ova(work: Work[OvaOptions]) -> Extents:
    """The descriptor first, then the disk. No manifest: its digest would cost another reading of the disk."""
    image = work.extents(work.artifact("image"))
    if image.size >= _USTAR_BYTES:
        raise RuleError(
            f"expected a VMDK of less than 8 GiB in an OVA, got {image.size} bytes",
            hint="choose the format `vmdk`",
        )
    name = work.options.name
    disk = f"{name}-disk1.vmdk"
    text = ovf.descriptor(name=name, disk=disk, disk_bytes=_disk(work).size, file_bytes=image.size)
    return archive({f"{name}.ovf": Extents.of([Literal(text)]), disk: image})


def _gcp(work: Work[NoOptions]) -> Extents:
    disk = _disk(work)
    if disk.size % _GIB:
        raise RuleError(
            f"expected a disk of whole GiB for Compute Engine, got {disk.size} bytes",
            hint=f"build with `--size {-(-disk.size // _GIB)}G`",
        )
    member = gnu_tar.single("disk.raw", disk, seconds=_SECONDS)
    return stored(gzip.pieces(member, deflate=deflate(), read=work.read), work)


def _disk(work: Work[Any]) -> Extents:
    return work.extents(work.artifact("disk"))


_INPUTS = {"disk": Input("extents")}


def _tools(_options: Any) -> Mapping[str, str]:
    return tools("gzip")


QCOW2: Rule[Any] = Rule(
    name="format/qcow2",
    version=1,
    summary="write a disk as qcow2",
    options=NoOptions,
    inputs=_INPUTS,
    output="extents",
    run=_qcow2,
)

VHD: Rule[Any] = Rule(
    name="format/vhd",
    version=1,
    summary="write a disk as VHD",
    options=VhdOptions,
    inputs=_INPUTS,
    output="extents",
    run=_vhd,
)

VHDX: Rule[Any] = Rule(
    name="format/vhdx",
    version=1,
    summary="write a disk as VHDX",
    options=NoOptions,
    inputs=_INPUTS,
    output="extents",
    run=_vhdx,
)

VMDK: Rule[Any] = Rule(
    name="format/vmdk",
    version=1,
    summary="write a disk as a stream-optimized VMDK",
    options=NoOptions,
    inputs=_INPUTS,
    output="extents",
    run=_vmdk,
    tools=_tools,
)

OVA: Rule[Any] = Rule(
    name="format/ova",
    version=1,
    summary="put a disk and what describes its machine into one archive",
    options=OvaOptions,
    inputs={**_INPUTS, "image": Input("extents")},
    output="extents",
    run=_ova,
)

GCP: Rule[Any] = Rule(
    name="format/gcp",
    version=1,
    summary="pack a disk for Compute Engine",
    options=NoOptions,
    inputs=_INPUTS,
    output="extents",
    run=_gcp,
    tools=_tools,
)


def as_qcow2(system: System, disk: Node) -> Node:
    """The disk as qcow2."""
    return _once(system, disk, "qcow2", QCOW2, NoOptions())


def as_vhd(system: System, disk: Node, *, is_dynamic: bool) -> Node:
    """The disk as VHD."""
    return _once(system, disk, "dynamic VHD" if is_dynamic else "VHD", VHD, VhdOptions(is_dynamic))


def as_vhdx(system: System, disk: Node) -> Node:
    """The disk as VHDX."""
    return _once(system, disk, "VHDX", VHDX, NoOptions())


def as_vmdk(system: System, disk: Node) -> Node:
    """The disk as stream-optimized VMDK."""
    return _once(system, disk, "VMDK", VMDK, NoOptions())


def as_ova(system: System, disk: Node) -> Node:
    """The disk as a machine that VMware and VirtualBox import, around the VMDK that both may share."""
    name = f"{disk.name}: OVA"
    inputs = {"disk": (disk,), "image": (as_vmdk(system, disk),)}
    return system.once(name, lambda: Node(name, OVA, OvaOptions(system.target.name), inputs))


def as_gcp(system: System, disk: Node) -> Node:
    """The disk as Compute Engine imports it."""
    return _once(system, disk, "GCP", GCP, NoOptions())


def _once(system: System, disk: Node, kind: str, rule: Rule[Any], options: Any) -> Node:
    name = f"{disk.name}: {kind}"
    return system.once(name, lambda: Node(name, rule, options, {"disk": (disk,)}))
