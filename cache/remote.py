"""Remote: the port of caches elsewhere, and what travels between them and here.

A module of kitbuild.cache for a kind of URL has `open_remote(url, access) -> Remote`; wrappers take a Remote and are
one. Builds use a Remote through TieredStore alone, behind wrappers that check what comes in and bear failures.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from kitbuild.digest import Digest
from kitbuild.errors import RemoteError
from kitbuild.node import Key
from kitbuild.store import Result

# What a record and a tree's or extents' own text may take; content has the size its digest says.
MOST_RECORD_BYTES = 4 << 20

# Gives the bytes of a blob in pieces, anew each time it is called: an upload may be tried twice.
Pieces = Callable[[], Iterable[bytes]]


class Record(NamedTuple):
    """A result as it is kept elsewhere.

    `present` is the content the remote cache was given for it: a part of `result.content()` and `result.dense`.
    `signature` is empty, or `<public key hex>:<signature hex>`, both of Ed25519; see signed.py.
    """

    result: Result
    present: tuple[Digest, ...] = ()
    signature: str = ""


class Access(NamedTuple):
    """With what to ask a remote cache; nothing of it is ever shown.

    `token` is sent as `Authorization: Bearer`; a user and a password may stand in the URL, or in ~/.netrc.
    `authorities` and `client_certificate` (with its key, unless that is in `client_key`) are PEM files.
    """

    headers: tuple[tuple[str, str], ...] = ()
    token: str = ""
    authorities: tuple[Path, ...] = ()
    client_certificate: Path | None = None
    client_key: Path | None = None

    def __repr__(self) -> str:
        return "Access(...)"


NO_ACCESS = Access()


class Remote(Protocol):
    """Content by digest and records by key, elsewhere. Safe to use from several threads.

    Every method raises RemoteError when the remote cache cannot be asked or refuses, after no more than the few
    seconds that its time-outs allow. Not promised unless a wrapper says so: that content is what its digest says.
    """

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of `digests` that are not there."""

    def get(self, digest: Digest) -> Iterator[bytes]:
        """The content in pieces of at most 1 MiB; raises MissingBlobError, at the latest with the first piece."""

    def put(self, digest: Digest, pieces: Pieces) -> None:
        """Keeps content. When this returns it is there as a whole; if it raises, no part of it may ever be seen."""

    def record(self, key: Key) -> Record | None:
        """The record of `key`; None too for what is malformed."""

    def keep(self, key: Key, record: Record) -> None:
        """Keeps or replaces a record; its `present` must have been put before."""

    def close(self) -> None:
        """Closes what is open; the Remote is not used again."""


def shown(url: str) -> str:
    """A URL as it may be shown: without user, password and query."""
    scheme, separator, rest = url.partition("://")
    # A password may hold what ends a host, so the last `@` of all counts; what stands behind one is no secret.
    place = rest.rpartition("@")[2].partition("?")[0].partition("#")[0]
    return f"{scheme}{separator}{place}"


def missing_of(digests: Collection[Digest], has: Callable[[Digest], bool], *, at_once: int) -> set[Digest]:
    """Those that a server which answers for one blob at a time does not have; raises what `has` raises first."""
    from concurrent.futures import ThreadPoolExecutor

    if len(digests) < 2:
        return {digest for digest in digests if not has(digest)}
    with ThreadPoolExecutor(at_once) as threads:
        try:
            found = list(zip(digests, threads.map(has, digests), strict=True))
        except RemoteError:
            threads.shutdown(cancel_futures=True)
            raise
    return {digest for digest, is_there in found if not is_there}
