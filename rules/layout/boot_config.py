"""The few lines that tell a boot loader what to start: LinuxKit's, byte for byte.

A command line is one line without control characters. SYSLINUX and systemd-boot take it as it is; GRUB reads its
config as a script, so what means something there is quoted. It puts a backslash before each `'` and `\\` itself,
whatever is written: a command line with these is no command line for GRUB, and double quotes come in pairs.
Source: doc/syslinux.txt of SYSLINUX; GRUB manual, "Writing full configuration files directly"; UEFI specification
2.10, section 3.5.1.1, "Removable Media Boot Behavior".
"""

from __future__ import annotations

import re

# What EFI firmware starts on a medium that it knows nothing else of, by Go's name of the architecture.
EFI_PROGRAMS = {"amd64": "EFI/BOOT/BOOTX64.EFI", "arm64": "EFI/BOOT/BOOTAA64.EFI"}
# Where GRUB looks for its config in the file system that it was started from: LinuxKit's, and Debian's.
GRUB_CONFIGS = ("EFI/BOOT/grub.cfg", "boot/grub/grub.cfg")
# A word of a command line as the kernel reads it: blanks between double quotes are part of it.
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')
# What ends a word, starts a comment or another command, names a variable or files in GRUB's script language.
_GRUB_SPECIAL = re.compile(r"[$;&|<>{}#*?\[\]]")


def syslinux(*, kernel: str, cmdline: str, initrd: str = "") -> bytes:
    """syslinux.cfg or isolinux.cfg; paths are absolute in the file system it lies in."""
    lines = ["DEFAULT linux", "LABEL linux", f"    KERNEL {kernel}"]
    if initrd:
        lines.append(f"    INITRD {initrd}")
    return _file([*lines, f"    APPEND {cmdline}"])


def grub(*, kernel: str, cmdline: str, initrd: str = "") -> bytes:
    """grub.cfg; the word `text` that LinuxKit adds to the command line is added here."""
    quoted = _WORD.sub(_quoted, cmdline)
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


def _quoted(word: re.Match[str]) -> str:
    """A word as GRUB takes it: as it is, or between single quotes, where nothing means anything.

    GRUB puts double quotes around what has blanks in it before the kernel gets it, so they need not stay.
    """
    text = word[0]
    if not _GRUB_SPECIAL.search(text):
        return text
    return "'" + text.replace('"', "") + "'"
