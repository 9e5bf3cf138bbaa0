"""Nodes sent to a cluster, with a cluster in a folder and a remote cache in memory."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kitbuild.cache.connection import CallError
from kitbuild.cache.execution import ReapiExecutor, Workers, open_executor
from kitbuild.cache.execution_inputs import sent
from kitbuild.cache.memory import MemoryStore
from kitbuild.cache.reapi_messages import ActionResult
from kitbuild.cache.remote import NO_ACCESS, Pieces
from kitbuild.cache.verified import VerifiedRemote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError, UsageError
from kitbuild.extents import Extents
from kitbuild.node import Node
from kitbuild.rule import Artifact, NoOptions, Rule
from kitbuild.rules.format.compress import RULE as COMPRESS
from kitbuild.rules.format.compress import CompressOptions
from kitbuild.rules.unpack.layer import RULE as LAYER
from kitbuild.rules.unpack.layer import LayerOptions
from kitbuild.store import Result
from kitbuild.system import Compression
from tests.support.folder_cluster import FolderCluster
from tests.support.remotes import MemoryRemote

CONTENT = b"some content " * 1000
EXTENTS = Extents.whole(Digest.of(CONTENT)).encode()
FILE = Result(Artifact("extents", Digest.of(EXTENTS)), (Digest.of(CONTENT),))
INPUTS = {"file": (FILE,)}


def source(kind: Any) -> Node:
    rule: Rule[Any] = Rule("test/source", 1, "", NoOptions, kind, lambda work: Digest.of(b""))
    return Node("source", rule, NoOptions())


def compress(compression: Compression = "gzip") -> Node:
    return Node("compress", COMPRESS, CompressOptions(compression), {"file": (source("extents"),)})


class Site:
    """A store with the input, a cluster, and what was warned of."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore(folder / "store")
        for content in (CONTENT, EXTENTS):
            self.add(content)
        self.remote = MemoryRemote()
        self.cluster = FolderCluster(self.remote, folder)
        self.warnings: list[str] = []
        self.executor = self.executor_of()

    def executor_of(self, *, lazy: bool = False, least_bytes: int = 0) -> ReapiExecutor:
        return ReapiExecutor(
            self.cluster,
            VerifiedRemote(self.remote),
            Workers(4, least_bytes=least_bytes),
            store=self.store,
            lazy=lazy,
            warn=self.warnings.append,
        )

    def add(self, content: bytes) -> None:
        with self.store.writer() as writer:
            writer.write(content)
            writer.commit()

    def after(self, *answers: Callable[[], ActionResult | None]) -> None:
        """Lets the next runs go wrong, one after another."""
        left = iter(answers)
        self.cluster.trouble = lambda: next(left, lambda: None)()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def failing(code: str = "UNAVAILABLE", *, lasting: bool = False) -> Callable[[], ActionResult | None]:
    def fail() -> ActionResult | None:
        raise CallError(f"it is {code}", code=code, lasting=lasting)

    return fail


def ending(status: int, stderr: str = "") -> Callable[[], ActionResult | None]:
    return lambda: ActionResult(exit_code=status, stderr_raw=stderr.encode())


def test_node_runs_there_and_its_content_comes_here(site: Site) -> None:
    result = site.executor.run(compress(), INPUTS)

    assert result is not None
    assert result.artifact.kind == "extents"
    assert site.store.missing(result.content()) == set()
    assert gzip.decompress(site.store.path(result.blobs[0]).read_bytes()) == CONTENT
    assert site.warnings == []


def test_lazy_executor_leaves_the_content_there(site: Site) -> None:
    result = site.executor_of(lazy=True).run(compress(), INPUTS)

    assert result is not None
    assert site.store.missing(result.content()) == set(result.content())
    assert site.remote.missing(result.content()) == set()


def test_input_that_is_there_already_need_not_be_here(site: Site) -> None:
    site.cluster.keep(CONTENT)
    site.store.path(Digest.of(CONTENT)).unlink()

    assert site.executor.run(compress(), INPUTS) is not None


