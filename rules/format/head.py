"""The first bytes of a file, for rules that must look at its header."""

from __future__ import annotations

from typing import Any

from kitbuild.extents import Extents, Literal, Slice
from kitbuild.rule import Work


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
