"""Index: the small values of a cache folder, under names, in diskcache.

    index/<number>/cache.db   an SQLite database; the highest number counts
    index/lock                flock, held while a new number is begun

A value is stored with a check over its name and content and is missing if that does not agree. A database that
turns out damaged is left where it is and one with the next number is begun: SQLite must not see a database
renamed under an open connection (https://sqlite.org/howtocorrupt.html), and other processes may have it open.

Nothing is synced to the disk (`synchronous` off): a killed process loses nothing that was stored, while a crash
of the whole machine may damage the database, which costs its contents and nothing else.

Importing this module costs what diskcache and SQLite cost, some 25 ms: import it where a cache is opened.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import MODE_RAW

from kitbuild.cache.failure import failure
from kitbuild.errors import StoreError

T = TypeVar("T")

# SQLITE_ERROR and SQLITE_CONSTRAINT: the statements are always the same, so it is the tables that are wrong.
_DAMAGED = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
}
_CHECK_BYTES = 8

# New databases tried before the disk is given up.
_ATTEMPTS = 3

# How long a write waits for other processes before the cache counts as stuck.
_TIMEOUT_SECONDS = 60

_SETTINGS = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**62,  # out of reach: diskcache drops values silently from 1 GB on
    "statistics": 0,
    "tag_index": 0,
    "disk_min_file_size": 2**62,  # never a value in a file of its own: those are not crash safe
    "sqlite_synchronous": 0,
    "sqlite_mmap_size": 0,  # a read error on mapped memory kills the process instead of raising
}


class RefusedRow(OSError):
    """A row holds something Index never wrote. diskcache takes an OSError as: this value is missing."""


# diskcache has no types, so its classes are Any to mypy.
class PlainDisk(diskcache.Disk):  # type: ignore[misc]
    """Stores bytes, str and int as SQLite does and refuses pickle, in both directions.

    diskcache would pickle anything else, and unpickle whatever a row claims to be pickled, which runs the code
    of anyone who can write the database (CVE-2025-69872).
    """

    def put(self, key: Any) -> tuple[Any, bool]:
        """A key for the database; raises TypeError for other types."""
        _check_plain(key)
        database_key, raw = super().put(key)
        return database_key, bool(raw)

    def get(self, key: Any, raw: Any) -> Any:
        """A key from the database, None if it is pickled."""
        return super().get(key, True) if raw else None

    def store(self, value: Any, read: bool, key: Any = None) -> tuple[int, int, None, Any]:
        """A value for the database; raises TypeError for other types."""
        _check_plain(value)
        return 0, MODE_RAW, None, sqlite3.Binary(value) if isinstance(value, bytes) else value

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        """A value from the database; raises RefusedRow unless it is stored plainly in its row."""
        if mode != MODE_RAW or filename is not None or not isinstance(value, (bytes, str, int)):
            raise RefusedRow("not a plain value")
        return value

    def remove(self, file_path: str) -> None:
        """Nothing: no value has a file, and a row that names one is not to be believed."""


class Index:
    """Bytes under names, shared by the threads and processes that open the same `folder`.

    Open it after a fork, not before. `warn` is told when a damaged database is given up. Every method raises
    StoreError when the disk refuses.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self._folder = folder
        self._warn = warn
        # SQLite lets waiting writers sleep for up to 100 ms; threads of one process wait better for each other.
        self._writing = threading.RLock()
        folder.mkdir(mode=0o700, exist_ok=True)
        self._number, self._cache = self._open_newest()

    def value(self, name: str) -> bytes | None:
        """The value of this name; one that was tampered with or damaged is missing."""
        return _opened(name, self._try(lambda cache: cache.get(name)))

    def put(self, name: str, content: bytes, *, expire_seconds: float | None = None) -> None:
        """Keeps or replaces a value."""
        sealed = _check(name, content) + content
        with self._writing:
            self._try(lambda cache: cache.set(name, sealed, expire=expire_seconds))

    def names(self) -> Iterator[str]:
        """Every name, those of unreadable values included; what is added meanwhile may be left out."""
        # A list at a time: the database may be given up while the caller works.
        for name in self._try(lambda cache: list(cache.iterkeys())):
            if isinstance(name, str):
                yield name

    def drop(self, names: Iterable[str], dead: Callable[[str, bytes | None], bool]) -> int:
        """Removes those of `names` whose value is `dead`, asked again with nobody writing; gives their number."""
        with self._writing:
            return self._try(lambda cache: _drop(cache, list(names), dead))

    def tidy(self) -> None:
        """Removes what is expired, and databases that were given up; only while nobody else has them open."""
        with self._writing:
            self._try(lambda cache: cache.expire())
        for old in self._folder.iterdir():
            if old.name.isdecimal() and int(old.name) < self._number:
                shutil.rmtree(old, ignore_errors=True)

    def clear(self) -> None:
        """Removes every value."""
        with self._writing:
            self._try(lambda cache: cache.clear())

    def size(self) -> int:
        """The bytes its files take."""
        size = 0
        for path in self._folder.rglob("cache.db*"):
            # The last process to close a database removes two of its files.
            with suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def close(self) -> None:
        """Closes the connection of this thread."""
        self._cache.close()

    def _try(self, action: Callable[[Any], T]) -> T:
        cache = self._cache
        try:
            return action(cache)
        except diskcache.Timeout as error:
            raise self._failure("it cannot be locked for writing") from error
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise self._failure(str(error)) from error
        with self._writing:
            if self._cache is cache:
                try:
                    self._number, self._cache = self._open_newest(broken=self._number)
                except OSError as error:
                    raise failure(self._folder.parent, error) from error
        try:
            return action(self._cache)
        except (sqlite3.DatabaseError, diskcache.Timeout) as error:
            raise self._failure(str(error)) from error

    def _open_newest(self, broken: int = 0) -> tuple[int, Any]:
        for _attempt in range(_ATTEMPTS):
            number = _newest(self._folder)
            if number > broken:
                try:
                    return number, _open(self._folder / str(number))
                except sqlite3.DatabaseError as error:
                    if not _is_damage(error):
                        raise self._failure(str(error)) from error
                except (TypeError, ValueError):
                    pass  # settings in the database that diskcache does not know
                broken = number
            self._begin_anew(broken)
        raise self._failure("new databases are damaged at once")

    def _begin_anew(self, broken: int) -> None:
        with _lock(self._folder / "lock"):
            # Another process may have done it while this one waited.
            if _newest(self._folder) > broken:
                return
            (self._folder / str(broken + 1)).mkdir(mode=0o700)
        self._warn(
            f"the index of the cache {self._folder.parent} was damaged and a new one is begun; "
            "what it knew will be built again"
        )

    def _failure(self, reason: str) -> StoreError:
        full = "full" in reason
        return StoreError(
            f"the index of the cache {self._folder.parent} cannot be used: {reason}",
            hint="free some space there, or set KITBUILD_CACHE_DIR to a folder on a larger disk"
            if full
            else "see whether the folder is writable and whether another kitbuild hangs, "
            "or set KITBUILD_CACHE_DIR to another folder",
        )