def test_input_that_is_nowhere_is_missed(site: Site) -> None:
    site.store.path(Digest.of(CONTENT)).unlink()

    with pytest.raises(MissingBlobError):
        site.executor.run(compress(), INPUTS)


def test_content_is_sent_once(site: Site) -> None:
    site.executor.run(compress(), INPUTS)
    before = dict(site.remote.content)
    asked: list[int] = []
    missing = site.remote.missing
    site.remote.missing = lambda digests: asked.append(len(digests)) or missing(digests)  # type: ignore[method-assign,func-returns-value]

    site.executor.run(compress(), INPUTS)

    assert asked == []
    assert len(site.remote.content) - len(before) <= 2  # `out/result` says how long it took


@pytest.mark.parametrize("code", ["NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL"])
def test_inputs_that_are_gone_are_sent_again(site: Site, code: str) -> None:
    site.executor.run(compress(), INPUTS)
    site.remote.content.clear()
    site.after(failing(code))

    result = site.executor.run(compress(), INPUTS)

    assert result is not None
    assert site.warnings == []


def test_inputs_that_are_gone_again_are_a_failure(site: Site) -> None:
    site.after(failing("NOT_FOUND"), failing("NOT_FOUND"))

    assert site.executor.run(compress(), INPUTS) is None
    assert site.warnings == ["a node runs here after all: it is NOT_FOUND"]


def test_three_failures_are_enough(site: Site) -> None:
    site.after(failing(), failing(), failing())

    assert [site.executor.run(compress(), INPUTS) for _ in range(4)] == [None] * 4
    assert not site.executor.takes(compress())
    assert site.warnings == [
        "a node runs here after all: it is UNAVAILABLE",
        "remote execution is off for the rest of this build: it is UNAVAILABLE",
    ]


def test_lasting_failure_is_enough(site: Site) -> None:
    site.after(failing("UNAUTHENTICATED", lasting=True))

    assert site.executor.run(compress(), INPUTS) is None
    assert not site.executor.takes(compress())
    assert site.warnings == ["remote execution is off for the rest of this build: it is UNAUTHENTICATED"]


@pytest.mark.parametrize(
    ("status", "stderr", "reason"),
    [
        pytest.param(127, "sh: python3: not found", "sh: python3: not found", id="no Python"),
        pytest.param(1, "x\nImportError: y\n", "ImportError: y", id="broken Python"),
        pytest.param(70, "error: expected kitbuild 1\n", "expected kitbuild 1", id="another kitbuild"),
        pytest.param(2, "", "exit status 2", id="silence"),
        pytest.param(1, "a\x1b[2Jb", "a?[2Jb", id="control characters"),
        pytest.param(1, "a" * 300, "a" * 200, id="endless"),
    ],
)
def test_workers_that_cannot_run_kitbuild_are_asked_once(
    site: Site, status: int, stderr: str, reason: str
) -> None:
    site.after(ending(status, stderr))

    assert site.executor.run(compress(), INPUTS) is None
    assert not site.executor.takes(compress())
    prefix = "remote execution is off for the rest of this build: the workers cannot run kitbuild: "
    assert site.warnings == [prefix + reason]


def test_stderr_may_be_a_blob(site: Site) -> None:
    digest = site.cluster.keep(b"error: expected kitbuild 1\n")
    site.after(lambda: ActionResult(exit_code=70, stderr_digest=sent(digest)))

    site.executor.run(compress(), INPUTS)

    assert site.warnings[0].endswith("cannot run kitbuild: expected kitbuild 1")


@pytest.mark.parametrize("status", [72, 137, -9])
def test_worker_that_failed_may_be_asked_again(site: Site, status: int) -> None:
    site.after(ending(status, "error: no space left"))

    assert site.executor.run(compress(), INPUTS) is None
    assert site.executor.takes(compress())
    assert site.warnings == ["a node runs here after all: a worker failed: error: no space left"]


def test_what_a_rule_refuses_it_refuses_here(site: Site) -> None:
    site.after(ending(71, "error: a bad layer"))

    assert site.executor.run(compress(), INPUTS) is None
    assert site.executor.takes(compress())
    assert site.warnings == []


