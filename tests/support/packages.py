"""Makes Debian packages for tests: ar archives with a tar of files in them.

package({"usr/bin/tool": "#!/bin/sh"}, compression="xz")
archive([("debian-binary", b"2.0\\n"), ("data.tar", b"")])
"""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import zstandard

from tests.support.images import LayerContent, layer_tar

Compression = Literal["", "gz", "xz", "zst"]

_PACKED: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gz": lambda content: gzip.compress(content, mtime=0),
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor(level=1).compress,
}


def packed(content: bytes, compression: Compression) -> bytes:
    """The content compressed."""
    return _PACKED[compression](content)


def member(name: str, content: bytes, *, size: int | None = None) -> bytes:
    """One member of an ar archive; `size` is what its header says, if not the truth."""
    said = len(content) if size is None else size
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{said:<10}`\n".encode()
    return header + content + b"\n" * (len(content) % 2)


def archive(members: Iterable[tuple[str, bytes]]) -> bytes:
    """An ar archive."""
    return b"!<arch>\n" + b"".join(member(name, content) for name, content in members)


def package(content: LayerContent, compression: Compression = "xz") -> bytes:
    """A Debian package with these files, as dpkg-deb puts it together."""
    suffix = f".{compression}" if compression else ""
    return archive(
        [
            ("debian-binary", b"2.0\n"),
            (f"control.tar{suffix}", packed(layer_tar({"./control": "Package: test\n"}), compression)),
            (f"data.tar{suffix}", packed(layer_tar(content), compression)),
        ]
    )
