"""About: what a cache server tells of itself at /status and /metrics."""

from __future__ import annotations

import time

from aiohttp import web

from kitbuild.cache.server_exchange import Refused
from kitbuild.cache.server_metrics import CONTENT_TYPE, Metrics
from kitbuild.cache.server_storage import Storage


class About:
    """Answers for people, as JSON, and for Prometheus."""

    def __init__(
        self, storage: Storage, metrics: Metrics, *, read_only: bool, max_bytes: int | None, version: str
    ) -> None:
        self._storage = storage
        self._metrics = metrics
        self._read_only = read_only
        self._max_bytes = max_bytes
        self._version = version
        self._started = time.time()

    def answer(self, method: str, path: str) -> web.StreamResponse:
        """The answer to a request for anything but results and content; raises Refused."""
        if path not in ("/status", "/metrics"):
            raise Refused(404, "expected /ac/ or /cas/ and 64 hex digits, perhaps below a namespace")
        if method not in ("GET", "HEAD"):
            raise Refused(405, "expected GET")
        if path == "/status":
            return web.json_response(self._status())
        text = self._metrics.text(self._gauges(), version=self._version)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    def _gauges(self) -> dict[str, tuple[str, float]]:
        return {
            "start_time_seconds": ("When the server started.", round(self._started, 3)),
            "bytes": ("What results and content take of the disk.", self._storage.bytes),
            "max_bytes": ("What they may take; 0 is no limit.", self._max_bytes or 0),
            "blobs": ("Content.", self._storage.counts["cas"]),
            "results": ("Results.", self._storage.counts["ac"]),
        }

    def _status(self) -> dict[str, object]:
        return {
            "version": self._version,
            "uptime_seconds": round(time.time() - self._started, 1),
            "read_only": self._read_only,
            "bytes": self._storage.bytes,
            "max_bytes": self._max_bytes,
            "blobs": self._storage.counts["cas"],
            "results": self._storage.counts["ac"],
            "requests": sum(self._metrics.requests.values()),
            "hits": self._metrics.hits,
            "misses": self._metrics.misses,
            "evictions": sum(self._metrics.evictions.values()),
        }
