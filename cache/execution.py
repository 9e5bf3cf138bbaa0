"""ReapiExecutor: heavy nodes run by a cluster that speaks the Remote Execution API.

A node is sent as an action (execution_inputs.py): its inputs, kitbuild itself unless the workers have it, and the
command `kitbuild worker run`. What it gave is believed as far as it holds together (execution_outputs.py); so an
executor is trusted as one's own machine is. A node that cannot run there runs here, and a cluster that fails again
and again is left alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

from kitbuild.cache.connection import CallError, Connection, check_library
from kitbuild.cache.execution_cluster import Cluster
from kitbuild.cache.execution_content import Carrier, content_of
from kitbuild.cache.execution_inputs import Inputs, inputs_of
from kitbuild.cache.execution_outputs import outputs_of, received
from kitbuild.cache.execution_request import BROKEN, REFUSED, UNFIT
from kitbuild.cache.reapi_messages import ActionResult
from kitbuild.cache.remote import Access, Remote
from kitbuild.digest import Digest
from kitbuild.errors import RemoteError
from kitbuild.node import Node
from kitbuild.store import Result, Store

# What is worth sending: rules that pass all bytes of their inputs through a compressor, or look through them all.
# Left here: fetch/* need networks and passwords that workers do not have; assemble/* and most formats move metadata;
# format/squashfs compresses tables alone but would need all the data; format/gcp and format/vmdk compress a disk
# whose payload is compressed already, once it was joined here from everything the system consists of.
ALWAYS = frozenset({"unpack/layer", "unpack/package"})
# Those that do nothing heavy with the compression `none`, and then name no tool.
COMPRESSING = frozenset({"format/segment", "format/squashfs-data", "format/compress"})

# A run elsewhere starts a sandbox and a Python there, which takes some tenths of a second. A processor here
# compresses four times these bytes meanwhile.
_LEAST_BYTES = 16 << 20

# With what a server says that inputs are gone, each in its own way.
_INPUTS_GONE = frozenset({"NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL"})
_MOST_FAILURES = 3
_MOST_MESSAGE_CHARACTERS = 200
_MOST_STDERR_BYTES = 1 << 16
# A shell's way to say that a program was killed: out of memory, or of time.
_FIRST_SIGNAL = 128


class Runs(Protocol):
    """What runs actions: a Cluster."""

    def execute(self, action: Digest) -> ActionResult:
        """What an action gave; raises RemoteError, a CallError with the code of a server."""

    def stop(self) -> None:
        """Lets everything that goes on end soon."""


def open_executor(  # noqa: PLR0913 (each is a setting, or what a build has one of)
    url: str,
    access: Access,
    *,
    store: Store,
    jobs: int,
    properties: tuple[tuple[str, str], ...],
    lazy: bool,
    warn: Callable[[str], None],
) -> ReapiExecutor:
    """The cluster at a URL (`grpc://host:port/instance` or `grpcs://`); nothing is asked of it yet.

    `properties` are the platform properties of its workers; one named `kitbuild` says that they have kitbuild. With
    `lazy` the outputs stay there until `store`, which can get them from there, is asked for them. Raises UsageError
    for a malformed URL, or if gRPC is not installed.
    """
    check_library(url)
    cluster, content = Cluster(Connection(url, access)), content_of(Connection(url, access))
    return ReapiExecutor(cluster, content, Workers(jobs, properties), store=store, lazy=lazy, warn=warn)


class Workers(NamedTuple):
    """How many runs at once the cluster is given, and the platform properties of the workers to run on.

    A node whose inputs have fewer than `least_bytes` runs here.
    """

    jobs: int
    properties: tuple[tuple[str, str], ...] = ()
    least_bytes: int = _LEAST_BYTES


class ReapiExecutor:
    """Runs nodes on `cluster`, whose content is that of the Remote `content`, which hashes what it gives.

    Safe to use from several threads. `stop` may be called from any of them, at any time.
    """

    def __init__(
        self,
        cluster: Runs,
        content: Remote,
        workers: Workers,
        *,
        store: Store,
        lazy: bool = False,
        warn: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._content = Carrier(content, store)
        self._workers = workers
        self._lazy = lazy
        self._warn = warn
        self._lock = threading.Lock()
        self._failures = 0
        self._off = False
        self._stopped = False

    @property
    def jobs(self) -> int:
        """How many runs it takes at once."""
        return self._workers.jobs

    def takes(self, node: Node) -> bool:
        """True for a heavy node, as long as the cluster is of use."""
        if self._off or self._stopped:
            return False
        name = node.rule.name
        return name in ALWAYS or (name in COMPRESSING and bool(node.rule.tools(node.options)))

    def run(self, node: Node, inputs: Mapping[str, tuple[Result, ...]]) -> Result | None:
        """What a node gave there; None: run it here. Raises MissingBlobError if an input is nowhere."""
        content = {digest for given in inputs.values() for result in given for digest in result.content()}
        is_small = sum(digest.size for digest in content) < self._workers.least_bytes
        if is_small or not self.takes(node):
            return None
        try:
            return self._run(node, inputs)
        except RemoteError as error:
            self._failed(error)
            return None

    def stop(self) -> None:
        """Has everything cancelled that goes on there; every `run` returns soon, and none starts any more."""
        self._stopped = True
        self._cluster.stop()
        self._content.stop()

    def close(self) -> None:
        """Ends what may still go on, and closes what is open."""
        self.stop()

    # -- one run

    def _run(self, node: Node, inputs: Mapping[str, tuple[Result, ...]]) -> Result | None:
        needed = inputs_of(node, inputs, self._workers.properties)
        action_result = self._executed(needed)
        if action_result.exit_code == REFUSED:
            # It will say here, better, what is wrong.
            return None
        if action_result.exit_code:
            raise self._ended(action_result)
        outputs = outputs_of(action_result, given=needed.stored, read=self._content.read)
        if outputs.result.artifact.kind != node.rule.output:
            raise RemoteError(
                f"expected {node.rule.output} of {node.rule.name}, got {outputs.result.artifact.kind}"
            )
        self._content.made(outputs)
        if not self._lazy:
            self._content.bring(outputs)
        return outputs.result._replace(dense=())

    def _executed(self, needed: Inputs) -> ActionResult:
        self._content.upload(needed)
        try:
            return self._cluster.execute(needed.action)
        except CallError as error:
            if error.code not in _INPUTS_GONE or self._stopped:
                raise
        self._content.forget()
        self._content.upload(needed)
        return self._cluster.execute(needed.action)

    def _ended(self, action_result: ActionResult) -> RemoteError:
        """What to say of a worker that ended with a status."""
        status = action_result.exit_code
        lines = self._stderr(action_result).splitlines() or [f"exit status {status}"]
        if status == BROKEN or status > _FIRST_SIGNAL or status < 0:
            return RemoteError(f"a worker failed: {_in_one_line(lines[-1])}")
        said = lines[-1].removeprefix("error: ") if status == UNFIT else lines[-1]
        return RemoteError(f"the workers cannot run kitbuild: {_in_one_line(said)}", lasting=True)

    def _stderr(self, action_result: ActionResult) -> str:
        content = action_result.stderr_raw
        if not content and action_result.stderr_digest is not None:
            with suppress(RemoteError):
                digest = received(action_result.stderr_digest)
                content = self._content.read(digest) if digest.size <= _MOST_STDERR_BYTES else b""
        return content.decode("utf-8", "replace").strip()

    # -- trouble

    def _failed(self, error: RemoteError) -> None:
        """Says what is wrong, once for the first run that failed and once when there will be no more."""
        with self._lock:
            if self._off or self._stopped:
                return
            self._failures += 1
            self._off = error.lasting or self._failures >= _MOST_FAILURES
            is_first = self._failures == 1
        if self._off:
            self._warn(f"remote execution is off for the rest of this build: {error.message}")
        elif is_first:
            self._warn(f"a node runs here after all: {error.message}")


def _in_one_line(text: str) -> str:
    """Text from outside as it may stand in a message."""
    line = " ".join(text.split())[:_MOST_MESSAGE_CHARACTERS]
    return "".join(character if character.isprintable() else "?" for character in line)
