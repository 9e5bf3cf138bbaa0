"""Upload: a file of a cache server's folder that is on its way there, and hashed as it comes."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import IO

from kitbuild.cache.server_storage import Name, Storage


class Upload:
    """A result or content while it arrives; `write` may be called in another thread than the rest.

    Making one raises OSError.
    """

    def __init__(self, storage: Storage, name: Name) -> None:
        self._storage = storage
        self._name = name
        self._sha256 = hashlib.sha256()
        self.size = 0
        self._path = f"{storage.upload_prefix}{os.urandom(16).hex()}"
        self._file: IO[bytes] | None = open(self._path, "xb", buffering=0)  # noqa: SIM115, PTH123 (closed by `close`)

    def write(self, piece: bytes) -> None:
        """Takes the next piece; raises OSError."""
        assert self._file
        if self._name.kind == "cas":
            self._sha256.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[self._file.write(rest) :]
        self.size += len(piece)

    def commit(self) -> bool:
        """Gives it its name; True if there was none of this name. Raises ValueError for wrong content, OSError."""
        assert self._file
        if self._name.kind == "cas" and self._sha256.hexdigest() != self._name.hex:
            raise ValueError(
                f"expected content with the sha256 {self._name.hex}, got {self._sha256.hexdigest()}"
            )
        new = self._storage.place(self._path, self._name, self.size)
        self._path = ""
        return new

    def close(self) -> None:
        """Ends it; what has got no name is gone."""
        if self._file:
            self._file.close()
            self._file = None
        if self._path:
            with suppress(OSError):
                os.unlink(self._path)  # noqa: PTH108
            self._path = ""
