"""Eviction: which files of a cache server go when there is no more room.

What goes together is a result with the content that only it refers to, least recently used first. Content that no
result refers to goes by its own last use, but not while its result may still be on its way: builds upload content
first. A living result never loses content. Results whose content is gone go too: they cannot be answered.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import accumulate
from typing import NamedTuple

from kitbuild.cache.server_metrics import Metrics
from kitbuild.cache.server_results import all_needs
from kitbuild.cache.server_storage import EMPTY, TOUCH_SECONDS, Storage, on_disk

# Content without a result is left alone for so long: a build may take as long to upload.
GRACE_SECONDS = 3600
# But only what came last, up to this part of the room: uploads that no result follows must not push out everything.
GRACE_PART = 0.25

# Between two looks through the folder, the time they take not counted.
_PAUSE_SECONDS = 1
_RECOUNT_SECONDS = 3600
# Removed at a time; requests are answered in between.
_BATCH = 50

# How full the folder is afterwards, so that not every upload looks through it anew.
GOAL = 0.9


class File(NamedTuple):
    """A file by its path: what it takes of the disk in bytes, and its last use in seconds since 1970."""

    path: str
    size: int
    used: float


class Survey(NamedTuple):
    """What is in the folder. `needs` is the content each result refers to, as paths; None if some is gone."""

    results: tuple[File, ...]
    content: Mapping[str, File]
    needs: Mapping[str, tuple[str, ...] | None]

    @property
    def bytes(self) -> int:
        """What all of it takes of the disk."""
        return sum(file.size for file in (*self.results, *self.content.values()))


def survey(storage: Storage) -> Survey:
    """Looks through the folder; seconds, for a hundred thousand files. From any thread."""
    # Results first: what is uploaded meanwhile is then content without a result, and young.
    found = list(storage.files("ac"))
    content = {
        path: File(path, on_disk(status.st_size), status.st_mtime) for path, status in storage.files("cas")
    }
    prefix = f"{storage.folder}/cas/"
    needs: dict[str, tuple[str, ...] | None] = {}
    for path, _ in found:
        needs[path] = _needs(storage, path, prefix)
    return Survey(
        tuple(File(path, on_disk(status.st_size), status.st_mtime) for path, status in found), content, needs
    )


class Drop(NamedTuple):
    """A file to remove; `kind` is "ac" for a result and "cas" for content."""

    kind: str
    file: File


def drops(found: Survey, *, goal_bytes: float, now: float) -> list[Drop]:
    """What to remove, in this order, so that `goal_bytes` are left, if that can be."""
    return _Dropping(found, goal_bytes, now - GRACE_SECONDS).drops


class _Dropping:
    """How `drops` finds out: the living results, how many of them need each content, and what was given up."""

    def __init__(self, found: Survey, goal_bytes: float, fresh_after: float) -> None:
        self.drops: list[Drop] = []
        self._found = found
        self._fresh_after = fresh_after
        self._excess = found.bytes - goal_bytes
        useless, living = self._parted()
        self._needed = Counter(path for result in living for path in self._needs(result))
        for result in useless:
            self._drop("ac", result)
        loose = [file for path, file in found.content.items() if not self._needed[path]]
        on_their_way = self._uploads(loose, GRACE_PART * goal_bytes)
        # Content after results of the same time.
        self._waiting = [(result.used, 1, result.path, result) for result in living]
        self._waiting += [(file.used, 2, file.path, file) for file in loose if file.path not in on_their_way]
        heapq.heapify(self._waiting)
        while self._waiting and self._excess > 0:
            _used, order, _path, file = heapq.heappop(self._waiting)
            if order == 1:
                self._drop_with_content(file)
            else:
                self._drop("cas", file)

    def _uploads(self, loose: list[File], most_bytes: float) -> set[str]:
        """Content whose result may be on its way: young, used last, and `most_bytes` of it at most."""
        young = [file for file in loose if file.used >= self._fresh_after]
        young.sort(key=lambda file: file.used, reverse=True)
        total = accumulate(file.size for file in young)
        return {file.path for file, size in zip(young, total, strict=True) if size <= most_bytes}

    def _drop_with_content(self, result: File) -> None:
        self._drop("ac", result)
        for path in self._needs(result):
            self._needed[path] -= 1
            if self._needed[path]:
                continue
            file = self._found.content[path]
            # Asked for since then without the result: by a build that is about to upload one that needs it.
            if file.used > result.used + TOUCH_SECONDS:
                heapq.heappush(self._waiting, (file.used, 2, path, file))
            else:
                self._drop("cas", file)

    def _drop(self, kind: str, file: File) -> None:
        self._excess -= file.size
        self.drops.append(Drop(kind, file))

    def _needs(self, result: File) -> list[str]:
        return [path for path in self._found.needs[result.path] or () if path in self._found.content]

    def _parted(self) -> tuple[list[File], list[File]]:
        """Results that lack content, and the others; those that are young may still be given what they lack."""
        useless: list[File] = []
        living: list[File] = []
        for result in self._found.results:
            needs = self._found.needs[result.path]
            whole = needs is not None and all(path in self._found.content for path in needs)
            (living if whole or result.used >= self._fresh_after else useless).append(result)
        return useless, living


class Evictor:
    """Keeps a server's folder below its limit, and its counts right, while the server answers."""

    def __init__(
        self, storage: Storage, max_bytes: int | None, metrics: Metrics, told: Callable[[str], None]
    ) -> None:
        self._storage = storage
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._told = told
        self._full = asyncio.Event()

    def look(self) -> None:
        """To be called when something was added."""
        if self._max_bytes is not None and self._storage.bytes > self._max_bytes:
            self._full.set()

    async def run(self) -> None:
        """Looks through the folder at once, when it is full, and each hour: others may write to it too."""
        while True:
            self._full.clear()
            try:
                await self.sweep()
            except OSError as error:
                self._told(f"the folder cannot be looked through: {error.strerror}")
            await asyncio.sleep(_PAUSE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(_RECOUNT_SECONDS):
                    await self._full.wait()

    async def sweep(self) -> None:
        """Counts what is there, and makes room if it is too much."""
        storage = self._storage
        storage.used = set()
        try:
            found = await asyncio.to_thread(survey, storage)
            late_bytes = self._set_counts(found)
            if self._max_bytes is not None and storage.bytes > self._max_bytes:
                goal = GOAL * self._max_bytes - late_bytes
                await self._remove(
                    found, await asyncio.to_thread(drops, found, goal_bytes=goal, now=time.time())
                )
        finally:
            storage.used = None

    def _set_counts(self, found: Survey) -> int:
        """Sets what is there to what was found and what came meanwhile; gives the bytes of the latter."""
        storage = self._storage
        late = (storage.used or set()) - found.content.keys() - {result.path for result in found.results}
        statuses = {path: storage.status(path) for path in late}
        sizes = {path: on_disk(status.st_size) for path, status in statuses.items() if status}
        content = sum(path.startswith(f"{storage.folder}/cas/") for path in sizes)
        storage.bytes = found.bytes + sum(sizes.values())
        storage.counts["cas"] = len(found.content) + content
        storage.counts["ac"] = len(found.results) + len(sizes) - content
        return sum(sizes.values())

    async def _remove(self, found: Survey, planned: list[Drop]) -> None:
        """Removes what was not used since `found`; nor is content of results that were."""
        used = self._storage.used
        assert used is not None
        spared: set[str] = set()
        for number, (kind, file) in enumerate(planned):
            if number % _BATCH == 0:
                await asyncio.sleep(0)
            if file.path in used or file.path in spared or self._is_used(file):
                spared.update(found.needs.get(file.path) or ())
            elif self._storage.remove(file.path, kind, file.size):
                self._metrics.evicted(kind, file.size)

    def _is_used(self, file: File) -> bool:
        """True if another program than this server used it since."""
        status = self._storage.status(file.path)
        return status is not None and status.st_mtime != file.used


def _needs(storage: Storage, path: str, prefix: str) -> tuple[str, ...] | None:
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 (a hundred thousand times)
            needed = all_needs(stream.read(), storage.read)
    except (OSError, ValueError):
        return None
    if needed is None:
        return None
    return tuple(f"{prefix}{digest.hex[:2]}/{digest.hex}" for digest in needed if digest != EMPTY)
