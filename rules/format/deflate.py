"""The compressor of disk images: isal's deflate, the same bytes for the same input everywhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from kitbuild.rules.layout.deflate import Deflate

# See compression.py: the highest level that gives the same bytes on every processor.
_LEVEL = 2


def deflate() -> Deflate:
    """isal's deflate and checksums."""
    from isal import isal_zlib

    def blocks(content: bytes) -> bytes:
        compressing = isal_zlib.compressobj(level=_LEVEL, wbits=-15)
        return bytes(compressing.compress(content) + compressing.flush(isal_zlib.Z_FULL_FLUSH))

    return Deflate(blocks, isal_zlib.crc32, isal_zlib.adler32)


def tools(_options: Any) -> Mapping[str, str]:
    """What shapes the compressed bytes besides the input: library, version, level; for a rule's `tools`."""
    import isal

    # Each architecture has matching code of its own.
    return {"isal": f"{isal.ISAL_VERSION} level {_LEVEL} {os.uname().machine}"}
