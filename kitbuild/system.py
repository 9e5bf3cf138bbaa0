"""System is a lowered config before anybody said in what form it shall boot: its parts, and who is asked for more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from kitbuild.node import Node

Compression = Literal["gzip", "zstd", "none"]

# The time of everything kitbuild makes itself, in nanoseconds: 2017-04-18 16:30:00 UTC, as LinuxKit has it.
MTIME = 1_492_533_000 * 1_000_000_000


class Part(NamedTuple):
    """A tree that belongs into the root file system; parts are laid over each other in their order.

    `name` says whose it is ("services[0] web"). `source` and `location` are what LinuxKit records in tars as
    LINUXKIT.source and LINUXKIT.location, nothing if the source is empty; `locations` names the paths for which the
    latter differs. A part whose tree is only `boot/` files for the boot loader is not `in_initrd`; `keeps_boot` if
    its own `boot/` is.
    """

    name: str
    tree: Node
    source: str
    location: str
    locations: tuple[tuple[str, str], ...] = ()
    in_initrd: bool = True
    keeps_boot: bool = False


class Target(NamedTuple):
    """What a system is made for.

    `architecture` is Go's name for it. `disk_bytes` is the size of disks the user asked for, 0 if they did not.
    `loaders` are the boot loaders that the formats name, each a tree with its files at its top. `name` is that of the
    outputs, for formats that hold one.
    """

    compression: Compression = "gzip"
    architecture: str = "amd64"
    disk_bytes: int = 0
    loaders: Mapping[str, Node] = MappingProxyType({})
    name: str = "linuxkit"


class System:
    """The parts of one system, its kernel, and the nodes that formats have made of them so far.

    `kernel` is the tree with `boot/kernel` (and `boot/ucode.cpio` if `microcode`), None without a kernel.
    """

    def __init__(
        self,
        parts: tuple[Part, ...],
        *,
        kernel: Node | None = None,
        microcode: bool = False,
        cmdline: str = "",
        target: Target = Target(),  # noqa: B008 - a value that cannot change
    ) -> None:
        self.parts: Final = parts
        self.kernel: Final = kernel
        self.microcode: Final = microcode
        self.cmdline: Final = cmdline
        self.target: Final = target
        self._made: dict[str, Node] = {}

    def once(self, name: str, make: Callable[[], Node]) -> Node:
        """The node of this name, made by the first format that needs it."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


class Format(NamedTuple):
    """An output format: what it is for, what it needs, and the files it consists of.

    `outputs` gives a node for each file, by what follows the output name ("-initrd.img"). A `stream` is one file
    that can go into a pipe; it is asked for alone. `loaders` are the boot loaders that its outputs take from the
    target, by architecture: it can be made for these architectures alone, or for all if it needs none. What `boots`
    writes a command line for a boot loader, so it wants a kernel, and a command line that one can take.
    """

    name: str
    summary: str
    outputs: Callable[[System], Mapping[str, Node]]
    stream: bool = False
    loaders: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    boots: bool = False
