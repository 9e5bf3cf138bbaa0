"""Exchange: what a cache server takes from its clients and gives them, and how it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from kitbuild.cache.server_uploads import Upload

ALLOWED = ("GET", "HEAD", "PUT")

_HEADERS = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
# Hashed and written together in another thread: enough for the way there not to count.
_PIECE_BYTES = 1 << 20
# Hashed and written at once: that takes no longer than the way to another thread.
_SMALL_BYTES = 64 << 10


class Refused(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _File(web.FileResponse):
    """A file that may be sent before aiohttp sends it."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        # A FileResponse would be sent a second time; a StreamResponse is not.
        return await (web.StreamResponse.prepare if self.prepared else web.FileResponse.prepare)(
            self, request
        )


def announced_length(request: web.BaseRequest, most: int | None) -> int:
    """The size of a body before any of it is read; raises Refused if it is not told, or above `most`."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(415, "expected content as it is, without Content-Encoding")
    length = request.content_length
    if length is None:
        raise Refused(411, "expected a Content-Length")
    if most is not None and length > most:
        raise Refused(413, f"expected at most {most} bytes, got {length}")
    return length


async def receive(
    request: web.BaseRequest, length: int, upload: Upload, *, seconds: float, keep: bool = False
) -> bytes:
    """Writes a body into an upload; gives it too, if it is to be kept in memory. Raises Refused, OSError."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    kept: list[bytes] = []
    try:
        async with asyncio.timeout(seconds):
            async for piece in _pieces(request):
                if len(piece) <= _SMALL_BYTES:
                    upload.write(piece)
                else:
                    await asyncio.to_thread(upload.write, piece)
                if keep:
                    kept.append(piece)
    except TimeoutError as error:
        raise Refused(408, "the body took too long") from error
    if upload.size != length:
        raise Refused(400, f"expected {length} bytes, got {upload.size}")
    return b"".join(kept)


async def _pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    while piece := await request.content.readany():
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def content_answer(content: bytes, method: str = "GET") -> web.Response:
    """Content out of memory, or its size alone for HEAD."""
    return web.Response(body=content, headers=_HEADERS) if method == "GET" else head_answer(len(content))


def head_answer(size: int) -> web.Response:
    """The answer to HEAD for content of so many bytes."""
    return web.Response(headers={**_HEADERS, "Content-Length": str(size)})


def sentence_answer(status: int, sentence: str) -> web.Response:
    """A sentence for whoever reads it."""
    more = {401: {"WWW-Authenticate": 'Basic realm="kitbuild cache"'}, 405: {"Allow": ", ".join(ALLOWED)}}
    return web.Response(status=status, text=f"{sentence}\n", headers=more.get(status))


async def send_file(path: str, request: web.BaseRequest) -> web.StreamResponse:
    """Sends a file, or the part of it that `Range` asks for; the answer is 404 if it is gone."""
    response = _File(path, headers={"Content-Type": _HEADERS["Content-Type"]})
    await response.prepare(request)
    return response
