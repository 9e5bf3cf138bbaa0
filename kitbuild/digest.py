"""Digest names bytes: their sha256 and their number."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

_HEX = re.compile(r"[0-9a-f]{64}\Z")


# A NamedTuple, not a dataclass: trees and extents make hundreds of thousands of values, and a NamedTuple is
# made four times faster. It is as frozen.
class Digest(NamedTuple):
    """The sha256 (64 lower-case hex digits) and the size in bytes of some content.

    Made by `Digest.of`, `Hasher.digest` or `Digest.parse`; only those check.
    """

    hex: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """The digest of `content`."""
        return cls(hashlib.sha256(content).hexdigest(), len(content))

    @classmethod
    def parse(cls, text: str, size: int) -> Digest:
        """Reads `sha256:<hex>` or `<hex>`; raises ValueError on anything else or a negative size."""
        hexdigits = text.removeprefix("sha256:")
        if not _HEX.match(hexdigits):
            raise ValueError(f"expected sha256: and 64 hex digits, got {text!r}")
        if size < 0:
            raise ValueError(f"expected a size of 0 or more bytes, got {size}")
        return cls(hexdigits, size)

    @property
    def oci(self) -> str:
        """The digest as OCI writes it: `sha256:<hex>`."""
        return f"sha256:{self.hex}"

    def __str__(self) -> str:
        return f"sha256:{self.hex[:12]} ({self.size} bytes)"


class Hasher:
    """Digests content piece by piece."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._size = 0

    def update(self, piece: bytes | memoryview) -> None:
        """Takes the next piece."""
        self._sha256.update(piece)
        self._size += len(piece)

    @property
    def size(self) -> int:
        """The number of bytes taken so far."""
        return self._size

    def digest(self) -> Digest:
        """The digest of all pieces so far."""
        return Digest(self._sha256.hexdigest(), self._size)
