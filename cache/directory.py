"""DirectoryStore: the local cache, a folder shared by any number of kitbuild processes.

    <folder>/                mode 0700, as every folder in it
        CACHEDIR.TAG         tells backup programs to pass over the folder (https://bford.info/cachedir/)
        blobs/ tmp/          content: see blobs.py
        index/               results and notes: see index.py
        lock leases/         who uses it: see lease.py

A process killed at any moment leaves nothing that another one would trip over: content gets its name when it is
whole, a result is one SQLite transaction, locks end with their process. What a killed one was writing stays in `tmp/`
until the next clean-up (gc.py). Content is checked by size when it is used and by hash in `kitbuild cache verify`; a
result that was lost is a miss and nothing worse.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kitbuild.cache.blobs import Blobs
from kitbuild.cache.failure import failure
from kitbuild.cache.lease import Leases
from kitbuild.cache.mount import network_file_system
from kitbuild.cache.row import decode_result, encode_result, note_name, result_name
from kitbuild.digest import Digest
from kitbuild.errors import StoreError
from kitbuild.node import Key
from kitbuild.rule import BlobWriter
from kitbuild.store import Result

if TYPE_CHECKING:
    from kitbuild.cache.index import Index

# A note nobody renewed for this long is dropped by the next clean-up.
_NOTE_SECONDS = 90 * 24 * 3600

_TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This is the cache of kitbuild. It may be removed as a whole while no build runs.
"""


def _silent(_message: str) -> None:
    return None


def open_directory(path: Path, *, warn: Callable[[str], None] = _silent) -> DirectoryStore:
    """The cache in the folder `path`, which is made if it is not there.

    `warn` is told, as a sentence, about trouble that was got over. Raises StoreError for a folder that cannot
    be written to, or lies on a network file system, where neither locks nor SQLite can be relied on. Open it
    after a fork, not before.
    """
    from kitbuild.cache.index import Index

    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = path.resolve()
        _refuse_network(path)
        _check_owner(path, warn)
        leases = Leases(path)
        blobs = Blobs(path, leases.shared)
        index = Index(path / "index", warn)
        tag = path / "CACHEDIR.TAG"
        if not tag.exists():
            tag.write_text(_TAG, encoding="ascii")
    except OSError as error:
        raise failure(path, error) from error
    return DirectoryStore(path, blobs=blobs, index=index, leases=leases)


class DirectoryStore:
    """Store and Notes in a folder; made by `open_directory`.

    Beyond those ports: content a build was told about or has committed stays as long as it holds a `lease`.
    """

    def __init__(self, folder: Path, *, blobs: Blobs, index: Index, leases: Leases) -> None:
        self.folder = folder
        self.blobs = blobs
        self.index = index
        self.leases = leases

    def writer(self) -> AbstractContextManager[BlobWriter]:
        """A new blob."""
        return self.blobs.writer()

    def path(self, digest: Digest) -> Path:
        """A local file with this content; raises MissingBlobError."""
        return self.blobs.path(digest)

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those that are not there with their full size; the others count as used now."""
        present = self.blobs.present
        return {digest for digest in digests if not present(digest)}

    def distance(self, digests: Iterable[Digest]) -> float:
        """0.0 or infinite: what is not here is nowhere."""
        present = self.blobs.present
        return 0.0 if all([present(digest) for digest in digests]) else math.inf

    def fetch(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those that are not here."""
        return self.missing(digests)

    def results(self, keys: Sequence[Key]) -> list[Result | None]:
        """What each of `keys` led to; its content counts as used now."""
        return [self.result(key) for key in keys]

    def result(self, key: Key) -> Result | None:
        """What `key` led to; its content counts as used now."""
        content = self.index.value(result_name(key))
        result = None if content is None else decode_result(content)
        if result is not None:
            self.missing((*result.content(), *result.dense))
        return result

    def record(self, key: Key, result: Result) -> None:
        """Keeps a result."""
        self.index.put(result_name(key), encode_result(result))

    def note(self, space: str, name: str) -> bytes | None:
        """The note of this name."""
        return self.index.value(note_name(space, name))

    def keep(self, space: str, name: str, content: bytes) -> None:
        """Keeps or replaces a note, for three months at least unless the cache is cleared.

        One that cannot be kept is no trouble worth a build: the next one does without it.
        """
        with suppress(StoreError):
            self.index.put(note_name(space, name), content, expire_seconds=_NOTE_SECONDS)

    def lease(self) -> AbstractContextManager[None]:
        """Keeps what this build uses from being cleaned up; to be held around a whole build, in one thread."""
        return self.leases.hold()

    def close(self) -> None:
        """Closes what this thread has open; other threads' connections end with them."""
        self.index.close()


def _check_owner(path: Path, warn: Callable[[str], None]) -> None:
    """Refuses somebody else's folder, and warns of one everybody may write to: what is in a cache is believed."""
    found = path.stat()
    # Root owns everything anyhow, and builds in containers over folders of their hosts.
    if os.geteuid() not in (0, found.st_uid) and found.st_uid != 0:
        raise StoreError(
            f"the cache {path} belongs to another user, who could put wrong results into it",
            hint="give a folder of your own with `--cache-dir`",
        )
    if found.st_mode & stat.S_IWOTH:
        warn(f"everybody may write to the cache {path}, and put wrong results into it: chmod o-w")


def _refuse_network(path: Path) -> None:
    kind = network_file_system(path)
    if kind:
        raise StoreError(
            f"the cache {path} is on a network file system ({kind}), which cannot keep several builds apart",
            hint="set KITBUILD_CACHE_DIR to a folder on a local disk",
        )
