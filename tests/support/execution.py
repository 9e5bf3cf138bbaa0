"""A node to run elsewhere, a server to run it on, and a connection to that which breaks when it is told to.

there = There(server, tmp_path)
with there.executor() as executor:
    found = executor.run(compress(), INPUTS)
assert there.warnings == []
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kitbuild.cache.connection import CallError, Connection
from kitbuild.cache.execution import ReapiExecutor, Workers
from kitbuild.cache.execution_cluster import Cluster
from kitbuild.cache.execution_content import content_of
from kitbuild.cache.execution_run import Limits
from kitbuild.cache.memory import MemoryStore
from kitbuild.cache.reapi_messages import Operation
from kitbuild.cache.remote import Access
from kitbuild.digest import Digest
from kitbuild.extents import Extents
from kitbuild.node import Node
from kitbuild.rule import Artifact, NoOptions, Rule, Work
from kitbuild.rules.format.compress import RULE as COMPRESS
from kitbuild.rules.format.compress import CompressOptions
from kitbuild.store import Result
from kitbuild.system import Compression
from kitbuild.work import StoreWork, kept
from tests.support.casd import Server

CONTENT = random.Random(1).randbytes(1 << 20) + bytes(1 << 20)
EXTENTS = Extents.whole(Digest.of(CONTENT)).encode()
INPUTS = {"file": (Result(Artifact("extents", Digest.of(EXTENTS)), (Digest.of(CONTENT),)),)}
WORKERS = Workers(2, least_bytes=0)


def source_of(number: int) -> Node:
    """A file of its own for each number."""

    def run(work: Work[Any]) -> Extents:
        return Extents.whole(work.put(CONTENT + b"%d" % number))

    rule: Rule[Any] = Rule(f"test/source-{number}", 1, "", NoOptions, "extents", run)
    return Node(f"source {number}", rule, NoOptions())


def compress(compression: Compression = "gzip", number: int = 0) -> Node:
    options = CompressOptions(compression)
    return Node(f"compress {number}", COMPRESS, options, {"file": (source_of(number),)})


class Breaking(Connection):
    """A connection whose streams about runs break after the first news, `meanwhile` having been called then."""

    def __init__(self, url: str, meanwhile: Callable[[], object], *, breaks: int = 0) -> None:
        super().__init__(url, Access())
        self._meanwhile = meanwhile
        self._breaks = breaks
        self.asked: list[str] = []

    def stream(self, method: str, request: Any, answer: Any, **limits: float) -> Iterator[Any]:
        if answer is not Operation:
            yield from super().stream(method, request, answer, **limits)
            return
        self.asked.append(type(request).__name__)
        for news in super().stream(method, request, answer, **limits):
            if not news.done:
                self._meanwhile()
            yield news
            if self._breaks:
                self._breaks -= 1
                raise CallError("the line is dead", code="UNAVAILABLE")


class There:
    """A server, a store with the input, and what was warned of."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.url = f"grpc://{server.host}"
        self.store = MemoryStore(folder / "store")
        self.warnings: list[str] = []
        for content in (CONTENT, EXTENTS):
            with self.store.writer() as writer:
                writer.write(content)
                writer.commit()

    @contextmanager
    def executor(
        self,
        connection: Connection | None = None,
        *,
        workers: Workers = WORKERS,
        limits: Limits | None = None,
        **how: Any,
    ) -> Iterator[ReapiExecutor]:
        content = content_of(Connection(self.url, Access()))
        cluster = Cluster(connection or Connection(self.url, Access()), limits)
        made = ReapiExecutor(cluster, content, workers, store=self.store, warn=self.warnings.append, **how)
        try:
            yield made
        finally:
            made.close()

    def here(self, node: Node) -> tuple[Artifact, tuple[Digest, ...]]:
        given = {name: tuple(one.artifact for one in results) for name, results in INPUTS.items()}
        with StoreWork(options=node.options, inputs=given, store=self.store) as work:
            return kept(node.rule.run(work), work, INPUTS)

    def lose_content(self) -> None:
        """What the server keeps is gone, as after a clean-up."""
        for path in (self.server.folder / "content/cas/objects").glob("*/*"):
            path.unlink()
