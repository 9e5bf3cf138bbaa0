"""What happens in a build, as values, and the port that is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from kitbuild.digest import Digest
from kitbuild.errors import KitbuildError
from kitbuild.node import Node
from kitbuild.rule import Artifact

Outcome = Literal["done", "failed", "interrupted", "refused"]
"""How a build ended: its outputs are in place, something failed, somebody stopped it, or its config or command line
is wrong."""


class Counts(NamedTuple):
    """What became of the nodes of a build: `nodes` in all, of which so many ran here or were sent to an executor.

    `near` and `far` are those whose results were in the local and in a remote cache; to make them took `saved`
    seconds once. `left` ones were not got to.
    """

    nodes: int = 0
    ran: int = 0
    sent: int = 0
    near: int = 0
    far: int = 0
    failed: int = 0
    left: int = 0
    saved: float = 0.0


class BuildStarted(NamedTuple):
    """This version of kitbuild begins to build `configs`: first of all events."""

    version: str
    configs: tuple[str, ...]


class NodesStarted(NamedTuple):
    """A graph of `nodes` nodes is gone through, `jobs` at once; told again if that has to begin anew."""

    nodes: int
    jobs: int = 0


class NodeCached(NamedTuple):
    """The cache had the node's result, which took `seconds` to make; a remote one if it is `far`."""

    node: Node
    artifact: Artifact
    far: bool = False
    seconds: float = 0.0


class RunsExpected(NamedTuple):
    """The first node is about to run: how many seconds each node took when it ran last, by its name, where known."""

    seconds: Mapping[str, float]


class NodeStarted(NamedTuple):
    """A node runs because of `why`, one sentence a reason; `elsewhere` if it was given to an executor."""

    node: Node
    why: tuple[str, ...]
    elsewhere: bool = False


class NodeProgressed(NamedTuple):
    """A node that runs has gone through `done` bytes of `size`, which is 0 if nobody knows."""

    node: Node
    done: int
    size: int


class NodeFinished(NamedTuple):
    """A node ran, here or `elsewhere`, and gave `artifact`."""

    node: Node
    artifact: Artifact
    seconds: float
    elsewhere: bool = False


class NodeFailed(NamedTuple):
    """A node failed; those that need it are not run."""

    node: Node
    error: KitbuildError


class Warned(NamedTuple):
    """Something the user should know that does not stop the build."""

    message: str
    node: Node | None = None


class FetchStarted(NamedTuple):
    """Content of wanted outputs is about to be brought here: `blobs` of them, `size` bytes at most."""

    blobs: int
    size: int


class FetchFinished(NamedTuple):
    """That content is here, but for `lost` blobs, which are made again if they are needed."""

    lost: int


class Downloaded(NamedTuple):
    """So many bytes have come from the remote cache since the build began, for outputs and for nodes that run."""

    bytes: int


class NodesFinished(NamedTuple):
    """Nothing runs any more: how many nodes ran, were cached, failed, or were left because an input failed."""

    ran: int
    cached: int
    failed: int
    left: int
    seconds: float


class KeepStarted(NamedTuple):
    """The build waits until `results` results are kept in the remote cache at `place`."""

    place: str
    results: int


class RemoteUsed(NamedTuple):
    """What the remote cache at `place` was used for.

    Of `asked` results `results` were found there, `kept_results` were put there, blobs and bytes likewise; `left` is
    how many results were to be put there and were not; `seconds` is how long the end of the build waited for that.
    """

    place: str
    asked: int
    results: int
    blobs: int
    bytes: int
    kept_results: int
    kept_blobs: int
    kept_bytes: int
    left: int
    seconds: float


class OutputStarted(NamedTuple):
    """A file of the user's that is not in place yet is about to be written; `size` in bytes."""

    path: Path
    size: int


class OutputWritten(NamedTuple):
    """A file of the user's is in place; `fresh` is false if it already was, with the same content.

    `nodes` is how many it is made of, `cached` how many of these had their result in a cache.
    """

    path: Path
    digest: Digest
    fresh: bool
    seconds: float
    nodes: int = 0
    cached: int = 0


class Failed(NamedTuple):
    """What ends the build besides failed nodes: a mistake in a config (each of them), no network, a full disk."""

    error: Exception


class BuildFinished(NamedTuple):
    """The build is over, `seconds` after it began, and the exit status will be `status`: last of all events."""

    outcome: Outcome
    status: int
    counts: Counts
    seconds: float


Event = (
    BuildStarted
    | NodesStarted
    | NodeCached
    | RunsExpected
    | NodeStarted
    | NodeProgressed
    | NodeFinished
    | NodeFailed
    | NodesFinished
    | Warned
    | FetchStarted
    | FetchFinished
    | Downloaded
    | KeepStarted
    | RemoteUsed
    | OutputStarted
    | OutputWritten
    | Failed
    | BuildFinished
)


class Reporter(Protocol):
    """Is told every event, from several threads, one at a time. It must be quick and must not raise."""

    def __call__(self, event: Event) -> None:
        """Takes one event."""
