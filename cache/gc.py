"""Clean-up of a DirectoryStore: what to drop, oldest use first; checking, emptying and counting it.

All of it may run while builds do. lease.py says why no build loses what it was told about or has committed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from kitbuild.cache.blobs import BlobFile
from kitbuild.cache.directory import DirectoryStore
from kitbuild.cache.lease import FRESH_SECONDS, abandoned
from kitbuild.cache.row import NOTE_PREFIX, RESULT_PREFIX, decode_result, note_name
from kitbuild.digest import Digest
from kitbuild.errors import StoreError
from kitbuild.store import Result

T = TypeVar("T")

# Files removed before builds that wait for the lock are let in: some 10 ms.
_BATCH = 64

# Clocks are set back a little now and then.
_CLOCK_SECONDS = 60

# Results asked again in one transaction, during which no build can record.
_ROWS = 256


class Collection(NamedTuple):
    """What a clean-up dropped and left; `kept_for_builds` are blobs over the limit that running builds may need."""

    blobs: int
    bytes: int
    dropped_blobs: int
    dropped_bytes: int
    dropped_results: int
    dropped_leftovers: int
    kept_for_builds: int


class Verification(NamedTuple):
    """What a check found: all blobs and their bytes, the hex digits of wrong ones, and results given up."""

    blobs: int
    bytes: int
    wrong: tuple[str, ...]
    dropped_results: int


class Info(NamedTuple):
    """What a cache holds; `oldest_use` in seconds since 1970, None without blobs; `builds` run now."""

    blobs: int
    bytes: int
    index_bytes: int
    results: int
    notes: int
    leftovers: int
    builds: int
    oldest_use: float | None


def collect(store: DirectoryStore, *, max_bytes: int | None = None) -> Collection:
    """Drops blobs until they take `max_bytes` at most, then all that has become useless.

    Useless are results whose content is gone, expired notes and what killed processes left behind. Without
    `max_bytes` no blob is dropped.
    """
    blobs = sorted(store.blobs.all(), key=lambda blob: blob.used)
    total = sum(blob.size for blob in blobs)
    dropped, kept = _drop_oldest(store, blobs, total - max_bytes) if max_bytes is not None else ([], 0)
    leftovers, builds = _drop_leftovers(store)
    results = _drop_dead_results(store)
    if not builds:
        store.index.tidy()
    dropped_bytes = sum(blob.size for blob in dropped)
    return Collection(
        blobs=len(blobs) - len(dropped),
        bytes=total - dropped_bytes,
        dropped_blobs=len(dropped),
        dropped_bytes=dropped_bytes,
        dropped_results=results,
        dropped_leftovers=leftovers,
        kept_for_builds=kept,
    )


def verify(store: DirectoryStore) -> Verification:
    """Hashes every blob, and removes those that are not what their name says and results without content.

    What was written from a wrong blob is wrong too: then no output counts as in place any longer.
    """
    blobs = list(store.blobs.all())
    # Hashing releases the GIL; more threads than processors only fight for the disk.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        states = list(pool.map(lambda blob: _wrong(store, blob), blobs))
    wrong = []
    for blob, status in zip(blobs, states, strict=True):
        if status is not None and _remove_same(store, blob, status):
            wrong.append(blob.hex)
    if wrong:
        outputs = [name for name in store.index.names() if name.startswith(note_name("output", ""))]
        store.index.drop(outputs, lambda _name, _row: True)
    return Verification(
        blobs=len(blobs),
        bytes=sum(blob.size for blob in blobs),
        wrong=tuple(sorted(wrong)),
        dropped_results=_drop_dead_results(store),
    )


def clear(store: DirectoryStore) -> Collection:
    """Removes everything; raises StoreError while builds run."""
    with store.leases.exclusive():
        builds = len(store.leases.starts())
        if builds:
            raise StoreError(
                f"the cache {store.folder} is in use by {builds} running build{'s' if builds > 1 else ''}",
                hint="wait until they end, or drop only what they do not need: `kitbuild cache gc --max-size 0`",
            )
        # Results first: killed in between, it leaves blobs without results rather than the reverse.
        results = sum(name.startswith(RESULT_PREFIX) for name in store.index.names())
        store.index.clear()
        blobs = list(store.blobs.all())
        for blob in blobs:
            Path(store.blobs.file(blob.hex)).unlink(missing_ok=True)
        leftovers = _remove_leftovers(store)
    store.index.tidy()
    return Collection(
        blobs=0,
        bytes=0,
        dropped_blobs=len(blobs),
        dropped_bytes=sum(blob.size for blob in blobs),
        dropped_results=results,
        dropped_leftovers=leftovers,
        kept_for_builds=0,
    )


def info(store: DirectoryStore) -> Info:
    """Counts what is there."""
    blobs = list(store.blobs.all())
    names = list(store.index.names())
    with store.leases.exclusive():
        builds = len(store.leases.starts())
    return Info(
        blobs=len(blobs),
        bytes=sum(blob.size for blob in blobs),
        index_bytes=store.index.size(),
        results=sum(name.startswith(RESULT_PREFIX) for name in names),
        notes=sum(name.startswith(NOTE_PREFIX) for name in names),
        leftovers=len(list(store.blobs.temporary.iterdir())),
        builds=builds,
        oldest_use=min((blob.used for blob in blobs), default=None),
    )


def _drop_oldest(store: DirectoryStore, blobs: list[BlobFile], excess: int) -> tuple[list[BlobFile], int]:
    dropped: list[BlobFile] = []
    kept = 0
    for batch in _batches(blobs, _BATCH):
        if excess <= 0:
            break
        with store.leases.exclusive():
            # Asked anew for each batch: builds may have begun, and have used blobs, since the last one.
            start = min(store.leases.starts(), default=float("inf"))
            protected = start - FRESH_SECONDS - _CLOCK_SECONDS
            for blob in batch:
                if excess <= 0:
                    break
                if _drop(store, blob, protected):
                    dropped.append(blob)
                    excess -= blob.size
                else:
                    kept += 1
    return dropped, kept


def _drop(store: DirectoryStore, blob: BlobFile, protected: float) -> bool:
    path = Path(store.blobs.file(blob.hex))
    try:
        used = path.stat().st_mtime
        # Used since it was listed: it is no longer among the oldest, lease or not.
        if used >= protected or used != blob.used:
            return False
        path.unlink()
    except FileNotFoundError:
        pass  # another clean-up was faster
    return True


def _drop_leftovers(store: DirectoryStore) -> tuple[int, int]:
    with store.leases.exclusive():
        return _remove_leftovers(store), len(store.leases.starts())


def _remove_leftovers(store: DirectoryStore) -> int:
    """Under the exclusive lock: a file that is just being made has no lock yet."""
    dead = [path for path in store.blobs.temporary.iterdir() if abandoned(path)]
    for path in dead:
        path.unlink(missing_ok=True)
    return len(dead)


def _drop_dead_results(store: DirectoryStore) -> int:
    # Not under the lock of the folder: a build commits content before it records, so what is found dead in a
    # transaction was recorded before its content went, and a new record of it can only come afterwards.
    sizes = {blob.hex: blob.size for blob in store.blobs.all()}

    def dead(_name: str, row: bytes | None) -> bool:
        result = None if row is None else decode_result(row)
        return result is None or _is_dead(result, lambda blob: sizes.get(blob.hex) == blob.size)

    def dead_now(_name: str, row: bytes | None) -> bool:
        result = None if row is None else decode_result(row)
        return result is None or _is_dead(result, lambda blob: _has_size(store, blob.hex, blob.size))

    names = (name for name in store.index.names() if name.startswith(RESULT_PREFIX))
    suspects = (name for name in names if dead(name, store.index.value(name)))
    return sum(store.index.drop(batch, dead_now) for batch in _batches(suspects, _ROWS))


def _is_dead(result: Result, here: Callable[[Digest], bool]) -> bool:
    """True if neither the content is here nor the denser form of it."""
    return not all(map(here, result.content())) and not (result.dense and all(map(here, result.dense)))


def _has_size(store: DirectoryStore, hexdigits: str, size: int) -> bool:
    try:
        return Path(store.blobs.file(hexdigits)).stat().st_size == size
    except FileNotFoundError:
        return False


def _wrong(store: DirectoryStore, blob: BlobFile) -> os.stat_result | None:
    """The status of the file that was hashed, if it is not what its name says."""
    with suppress(FileNotFoundError), Path(store.blobs.file(blob.hex)).open("rb", buffering=0) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != blob.hex:
            return os.fstat(file.fileno())
    return None


def _remove_same(store: DirectoryStore, blob: BlobFile, status: os.stat_result) -> bool:
    """Removes the very file that was hashed; a build may have put a right one in its place."""
    path = Path(store.blobs.file(blob.hex))
    with store.leases.exclusive(), suppress(FileNotFoundError):
        if os.path.samestat(path.stat(), status):
            path.unlink()
            return True
    return False


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
