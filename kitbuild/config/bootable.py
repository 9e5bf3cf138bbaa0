"""What a boot loader wants of a config: a kernel, and a command line that fits into one line of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kitbuild.config.model import Config
from kitbuild.errors import ConfigError, Where
from kitbuild.system import Format

# COMMAND_LINE_SIZE of Linux on x86 and arm64 is 2048 with the NUL; what is longer the kernel cuts off unasked. We and
# boot loaders put at most so many bytes around it: `BOOT_IMAGE=/boot/kernel`, `root=/dev/sr0`, `text` and
# `initrd=/boot/ucode.cpio`, each with a space.
MAX_CMDLINE_BYTES = 2047 - 67
# What GRUB hands on as it is: it would put a backslash before other quotes, and before every backslash.
_FOR_GRUB = re.compile(r"""(?:[^\\'"]|"[^\\'"]*")*""")


def bootable_errors(config: Config, formats: Sequence[Format]) -> Iterator[ConfigError]:
    """What of the config a format that `boots` could not make a bootable system of."""
    wanting = [output_format.name for output_format in formats if output_format.boots]
    if not wanting:
        return
    name = f"`{wanting[0]}`"
    kernel = config.kernel
    if kernel is None:
        yield ConfigError(
            f"expected a kernel section for {name}, got none",
            hint="add a kernel section with an `image`, or make `kernel+initrd` or `tar`",
        )
        return
    where = kernel.place.where("cmdline")
    text = kernel.cmdline.rstrip("\n")
    size = len(text.encode("utf-8", "surrogateescape"))
    if not text.strip():
        yield ConfigError(
            f"expected a kernel command line for {name}, got none",
            where=where,
            hint="write one in the kernel section, such as `cmdline: console=ttyS0`",
        )
    elif size > MAX_CMDLINE_BYTES:
        yield ConfigError(
            f"expected a kernel command line of at most {MAX_CMDLINE_BYTES} bytes for {name}, got {size}",
            where=where,
            hint="shorten it: the kernel would cut the rest off",
        )
    elif any(character < " " and character != "\t" for character in text):
        yield ConfigError(
            f"expected a kernel command line of one line for {name}, got control characters in it",
            where=where,
            hint="write it in one line; in YAML `>-` folds several into one",
        )
    elif not _FOR_GRUB.fullmatch(text):
        yield from _unfit_for_grub(formats, where)


def _unfit_for_grub(formats: Sequence[Format], where: Where) -> Iterator[ConfigError]:
    for output_format in formats:
        if any("grub" in names for names in output_format.loaders.values()):
            yield ConfigError(
                f"expected a kernel command line without `'` and `\\`, and with double quotes in pairs, for "
                f"`{output_format.name}`",
                where=where,
                hint="leave them out: GRUB changes them; or make `raw-efi` or `uki`, which have no GRUB",
            )
            return
