"""Every kind of store, each opened over an empty folder: a new kind is one line in STORES."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from kitbuild.cache.apart import ApartStore
from kitbuild.cache.directory import open_directory
from kitbuild.cache.memory import MemoryStore
from kitbuild.cache.tiered import TieredStore
from kitbuild.digest import Digest
from kitbuild.node import Key
from kitbuild.rule import BlobWriter
from kitbuild.store import Notes, Result, Store
from tests.support.remotes import MemoryRemote


class StoreWithNotes(Store, Notes, Protocol):
    """What a build works with."""


class Twins:
    """Two stores over one folder, as two processes have them: one is written to, the other asked."""

    def __init__(self, folder: Path) -> None:
        self._writes = open_directory(folder)
        self._reads = open_directory(folder)

    def writer(self) -> AbstractContextManager[BlobWriter]:
        return self._writes.writer()

    def path(self, digest: Digest) -> Path:
        return self._reads.path(digest)

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        return self._reads.missing(digests)

    def distance(self, digests: Iterable[Digest]) -> float:
        return self._reads.distance(digests)

    def fetch(self, digests: Iterable[Digest]) -> set[Digest]:
        return self._reads.fetch(digests)

    def results(self, keys: Sequence[Key]) -> list[Result | None]:
        return self._reads.results(keys)

    def record(self, key: Key, result: Result) -> None:
        self._writes.record(key, result)

    def note(self, space: str, name: str) -> bytes | None:
        return self._reads.note(space, name)

    def keep(self, space: str, name: str, content: bytes) -> None:
        self._writes.keep(space, name, content)


def _tiered(folder: Path) -> StoreWithNotes:
    return TieredStore(open_directory(folder), MemoryRemote(), writes=True, warn=lambda message: None)


STORES: dict[str, Callable[[Path], StoreWithNotes]] = {
    "memory": MemoryStore,
    "directory": open_directory,
    "directory-twins": Twins,
    "tiered": _tiered,
    "apart": lambda folder: ApartStore(open_directory(folder), "pr-7"),
}
