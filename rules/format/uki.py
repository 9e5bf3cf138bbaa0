"""A unified kernel image: kernel, initrd and command line as one program that firmware starts.

It is a systemd stub with more sections. Source: UAPI Group Specifications, "Unified Kernel Image"; systemd-stub(7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal
from kitbuild.node import Node
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format.boot import cmdline, initrd_with_microcode, kernel, loader_file
from kitbuild.rules.format.reading import head
from kitbuild.rules.layout import efi_kernel, pe
from kitbuild.system import Format, System

# What systemd-boot shows; it lists no image without a name.
_OS_RELEASE = b'NAME="LinuxKit"'
# Its headers, with room for as many sections as systemd foresees, take about half of this.
_STUB_HEAD_BYTES = 4096


class UkiOptions(NamedTuple):
    """What the kernel shall be for, in Go's name, and the command line."""

    architecture: str
    cmdline: str


def _run(work: Work[UkiOptions]) -> Extents:
    stub, kernel, initrd = (work.extents(work.artifact(name)) for name in ("stub", "kernel", "initrd"))
    stub_head, kernel_head = head(stub, _STUB_HEAD_BYTES, work), head(kernel, efi_kernel.HEAD_BYTES, work)
    efi_kernel.check(kernel_head, work.options.architecture)
    if pe.machine(stub_head) != pe.machine(kernel_head):
        raise RuleError(f"expected a boot stub for {work.options.architecture}, got another file")
    found = pe.program(kernel_head)
    text = work.options.cmdline.encode("utf-8", "surrogateescape")
    sections = [
        pe.Section(".osrel", Extents.of([Literal(_OS_RELEASE)])),
        pe.Section(".cmdline", Extents.of([Literal(text)])),
        pe.Section(".initrd", initrd),
        # The last, with the memory it wants for itself: some stubs start it where it lies.
        pe.Section(".linux", kernel, pe.CODE, found.image_bytes if found else 0),
    ]
    return pe.append(stub, sections, head=stub_head)


RULE: Rule[Any] = Rule(
    name="format/uki",
    version=1,
    summary="put kernel, initrd and command line into one EFI program",
    options=UkiOptions,
    inputs={"stub": Input("extents"), "kernel": Input("extents"), "initrd": Input("extents")},
    output="extents",
    run=_run,
)


def uki(system: System) -> Node:
    """The unified kernel image; the word `text` that LinuxKit adds to the command line is added here."""
    inputs = {
        "stub": (loader_file(system, "systemd-boot", "linux.efi.stub"),),
        "kernel": (kernel(system),),
        "initrd": (initrd_with_microcode(system),),
    }
    options = UkiOptions(system.target.architecture, f"{cmdline(system)} text")
    return system.once("uki", lambda: Node("uki", RULE, options, inputs))


def _outputs(system: System) -> Mapping[str, Node]:
    return {".efi": uki(system)}


FORMAT = Format(
    "uki",
    "kernel, initrd and command line as one EFI program",
    _outputs,
    loaders={"amd64": ("systemd-boot",), "arm64": ("systemd-boot",)},
    boots=True,
)
