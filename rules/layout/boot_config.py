"""The few lines that tell a boot loader what to start: LinuxKit's, byte for byte.

A command line is one line without control characters. SYSLINUX and systemd-boot take it as it is; GRUB reads its
config as a script, so what means something there is quoted.
Source: doc/syslinux.txt of SYSLINUX; GRUB manual, "Writing full configuration files directly"; UEFI specification
2.10, section 3.5.1.1, "Removable Media Boot Behavior".
"""

from __future__ import annotations

import re

# What EFI firmware starts on a medium that it knows nothing else of, by Go's name of the architecture.
EFI_PROGRAMS = {"amd64": "EFI/BOOT/BOOTX64.EFI", "arm64": "EFI/BOOT/BOOTAA64.EFI"}
# Where GRUB looks for its config in the file system that it was started from: LinuxKit's, and Debian's.
GRUB_CONFIGS = ("EFI/BOOT/grub.cfg", "boot/grub/grub.cfg")
# What ends a word, starts a comment or another command, or names a variable in GRUB's script language. Quotes and
# backslashes are left to do what they do in LinuxKit's files.
_GRUB_SPECIAL = re.compile(r"[$;&|<>{}#]+")


def syslinux(*, kernel: str, cmdline: str, initrd: str = "") -> bytes:
    """syslinux.cfg or isolinux.cfg; paths are absolute in the file system it lies in."""
    lines = ["DEFAULT linux", "LABEL linux", f"    KERNEL {kernel}"]
    if initrd:
        lines.append(f"    INITRD {initrd}")
    return _file([*lines, f"    APPEND {cmdline}"])


def grub(*, kernel: str, cmdline: str, initrd: str = "") -> bytes:
    """grub.cfg; the word `text` that LinuxKit adds to the command line is added here."""
    quoted = _GRUB_SPECIAL.sub(lambda found: f"'{found[0]}'", cmdline)
    lines = [
        "set timeout=0",
        "set gfxpayload=text",
        "menuentry 'LinuxKit ISO Image' {",
        f"\tlinux {kernel} {quoted} text",
    ]
    if initrd:
        lines.append(f"\tinitrd {initrd}")
    return _file([*lines, "}"])


def _file(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
