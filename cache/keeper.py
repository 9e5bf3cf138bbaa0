"""Keeper: puts one result and its content into a remote cache, in the form that lets others fetch the least.

Blobs and trees go up as their bytes; extents as their recipe and, where they use little of a blob, with a dense form
(dense.py). Content is put before the record that needs it, and what is referred to before what refers to it. Content
that takes longer to bring here than to make is not put at all: the record then says what the result is, and whoever
needs the content makes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from kitbuild.cache.dense import dense
from kitbuild.cache.link import Link, Traffic
from kitbuild.cache.remote import Pieces, Record, Remote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError
from kitbuild.extents import Extents
from kitbuild.node import Key
from kitbuild.store import Result, Store

_PIECE_BYTES = 1 << 20
# Content is dear if bringing it here takes longer than this, and so many times as long as making it: whoever makes it
# may have to bring other content for that, and weighs both again.
_DEAR_SECONDS = 10.0
_DEAR_TIMES = 4.0


class Keeper:
    """Keeps results of `local` in `remote`; safe to use from several threads. Its methods raise RemoteError.

    Content that was lost is put again even if it seems to be there: it may be wrong there.
    """

    def __init__(self, local: Store, remote: Remote, link: Link) -> None:
        self._local = local
        self._remote = remote
        self._link = link
        self._seconds: dict[Digest, float] = {}
        self._done: set[Digest] = set()
        self._locks: dict[Digest, threading.Lock] = {}

    def made(self, result: Result) -> None:
        """Takes how long a result took; of content in several results the first one counts, which made it."""
        for digest in result.content():
            self._seconds.setdefault(digest, result.seconds)

    def has(self, key: Key) -> bool:
        """True if there is a record of the key, all it says is there, and nothing here would make it any better."""
        record = self._remote.record(key)
        if record is None or not self._link.lost.isdisjoint(record.present):
            return False
        content, dense = record.result.content(), record.result.dense
        missing = self._missing((*record.present, *content, *dense))
        if not missing.isdisjoint(record.present):
            return False
        # Others may have kept a result without its content: that was too dear for them, or gone.
        whole = missing.isdisjoint(content) or (bool(dense) and missing.isdisjoint(dense))
        return whole or self._local.missing(missing) == missing

    def keep(self, key: Key, result: Result, *, again: bool = False) -> bool:
        """Keeps a result with what content of it is here, or there already; notes its dense form here too.

        False if it may get a dense form once more content is here; then it can be kept `again`.
        """
        found = self._denser(result)
        denser, made = found or (result, {})
        if again and denser == result:
            return True
        missing = self._missing((*denser.content(), *denser.dense))
        # Backwards, for content begins with what refers to the rest.
        for digest in reversed(dict.fromkeys((*denser.content(), *denser.dense))):
            if digest in missing:
                self._put(digest, made.get(digest))
        if missing.intersection(denser.dense) - self._done:
            denser = result
        if denser != result and self._local.results([key]) == [result]:
            self._local.record(key, denser)
        content = dict.fromkeys((*denser.content(), *denser.dense))
        present = tuple(digest for digest in content if digest not in missing or digest in self._done)
        self._remote.keep(key, Record(denser, present))
        self._link.count(Traffic(kept_results=not again))
        return found is not None

    def _missing(self, digests: tuple[Digest, ...]) -> set[Digest]:
        """Those to be put: what is not known to be there is asked for, all at once."""
        unknown = set(digests) - self._done
        asked = unknown - self._link.there
        missing = self._remote.missing(asked)
        self._link.there |= asked - missing
        return missing | self._link.lost & unknown

    def _put(self, digest: Digest, pieces: Pieces | None) -> None:
        """Puts content, if it is here and not too dear; `pieces` give what is not to be found in the local cache."""
        with self._locks.setdefault(digest, threading.Lock()), suppress(MissingBlobError):
            if digest in self._done:
                return
            bringing = self._link.seconds(digest.size)
            if bringing > _DEAR_SECONDS and bringing > _DEAR_TIMES * self._seconds.get(digest, 0.0):
                self._link.count(Traffic(dear=1))
                return
            pieces = pieces or partial(_pieces_of, self._local.path(digest))
            with self._link.up.transfer() as passed:
                self._remote.put(digest, partial(_counted, pieces, passed))
            self._done.add(digest)
            self._link.there.add(digest)
            self._link.count(Traffic(kept_blobs=1, kept_bytes=digest.size))

    def _denser(self, result: Result) -> tuple[Result, Mapping[Digest, Pieces]] | None:
        """The result with a dense form if that is worth it, and how to make what that consists of.

        None if that cannot be said, for content it would be cut from is not here.
        """
        if result.artifact.kind != "extents":
            return result, {}
        try:
            with self._local.path(result.artifact.digest).open("rb") as lines:
                found = dense(Extents.decode(lines), self._local.path)
        except (MissingBlobError, OSError, ValueError):
            return None
        if found is None:
            return result, {}
        extents, sources = found
        recipe = extents.encode()
        made: dict[Digest, Pieces] = {Digest.of(recipe): lambda: [recipe]}
        for digest, source in sources.items():
            made[digest] = partial(source.pieces, self._local.path(source.blob))
            self._seconds.setdefault(digest, self._seconds.get(source.blob, result.seconds))
        return result._replace(dense=(Digest.of(recipe), *extents.blobs())), made


def _pieces_of(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _counted(pieces: Pieces, passed: Callable[[int], None]) -> Iterator[bytes]:
    for piece in pieces():
        yield piece
        passed(len(piece))