def test_wrong_bytes_do_not_get_into_the_store(site: Site) -> None:
    def flipped() -> Iterator[Callable[[], ActionResult | None]]:
        execute = site.cluster.execute

        def tampering(action: Digest) -> ActionResult:
            answer = execute(action)
            for name, content in site.remote.content.items():
                if content.startswith(b"\x1f\x8b"):
                    site.remote.content[name] = content[:-1] + b"?"
            return answer

        site.cluster.execute = tampering  # type: ignore[method-assign]
        yield lambda: None

    site.after(*flipped())

    assert site.executor.run(compress(), INPUTS) is None
    assert len(site.warnings) == 1
    assert "got other bytes" in site.warnings[0]


def test_result_of_another_kind_is_refused(site: Site) -> None:
    out = site.store.path(Digest.of(CONTENT)).parent / "out"
    (out / "blobs").mkdir(parents=True)
    (out / "result").write_text(f"1 blob 0.1 {Digest.of(CONTENT).hex}:{len(CONTENT)}")
    site.after(lambda: site.cluster.gave(out))

    assert site.executor.run(compress(), INPUTS) is None
    assert site.warnings == ["a node runs here after all: expected extents of format/compress, got blob"]


def test_node_with_little_to_do_runs_here(site: Site) -> None:
    size = len(CONTENT) + len(EXTENTS)

    assert site.executor_of(least_bytes=size + 1).run(compress(), INPUTS) is None
    assert site.remote.content == {}
    assert site.executor_of(least_bytes=size).run(compress(), INPUTS) is not None
    assert site.warnings == []


def test_heavy_nodes_alone_are_taken(site: Site) -> None:
    layer = Node("layer", LAYER, LayerOptions(), {"tar": (source("blob"),)})

    assert site.executor.takes(compress("gzip"))
    assert site.executor.takes(compress("zstd"))
    assert not site.executor.takes(compress("none"))
    assert site.executor.takes(layer)
    assert not site.executor.takes(source("blob"))


def test_stopped_executor_takes_nothing_and_says_nothing(site: Site) -> None:
    def stopping() -> ActionResult | None:
        site.executor.stop()
        raise RemoteError("the connection is closed")

    site.after(stopping)

    assert site.executor.run(compress(), INPUTS) is None
    assert site.executor.run(compress(), INPUTS) is None
    assert site.cluster.stopped
    assert site.warnings == []


def test_executor_knows_how_many_runs_it_takes(site: Site) -> None:
    assert site.executor.jobs == 4


def test_output_that_is_gone_lets_the_node_run_here(site: Site) -> None:
    execute = site.cluster.execute

    def losing(action: Digest) -> ActionResult:
        answer = execute(action)
        for name in [
            name for name, content in site.remote.content.items() if content.startswith(b"\x1f\x8b")
        ]:
            del site.remote.content[name]
        return answer

    site.cluster.execute = losing  # type: ignore[method-assign]

    assert site.executor.run(compress(), INPUTS) is None
    assert len(site.warnings) == 1
    assert "what a run gave is not there" in site.warnings[0]


def test_stop_ends_an_upload(site: Site) -> None:
    put = site.remote.put

    def stopping(digest: Digest, pieces: Pieces) -> None:
        put(digest, pieces)
        site.executor.stop()

    site.remote.put = stopping  # type: ignore[method-assign]

    assert site.executor.run(compress(), INPUTS) is None
    # As many as were on their way.
    assert len(site.remote.content) <= 8
    assert site.cluster.folders == []


def test_executor_is_opened_without_asking_anybody(site: Site) -> None:
    executor = open_executor(
        "grpc://127.0.0.1:1/main",
        NO_ACCESS,
        store=site.store,
        jobs=3,
        properties=(("ISA", "x86-64"),),
        lazy=True,
        warn=site.warnings.append,
    )

    assert executor.jobs == 3
    assert executor.takes(compress())
    executor.close()
    assert not executor.takes(compress())


def test_executor_has_a_well_formed_url(site: Site) -> None:
    with pytest.raises(UsageError):
        open_executor(
            "grpc://",
            NO_ACCESS,
            store=site.store,
            jobs=1,
            properties=(),
            lazy=True,
            warn=site.warnings.append,
        )
