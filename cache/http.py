"""The remote cache behind http:// and https://: what Bazel's HTTP cache protocol is spoken with.

    <url>/ac/<key hex>        a record, see action_result.py
    <url>/cas/<sha256 hex>    content

GET, HEAD and PUT with a Content-Length, so that whatever keeps files will do: bazel-remote, nginx with WebDAV, the
gateway of an object store, `kitbuild cache serve`.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from time import monotonic
from typing import TYPE_CHECKING

from kitbuild.cache.http_address import Address, address_of, check_files, headers_of
from kitbuild.cache.remote import MOST_RECORD_BYTES, Access, Pieces, Record, shown
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError
from kitbuild.node import Key

if TYPE_CHECKING:
    import urllib3

    from kitbuild.cache.http_connection import Connections

_SMALL_SECONDS = 1.5
_LARGE_SECONDS = 5.0
_LARGE_BYTES = 1 << 20
# A server may have to write, hash or copy what it was given before it says so.
_STORED_BYTES_PER_SECOND = 100_000_000
# Fewer are slower: each costs a few calls here, where it is hashed, and where it is written.
_PIECE_BYTES = 1 << 20
# The first ones are small, so that whoever waits soon sees how slow the line is.
_FIRST_PIECE_BYTES = 64 << 10
_THREADS = 8
# The first may have to connect.
_SAMPLES = 2
_ASKING_SECONDS = 0.0006
_GONE = frozenset({404, 410})
# To these a server that does not do HEAD, or signs URLs for one method only, says nothing about the content.
_HEAD_UNKNOWN = frozenset({301, 302, 303, 307, 308, 405, 501})


def open_remote(url: str, access: Access) -> HttpRemote:
    """The remote cache at an http:// or https:// URL; asks nobody yet.

    Raises UsageError for a malformed URL, and for a header or file in `access` that is of no use.
    """
    address = address_of(url)
    headers_of(address, access, None)
    if address.scheme == "https":
        check_files(access)
    return HttpRemote(address, access, place=shown(url).rstrip("/"))


class HttpRemote:
    """A remote cache that keeps records and content as files; see Remote."""

    def __init__(self, address: Address, access: Access, *, place: str) -> None:
        self._address = address
        self._access = access
        self._place = place
        self._lock = threading.Lock()
        self._opened: Connections | None = None
        self._heads = True

    def __repr__(self) -> str:
        return f"HttpRemote({self._place})"

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of `digests` that are not there, or with another size: nobody's half-written files count."""
        wanted = [digest for digest in dict.fromkeys(digests) if digest.size]
        halt = threading.Event()
        absent, fastest = [], float("inf")
        for digest in wanted[:_SAMPLES]:
            start = monotonic()
            absent += self._absent([digest], halt)
            fastest = min(fastest, monotonic() - start)
        # Where an answer hardly takes longer than asking keeps a processor busy, as from this machine, more threads
        # would only get in each other's way.
        rest = wanted[_SAMPLES:]
        threads = min(_THREADS, len(rest), 1 + int(fastest / _ASKING_SECONDS)) if rest else 1
        return {*absent, *self._absent_of(rest, threads, halt)}

    def get(self, digest: Digest) -> Iterator[bytes]:
        """The content in pieces of at most 1 MiB; raises MissingBlobError with the first one."""
        if not digest.size:
            return
        with self._connections().answer("GET", _content(digest), seconds=_patience(digest)) as response:
            self._check(response, "GET", digest)
            if response.headers.get("Content-Length") not in (None, str(digest.size)):
                raise MissingBlobError(f"{self._place} has no whole {digest}")
            yield from self._pieces(response, digest.size)

    def put(self, digest: Digest, pieces: Pieces) -> None:
        """Keeps content, unless there are more or fewer bytes of it than the digest says."""
        if digest.size:
            self._put(_content(digest), digest.size, pieces)

    def record(self, key: Key) -> Record | None:
        """The record of `key`."""
        with self._connections().answer("GET", _record(key), seconds=_SMALL_SECONDS) as response:
            if response.status in _GONE:
                return None
            self._check(response, "GET")
            content = self._body(response, MOST_RECORD_BYTES)
        # Here, for a build that finds everything in the local cache has no use for it, and no time.
        from kitbuild.cache.action_result import decode

        return decode(content) if content is not None else None

    def keep(self, key: Key, record: Record) -> None:
        """Keeps or replaces a record."""
        from kitbuild.cache.action_result import encode

        content = encode(record)
        self._put(_record(key), len(content), lambda: [content])

    def close(self) -> None:
        """Closes what is open."""
        with self._lock:
            if self._opened:
                self._opened.close()

    def _connections(self) -> Connections:
        with self._lock:
            if self._opened is None:
                from kitbuild.cache.http_connection import Connections

                self._opened = Connections(self._address, self._access, self._place)
            return self._opened

    def _absent_of(self, digests: list[Digest], threads: int, halt: threading.Event) -> Iterable[Digest]:
        """As `_absent`, several asked for at once."""
        if threads < 2:
            return self._absent(digests, halt)
        from concurrent.futures import ThreadPoolExecutor

        shares = (digests[number::threads] for number in range(threads))
        with ThreadPoolExecutor(threads, "kitbuild-http") as pool:
            try:
                return [
                    digest
                    for share in pool.map(lambda share: self._absent(share, halt), shares)
                    for digest in share
                ]
            finally:
                halt.set()

    def _absent(self, digests: Iterable[Digest], halt: threading.Event) -> list[Digest]:
        """Those of a thread's share that are not there; ends early when another thread has failed."""
        try:
            return [digest for digest in digests if not halt.is_set() and not self._is_there(digest)]
        except BaseException:
            halt.set()
            raise

    def _is_there(self, digest: Digest) -> bool:
        if self._heads:
            with self._connections().answer("HEAD", _content(digest), seconds=_SMALL_SECONDS) as response:
                if response.status not in _HEAD_UNKNOWN:
                    return self._is_whole(response, "HEAD", digest)
            self._heads = False
        # Where HEAD says nothing, content must not count as missing: everything would be put anew for ever.
        first = {"Range": "bytes=0-0"}
        with self._connections().answer(
            "GET", _content(digest), seconds=_SMALL_SECONDS, headers=first
        ) as response:
            return self._is_whole(response, "GET", digest)

    def _is_whole(self, response: urllib3.BaseHTTPResponse, method: str, digest: Digest) -> bool:
        """Whether an answer about content means all of it; sizes that are not told are taken for right."""
        if response.status in _GONE or response.status == 416:
            return False
        if response.status == 206:
            size = response.headers.get("Content-Range", "").rpartition("/")[2]
        else:
            self._check(response, method)
            size = response.headers.get("Content-Length", "")
        return not size.isdecimal() or size == str(digest.size)

    def _check(self, response: urllib3.BaseHTTPResponse, method: str, digest: Digest | None = None) -> None:
        if digest and response.status in _GONE:
            raise MissingBlobError(f"{self._place} has no {digest}")
        if response.status != 200:
            from kitbuild.cache.http_failure import refusal

            raise refusal(self._place, method, response.status)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise RemoteError(f"{self._place} compresses what it was to give as it is", lasting=True)

    def _pieces(self, response: urllib3.BaseHTTPResponse, size: int) -> Iterator[bytes]:
        """A body of exactly `size` bytes; raises RemoteError if it has fewer or more."""
        left, most = size, _FIRST_PIECE_BYTES
        while left:
            piece = response.read(min(left, most), decode_content=False)
            most = min(2 * most, _PIECE_BYTES)
            left -= len(piece)
            if not piece or (not left and response.read(1, decode_content=False)):
                got = "more" if piece else str(size - left)
                raise RemoteError(f"{self._place} was to give {size} bytes, and gave {got}")
            yield piece

    def _body(self, response: urllib3.BaseHTTPResponse, most_bytes: int) -> bytes | None:
        """A small body, None if it is larger than `most_bytes`."""
        deadline = monotonic() + _LARGE_SECONDS
        content = bytearray()
        while piece := response.read(_PIECE_BYTES, decode_content=False):
            content += piece
            if len(content) > most_bytes:
                return None
            if monotonic() > deadline:
                raise RemoteError(f"{self._place} did not answer in time")
        return bytes(content)

    def _put(self, path: str, size: int, pieces: Pieces) -> None:
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        seconds = _LARGE_SECONDS + size / _STORED_BYTES_PER_SECOND
        try:
            with self._connections().answer(
                "PUT", path, seconds=seconds, headers=headers, body=lambda: self._exactly(pieces, size)
            ) as response:
                if not 200 <= response.status < 300:
                    from kitbuild.cache.http_failure import refusal

                    raise refusal(self._place, "PUT", response.status)
        except _LocalError as error:
            raise error.reason from error

    def _exactly(self, pieces: Pieces, size: int) -> Iterator[bytes]:
        """Content on its way there; when this raises the connection is closed, and the server has nothing."""
        done = 0
        try:
            for piece in pieces():
                done += len(piece)
                if done > size:
                    break
                yield piece
        except OSError as error:
            raise _LocalError(error) from error
        if done != size:
            got = "more" if done > size else str(done)
            raise RemoteError(f"{self._place} was to be given {size} bytes, and there were {got}")


class _LocalError(Exception):
    """What is wrong with the content here, which is not to be taken for trouble with the connection."""

    def __init__(self, reason: OSError) -> None:
        super().__init__()
        self.reason = reason


def _content(digest: Digest) -> str:
    return f"/cas/{digest.hex}"


def _record(key: Key) -> str:
    return f"/ac/{key.hex}"


def _patience(digest: Digest) -> float:
    return _SMALL_SECONDS if digest.size < _LARGE_BYTES else _LARGE_SECONDS
