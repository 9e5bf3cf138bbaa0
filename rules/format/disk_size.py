"""How large a disk is: as large as it was asked for, as its format has it, or as small as can be."""

from __future__ import annotations

from kitbuild.errors import RuleError

MEBIBYTE, GIBIBYTE = 1 << 20, 1 << 30


def disk_size(least: int, *, asked: int, default: int) -> int:
    """The size in bytes of a disk whose content needs `least`; 0 for one as small as can be.

    `asked` is what the user said, `default` what the format has without that; both may be 0. A default that is too
    small becomes as many whole GiB as are enough. Raises RuleError for a size asked for that is too small.
    """
    if asked and asked < least:
        needed = round_up(least, MEBIBYTE) // MEBIBYTE
        raise RuleError(
            f"expected a disk of at least {needed} MiB for kernel and initrd, got {asked // MEBIBYTE} MiB",
            hint=f"give `--size {needed}M` or more",
        )
    if asked or not default:
        return asked
    return max(default, round_up(least, GIBIBYTE))


def round_up(size: int, unit: int) -> int:
    """`size` or the next multiple of `unit` above it."""
    return -(-size // unit) * unit


def title(kind: str, *, asked: int, default: int) -> str:
    """What the node of such a disk is called: whatever the default, all of the size asked for are one."""
    size = (asked or default) if default else 0
    if not size:
        return kind
    return f"{kind} of {size // MEBIBYTE} MiB" if size % GIBIBYTE else f"{kind} of {size // GIBIBYTE} GiB"
