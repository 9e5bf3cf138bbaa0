"""What happens in a build, as values, and the port that is told."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

from kitbuild.digest import Digest
from kitbuild.errors import KitbuildError
from kitbuild.node import Node
from kitbuild.rule import Artifact


class BuildStarted(NamedTuple):
    """A build of `nodes` nodes begins."""

    nodes: int


class NodeCached(NamedTuple):
    """The cache had the node's result; a remote one if it is `far`."""

    node: Node
    artifact: Artifact
    far: bool = False


class NodeStarted(NamedTuple):
    """A node runs because of `why`, one sentence a reason."""

    node: Node
    why: tuple[str, ...]


class NodeFinished(NamedTuple):
    """A node ran and gave `artifact`."""

    node: Node
    artifact: Artifact
    seconds: float


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
    """A file of the user's is in place; `fresh` is false if it already was, with the same content."""

    path: Path
    digest: Digest
    fresh: bool
    seconds: float


class BuildFinished(NamedTuple):
    """The build is over: how many nodes ran, were cached, failed, or were left because an input failed."""

    ran: int
    cached: int
    failed: int
    left: int
    seconds: float


Event = (
    BuildStarted
    | NodeCached
    | NodeStarted
    | NodeFinished
    | NodeFailed
    | Warned
    | FetchStarted
    | RemoteUsed
    | OutputStarted
    | OutputWritten
    | BuildFinished
)


class Reporter(Protocol):
    """Is told every event, from several threads, one at a time. It must be quick and must not raise."""

    def __call__(self, event: Event) -> None:
        """Takes one event."""
