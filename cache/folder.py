"""FolderRemote: a remote cache in a folder, perhaps on a network file system, perhaps shared by a group of people.

    <folder>/ac/<2 hex>/<64 hex>        a record, under its key: a serialised ActionResult
    <folder>/cas/<2 hex>/<64 hex>       content, under its sha256

That is the layout of Bazel's `--disk_cache` (since 4.0), and what Bazel keeps may lie beside ours. How files get
there: see shards.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from kitbuild.cache.remote import MOST_RECORD_BYTES, Access, Pieces, Record, shown
from kitbuild.cache.shards import FileShards
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError, UsageError
from kitbuild.node import Key

_PIECE_BYTES = 1 << 20


def open_remote(url: str, access: Access) -> FolderRemote:
    """The remote cache of `file:///<absolute path>`, with %xx for what a URL may not hold; raises UsageError.

    The file system decides who may use it: `access` is of no use here.
    """
    host, slash, path = url.removeprefix("file://").partition("/")
    if host not in ("", "localhost") or not slash or re.search(r"[?#]|%(?!(?!00)[0-9a-fA-F]{2})", path):
        raise UsageError(
            f"expected a remote cache such as `file:///srv/cache`, got `{shown(url)}`",
            hint="write file:// and an absolute path, with %3F for ?, %23 for # and %25 for %",
        )
    return FolderRemote(Path("/" + _unquoted(path)))


class FolderRemote:
    """Remote in a folder; also what `kitbuild cache serve` keeps, so records may be taken and given as bytes.

    `files` gives sizes, open files and paths. Content is not hashed here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = FileShards(folder)

    def raw_record(self, key: Key) -> bytes | None:
        """A record as it was kept, by whomever, None if there is none or one of more than MOST_RECORD_BYTES."""
        file = self.files.open("ac", key.hex)
        if file is None:
            return None
        with file:
            try:
                content = file.read(MOST_RECORD_BYTES + 1)
            except OSError as error:
                raise self.files.failure(error, "read") from error
        return content if len(content) <= MOST_RECORD_BYTES else None

    def keep_raw(self, key: Key, content: bytes) -> None:
        """Keeps or replaces a record."""
        with self.files.writer("ac") as writer:
            writer.write(content)
            writer.commit(key.hex)

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of `digests` that are not there with their full size."""
        return {digest for digest in digests if self.files.size("cas", digest.hex) != digest.size}

    def get(self, digest: Digest) -> Iterator[bytes]:
        """The content; raises MissingBlobError if there is none of that size."""
        file = self.files.open("cas", digest.hex)
        if file is None:
            raise MissingBlobError(f"{digest.oci} is not in {self.folder}")
        with file:
            if os.fstat(file.fileno()).st_size != digest.size:
                raise MissingBlobError(f"{digest.oci} is not in {self.folder} with its full size")
            while True:
                try:
                    piece = file.read(_PIECE_BYTES)
                except OSError as error:
                    raise self.files.failure(error, "read") from error
                if not piece:
                    return
                yield piece

    def put(self, digest: Digest, pieces: Pieces) -> None:
        """Keeps content; what is there already is replaced, for it may be damaged."""
        with self.files.writer("cas") as writer:
            for piece in pieces():
                writer.write(piece)
            if writer.size != digest.size:
                raise RemoteError(f"expected {digest.size} bytes of {digest.oci}, got {writer.size}")
            writer.commit(digest.hex)

    def record(self, key: Key) -> Record | None:
        """The record of `key`."""
        from kitbuild.cache.action_result import decode

        content = self.raw_record(key)
        return None if content is None else decode(content)

    def keep(self, key: Key, record: Record) -> None:
        """Keeps or replaces a record."""
        from kitbuild.cache.action_result import encode

        self.keep_raw(key, encode(record))

    def close(self) -> None:
        """Nothing is open between calls."""


def _unquoted(text: str) -> str:
    content = text.encode("utf-8", "surrogateescape")
    return os.fsdecode(re.sub(rb"%([0-9a-fA-F]{2})", lambda match: bytes.fromhex(match[1].decode()), content))
