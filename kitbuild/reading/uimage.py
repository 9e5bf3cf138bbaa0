"""Legacy U-Boot images: 64 bytes of header, then the content. Source: U-Boot include/image.h."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from kitbuild.reading.window import Window

_HEADER = Struct(">IIIIIIIBBBB32s")
_MAGIC = 0x27051956
_KINDS = {2: "kernel", 3: "ramdisk", 6: "script"}
_COMPRESSIONS = ("none", "gzip", "bzip2", "lzma", "lzo", "lz4", "zstd")


class Payload(NamedTuple):
    """What an image is for (kernel, ramdisk, script), its name, how it is compressed, and the content as it is."""

    kind: str
    name: str
    compression: str
    content: Window


def payload(window: Window) -> Payload | None:
    """What a U-Boot image holds, or None if it is none."""
    head = window.read(0, _HEADER.size)
    if len(head) < _HEADER.size:
        return None
    magic, _, _, size, _, _, _, _, _, kind, compression, name = _HEADER.unpack(head)
    if magic != _MAGIC or kind not in _KINDS:
        return None
    text = name.rstrip(b"\0").decode("utf-8", "surrogateescape")
    how = _COMPRESSIONS[compression] if compression < len(_COMPRESSIONS) else str(compression)
    return Payload(_KINDS[kind], text, how, window.part(_HEADER.size, size))
