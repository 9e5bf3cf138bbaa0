"""The boot partition of a Raspberry Pi 3 as a tar, to be unpacked onto a card with one FAT file system.

    bootcode.bin  fixup*.dat  start*.elf  LICENCE.broadcom      the firmware, which reads
    config.txt                                                  and starts
    u-boot.bin                                                  which runs
    boot.scr (boot.script as U-Boot takes it)                   which loads and starts
    kernel.uimg  initrd.uimg  dtb/broadcom/bcm2837-rpi-3-b*.dtb

Source: U-Boot doc/board/broadcom/raspberrypi.rst; "config.txt" in the Raspberry Pi documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal
from kitbuild.node import Node
from kitbuild.rule import Artifact, Input, Rule, Work
from kitbuild.rules.format import boot, uimage
from kitbuild.rules.format.archive import archive
from kitbuild.rules.layout.uimage import script
from kitbuild.system import MTIME, Format, System

LOADER = "raspberry-pi"

# The 64-bit state by its old name, for old firmware, and by its new one.
_CONFIG = b"arm_control=0x200\narm_64bit=1\nenable_uart=1\nkernel=u-boot.bin\navoid_warnings=2\n"
_BOOTARGS = "dwc_otg.lpm_enable=0 earlyprintk console=tty1 console=ttyS0,115200 root=/dev/ram0 rw"
_TREES = "boot/dtb/"
_WANTED = "broadcom/bcm2837-rpi-3-b*.dtb"
# U-Boot unpacks the kernel to the start of memory, so all it loads lies above the largest kernel. It stays itself
# at the end of the gigabyte less what the firmware takes.
_TREE_ADDRESS = 0x07F00000
_KERNEL_ADDRESS = 0x08000000
_INITRD_ADDRESS = 0x0B000000
_END_ADDRESS = 0x39000000
# What U-Boot runs from a card. It puts nothing in the place of a variable between single quotes.
_SCRIPT = """\
setenv bootargs '{bootargs}'
setenv loadaddr {kernel:#010x}
setenv fdt_addr_r {tree:#010x}
setenv ramdisk_addr_r {initrd:#010x}
load ${{devtype}} ${{devnum}}:${{distro_bootpart}} ${{loadaddr}} kernel.uimg
load ${{devtype}} ${{devnum}}:${{distro_bootpart}} ${{fdt_addr_r}} dtb/${{fdtfile}}
load ${{devtype}} ${{devnum}}:${{distro_bootpart}} ${{ramdisk_addr_r}} initrd.uimg
bootm ${{loadaddr}} ${{ramdisk_addr_r}} ${{fdt_addr_r}}
"""


class Rpi3Options(NamedTuple):
    """The command line of the config; it follows LinuxKit's own, so what it says twice counts."""

    cmdline: str


def run(work: Work[Rpi3Options]) -> Extents:
    """The tar, its files in the order of their names."""
    text = boot_script(work.options.cmdline)
    files = {
        **dict(_files(work, work.artifact("loader"))),
        "config.txt": Extents.of([Literal(_CONFIG)]),
        "boot.script": Extents.of([Literal(text)]),
        "boot.scr": Extents.of([Literal(script(text, name="boot script", seconds=MTIME // 1_000_000_000))]),
        "kernel.uimg": work.extents(work.artifact("kernel")),
        "initrd.uimg": work.extents(work.artifact("initrd")),
        **_trees(work),
    }
    return archive(dict(sorted(files.items())))


def boot_script(cmdline: str) -> bytes:
    """The script that U-Boot runs."""
    # Backslashes count between single quotes too.
    bootargs = f"{_BOOTARGS} {cmdline}".rstrip().replace("\\", "\\\\").replace("'", "'\\''")
    addresses = {"kernel": _KERNEL_ADDRESS, "tree": _TREE_ADDRESS, "initrd": _INITRD_ADDRESS}
    return _SCRIPT.format(bootargs=bootargs, **addresses).encode("utf-8", "surrogateescape")


def _trees(work: Work[Any]) -> Mapping[str, Extents]:
    """The device trees of the board's variants; U-Boot knows which one it runs on."""
    files = {
        f"dtb/{path.removeprefix(_TREES)}": content
        for path, content in _files(work, work.artifact("root"))
        if path.startswith(_TREES) and fnmatchcase(path.removeprefix(_TREES), _WANTED)
    }
    if not files:
        raise RuleError(
            f"no device tree of a Raspberry Pi 3 in the root file system: `{_TREES}{_WANTED}`",
            hint="put it into `kernel.tar` of the kernel image, or add it under `files`",
        )
    return files


def _files(work: Work[Any], tree: Artifact) -> Iterator[tuple[str, Extents]]:
    """The files of a tree by path, hard links like any others."""
    entries = work.tree(tree).by_path()
    for path, entry in entries.items():
        if entry.kind in ("file", "hardlink"):
            content = entries[entry.target or path].content
            yield path, Extents.of([content] if content else [])


RULE: Rule[Any] = Rule(
    name="format/rpi3",
    version=1,
    summary="lay out a Raspberry Pi 3's boot partition",
    options=Rpi3Options,
    inputs={
        "loader": Input("tree"),
        "root": Input("tree"),
        "kernel": Input("extents"),
        "initrd": Input("extents"),
    },
    output="extents",
    run=run,
)


def _outputs(system: System) -> Mapping[str, Node]:
    kernel_limits = uimage.KernelOptions(_TREE_ADDRESS, _INITRD_ADDRESS - _KERNEL_ADDRESS)
    initrd_limits = uimage.RamdiskOptions(_END_ADDRESS - _INITRD_ADDRESS)
    initrd = boot.initrd_with_microcode(system)
    inputs = {
        "loader": system.target.loaders[LOADER],
        "root": boot.root(system, with_boot=True),
        "kernel": Node("uimage kernel", uimage.KERNEL, kernel_limits, {"kernel": (boot.kernel(system),)}),
        "initrd": Node("uimage initrd", uimage.RAMDISK, initrd_limits, {"initrd": (initrd,)}),
    }
    options = Rpi3Options(boot.cmdline(system))
    return {".tar": Node("rpi3", RULE, options, {name: (node,) for name, node in inputs.items()})}


FORMAT = Format(
    "rpi3",
    "the boot partition of a Raspberry Pi 3 as a tar",
    _outputs,
    loaders={"arm64": (LOADER,)},
    boots=True,
)
