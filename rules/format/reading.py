"""Files that a rule has to look into: their first bytes, or small ones as a whole."""

from __future__ import annotations

from typing import Any

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Slice
from kitbuild.rule import Work

# The largest file of a boot loader is GRUB, which has 4 MB.
_MAX_LOADER_BYTES = 16 << 20


def head(file: Extents, size: int, work: Work[Any]) -> bytes:
    """The first `size` bytes of a file, or all of it if there are fewer."""
    return b"".join(
        work.read(part)
        if isinstance(part, Slice)
        else part.content
        if isinstance(part, Literal)
        else bytes(part.size)
        for part in file.cut(0, size).parts
    )


def loader_content(file: Extents, work: Work[Any]) -> bytes:
    """The bytes of a boot loader's file; raises RuleError for one too large to be that."""
    if file.size > _MAX_LOADER_BYTES:
        raise RuleError(
            f"expected a boot loader's file of at most {_MAX_LOADER_BYTES} bytes, got one of {file.size}",
            hint="give the boot loader itself with `--boot-loader`",
        )
    return head(file, file.size, work)
