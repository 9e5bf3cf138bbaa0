"""The cache server: Bazel's HTTP cache protocol over a folder, for a team.

    GET HEAD PUT /ac/<64 hex>    /<namespace>/ac/<64 hex>     results: ActionResults of the Remote Execution API
    GET HEAD PUT /cas/<64 hex>   /<namespace>/cas/<64 hex>    content by sha256, one pool for all namespaces
    GET /status /metrics         as JSON, and for Prometheus

It takes only content that is what its name says and results that are results, and gives a result only while all it
refers to is there. Small files are read and sent by the one thread that answers everything: handing them to another
takes longer than they do. What may take long (hashing, writing, looking through folders) is handed over.

Source: Bazel documentation, "Remote caching", "HTTP caching protocol"; RFC 9110.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from aiohttp import web

from kitbuild.cache.remote import MOST_RECORD_BYTES
from kitbuild.cache.server_about import About
from kitbuild.cache.server_eviction import Evictor
from kitbuild.cache.server_exchange import (
    ALLOWED,
    Refused,
    announced_length,
    content_answer,
    head_answer,
    receive,
    send_file,
    sentence_answer,
)
from kitbuild.cache.server_metrics import Answered, Metrics
from kitbuild.cache.server_results import needs_of
from kitbuild.cache.server_rights import Rights
from kitbuild.cache.server_storage import EMPTY, Name, Storage, on_disk
from kitbuild.cache.server_uploads import Upload

# What happened, in one word; a sentence; and facts about it for programs.
Tell = Callable[[str, str, dict[str, object]], None]

# Read at once into memory and sent with their headers. For larger ones sendfile is faster.
_SMALL_BYTES = 128 << 10
# Results up to this size are looked into where they are answered: a millisecond at most.
_SMALL_RESULT_BYTES = 16 << 10

_POLL_SECONDS = 0.02
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# For the counters alone: a client that went away before it was answered. Nginx counts it so.
_GONE = 499


class Policy(NamedTuple):
    """What the server allows; `rights` may be replaced while it runs."""

    rights: Rights
    read_only: bool = False
    max_bytes: int | None = None
    # A body or an answer may take this long, and longer by its size at `least_bytes_per_second`.
    patience_seconds: float = 30.0
    least_bytes_per_second: int = 16 << 10


class Server:
    """Answers requests; made to be the handler of aiohttp's low-level server."""

    def __init__(
        self, storage: Storage, policy: Policy, *, version: str, tell: Tell, access_log: bool = False
    ) -> None:
        self.policy = policy
        self.metrics = Metrics()
        # A read-only server changes nothing in its folder, and drops nothing either.
        most = None if policy.read_only else policy.max_bytes
        self.evictor = Evictor(storage, most, self.metrics, lambda sentence: tell("error", sentence, {}))
        self._storage = storage
        self._tell = tell
        self._access_log = access_log
        self._about = About(
            storage, self.metrics, read_only=policy.read_only, max_bytes=policy.max_bytes, version=version
        )
        self._running = 0
        self._draining = False

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request and counts it."""
        began = time.perf_counter()
        path = request.raw_path.partition("?")[0]
        name = Name.parse(path)
        response = None
        self._running += 1
        try:
            response = await self._answered(request, path, name)
            return response
        finally:
            self._running -= 1
            self._count(request, response, name.kind if name else "other", time.perf_counter() - began)
            if self._access_log:
                self._log(request, path, response.status if response else _GONE, time.perf_counter() - began)

    async def drain(self, seconds: float) -> None:
        """Waits for what was begun, and lets no connection stay; aiohttp's own shutdown takes no more of a body."""
        self._draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._running:
                    await asyncio.sleep(_POLL_SECONDS)

    async def _answered(self, request: web.BaseRequest, path: str, name: Name | None) -> web.StreamResponse:
        """The answer, whatever goes wrong; raises ConnectionError if the client has gone."""
        try:
            response = await self._answer(request, path, name)
        except Refused as refused:
            response = sentence_answer(refused.status, str(refused))
        except web.RequestPayloadError:
            response = sentence_answer(400, "the body is malformed")
        except ConnectionError:
            raise
        except OSError as error:
            response = self._failed(error, request.method)
        if request.can_read_body or self._draining:
            # What is left of a body would be read as the next request.
            response.force_close()
        return response

    def _count(
        self, request: web.BaseRequest, response: web.StreamResponse | None, kind: str, seconds: float
    ) -> None:
        method = request.method if request.method in ALLOWED else "other"
        status = response.status if response else _GONE
        received = request.content_length or 0 if status in (201, 204) else 0
        gave = response is not None and method == "GET" and kind != "other" and status in (200, 206)
        sent = response.content_length or 0 if response and gave else 0
        self.metrics.count(Answered(method, kind, status, seconds, received, sent))

    async def _answer(self, request: web.BaseRequest, path: str, name: Name | None) -> web.StreamResponse:
        grant = self.policy.rights.grant(request.headers.get("Authorization", ""))
        if grant is None:
            raise Refused(401, "expected a token of this server")
        method = request.method
        if name is None:
            return self._about.answer(method, path)
        if method == "PUT":
            if self.policy.read_only:
                raise Refused(403, "this server is read-only")
            if not grant.may_write(name.namespace):
                raise Refused(403, "this token may not write here")
            return await (self._put_result(request, name) if name.kind == "ac" else self._put(request, name))
        if method not in ("GET", "HEAD"):
            raise Refused(405, f"expected {', '.join(ALLOWED)}")
        if name.kind == "ac":
            return await self._result(name, method)
        return await self._content(request, name)

    async def _content(self, request: web.BaseRequest, name: Name) -> web.StreamResponse:
        if name.hex == EMPTY.hex:
            return content_answer(b"", request.method)
        path = self._storage.path(name)
        status = self._storage.status(path)
        if status is None:
            raise Refused(404, "not here")
        self._storage.touch(path, status)
        if request.method == "HEAD":
            return head_answer(status.st_size)
        if status.st_size <= _SMALL_BYTES and "Range" not in request.headers:
            return content_answer(_whole(path))
        # Not left to aiohttp, so that a client that stops reading does not hold it for ever.
        try:
            async with asyncio.timeout(self._patience(status.st_size)):
                return await send_file(path, request)
        except OSError as error:
            # TimeoutError is one too. Some of it may have been sent: no other answer can follow.
            raise ConnectionResetError("a file was not sent as a whole") from error

    async def _result(self, name: Name, method: str) -> web.StreamResponse:
        path = self._storage.path(name)
        status = self._storage.status(path)
        if status is None or status.st_size > MOST_RECORD_BYTES:
            raise Refused(404, "not here")
        content = _whole(path)
        try:
            if len(content) <= _SMALL_RESULT_BYTES and not any(needs_of(content)[1:]):
                files = self._storage.found(content)
            else:
                files = await asyncio.to_thread(self._storage.found, content)
                # Some of it may have been dropped meanwhile. From here on nothing comes between.
                if not all(self._storage.status(path) for path, _ in files or ()):
                    files = None
        except ValueError:
            files = None
        if files is None:
            raise Refused(404, "some of what the result refers to is not here")
        for file in ((path, status), *files):
            self._storage.touch(*file)
        return content_answer(content, method)

    async def _put(self, request: web.BaseRequest, name: Name) -> web.StreamResponse:
        length = announced_length(request, self.policy.max_bytes)
        if name.hex == EMPTY.hex and not length:
            return web.Response(status=204)
        if on_disk(length) > self._storage.free_bytes():
            raise Refused(507, "no space left")
        upload = Upload(self._storage, name)
        try:
            await receive(request, length, upload, seconds=self._patience(length))
            return self._committed(upload)
        finally:
            upload.close()

    async def _put_result(self, request: web.BaseRequest, name: Name) -> web.StreamResponse:
        length = announced_length(request, MOST_RECORD_BYTES)
        upload = Upload(self._storage, name)
        try:
            content = await receive(request, length, upload, seconds=self._patience(length), keep=True)
            # What it refers to counts as used now, so that it is not dropped before the result is first asked for.
            for file in await asyncio.to_thread(self._storage.found, content) or ():
                self._storage.touch(*file)
            return self._committed(upload)
        except ValueError as error:
            raise Refused(400, f"expected an ActionResult: {error}") from error
        finally:
            upload.close()

    def _committed(self, upload: Upload) -> web.StreamResponse:
        try:
            new = upload.commit()
        except ValueError as error:
            raise Refused(400, str(error)) from error
        self.evictor.look()
        return web.Response(status=201 if new else 204)

    def _patience(self, size: int) -> float:
        return self.policy.patience_seconds + size / self.policy.least_bytes_per_second

    def _failed(self, error: OSError, method: str) -> web.StreamResponse:
        if isinstance(error, FileNotFoundError) and method != "PUT":
            return sentence_answer(404, "not here")  # dropped since it was looked for
        full = error.errno in _NO_SPACE
        sentence = "no space left" if full else f"the folder cannot be used: {error.strerror}"
        self._tell("error", sentence, {})
        return sentence_answer(507 if full else 500, sentence)

    def _log(self, request: web.BaseRequest, path: str, status: int, seconds: float) -> None:
        facts = {"method": request.method, "path": path, "status": status, "seconds": round(seconds, 4)}
        self._tell(
            "request", f"{request.remote} {request.method} {path} {status} {seconds * 1000:.1f} ms", facts
        )


def _whole(path: str) -> bytes:
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 (thousands of times a second)
        return stream.read()
