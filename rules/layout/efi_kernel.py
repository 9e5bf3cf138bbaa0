"""Kernels for EFI firmware: those with an EFI stub are EFI programs themselves; GRUB can start some others too.

Source: kernel Documentation/admin-guide/efi-stub.rst, Documentation/arch/x86/boot.rst,
Documentation/arch/arm64/booting.rst. What GRUB takes was tried with 2.06.
"""

from __future__ import annotations

from kitbuild.errors import RuleError
from kitbuild.rules.layout.pe import machine

# As many bytes of a kernel hold all that is asked here.
HEAD_BYTES = 1024
# Numbers of processors in PE files, by Go's names.
_MACHINES = {"386": 0x14C, "amd64": 0x8664, "arm": 0x1C2, "arm64": 0xAA64, "riscv64": 0x5064}
# How files begin that gzip, bzip2, xz, zstd and lz4 (of two kinds) made.
_GZIP = b"\x1f\x8b"
_COMPRESSED = (_GZIP, b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18")


def check(head: bytes, architecture: str) -> None:
    """Raises RuleError unless `head`, the first HEAD_BYTES of a kernel, are those of an EFI program for it."""
    found = machine(head)
    if found != _MACHINES[architecture]:
        got, hint = _described(head, found)
        raise RuleError(f"expected a kernel with an EFI stub for {architecture}, got {got}", hint=hint)


def check_for_grub(head: bytes, architecture: str) -> None:
    """Raises RuleError unless GRUB can start the kernel: it needs no stub on x86, and unpacks gzip by itself."""
    if head.startswith(_GZIP) or (architecture == "amd64" and machine(head) is None and _is_x86(head)):
        return
    check(head, architecture)


def _described(head: bytes, found: int | None) -> tuple[str, str]:
    if found is not None:
        names = [name for name, number in _MACHINES.items() if number == found]
        return (
            f"one for {names[0] if names else f'machine {found:#x}'}",
            "name a kernel for that architecture",
        )
    if head.startswith(_COMPRESSED):
        return "a compressed one", "build with `--decompress-kernel`"
    if head.startswith(b"\x7fELF"):
        return "an ELF file", "give the kernel's boot image (`bzImage` or `Image`) instead of `vmlinux`"
    if _is_x86(head):
        return "one without", "build the kernel with CONFIG_EFI_STUB=y, or choose a BIOS format"
    if head[56:60] == b"ARM\x64":
        return "one without", "build the kernel with CONFIG_EFI_STUB=y"
    return "a file that is no kernel", "give a kernel built with CONFIG_EFI_STUB=y"


def _is_x86(head: bytes) -> bool:
    return head[0x202:0x206] == b"HdrS"