def _open(folder: Path) -> Any:
    # diskcache expands variables in the name of its folder, and would open another one.
    if os.path.expandvars(folder) != str(folder):
        raise StoreError(
            f"the cache {folder.parent.parent} has the name of a variable in its path",
            hint="set KITBUILD_CACHE_DIR to a folder without `$` in its path",
        )
    folder.mkdir(mode=0o700, exist_ok=True)
    return diskcache.Cache(str(folder), timeout=_TIMEOUT_SECONDS, disk=PlainDisk, **_SETTINGS)


def _newest(folder: Path) -> int:
    return max((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), default=1)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    # Python's own complaint, text that is no UTF-8, has no code. The lowest byte of a code is the kind of error.
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code in _DAMAGED or code & 0xFF in _DAMAGED


def _check_plain(value: Any) -> None:
    if type(value) not in (bytes, str, int):
        raise TypeError(f"the index stores bytes, str and int, got {type(value).__name__}")


def _check(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + content).digest()[:_CHECK_BYTES]


def _opened(name: str, sealed: object) -> bytes | None:
    if not isinstance(sealed, bytes):
        return None
    content = sealed[_CHECK_BYTES:]
    return content if _check(name, content) == sealed[:_CHECK_BYTES] else None


def _drop(cache: Any, names: list[str], dead: Callable[[str, bytes | None], bool]) -> int:
    with cache.transact():
        gone = [name for name in names if dead(name, _opened(name, cache.get(name)))]
        for name in gone:
            cache.delete(name)
    return len(gone)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
