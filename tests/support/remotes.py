"""MemoryRemote: the whole port of a remote cache in a dict; it passes the contract suite."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kitbuild.cache.remote import Pieces, Record
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError
from kitbuild.node import Key

_PIECE_BYTES = 1 << 20


class MemoryRemote:
    """A remote cache that believes all it is given, as nginx does; `content` and `records` may be tampered with."""

    def __init__(self) -> None:
        # Setting and reading a dict item is atomic; no lock is needed.
        self.content: dict[str, bytes] = {}
        self.records: dict[Key, Record] = {}

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        return {digest for digest in digests if digest.hex not in self.content}

    def get(self, digest: Digest) -> Iterator[bytes]:
        try:
            content = self.content[digest.hex]
        except KeyError:
            raise MissingBlobError(f"{digest.oci} is not in the remote cache") from None
        for start in range(0, len(content), _PIECE_BYTES):
            yield content[start : start + _PIECE_BYTES]

    def put(self, digest: Digest, pieces: Pieces) -> None:
        self.content[digest.hex] = b"".join(pieces())

    def record(self, key: Key) -> Record | None:
        return self.records.get(key)

    def keep(self, key: Key, record: Record) -> None:
        self.records[key] = record

    def close(self) -> None:
        """Nothing is open."""
