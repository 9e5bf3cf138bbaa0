"""What a run elsewhere gave: the answer of a server turned into a Result, once it holds together."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import NamedTuple

from kitbuild.cache.execution_request import BLOBS, OUTPUT, RESULT
from kitbuild.cache.reapi_messages import ActionResult, BlobDigest, Directory, OutputDirectory, Tree
from kitbuild.cache.remote import MOST_RECORD_BYTES
from kitbuild.cache.row import decode_result
from kitbuild.digest import Digest
from kitbuild.errors import RemoteError
from kitbuild.store import Result

# Gives content of a size that is small by its nature; raises RemoteError.
Read = Callable[[Digest], bytes]


class Outputs(NamedTuple):
    """A result, and those of its blobs that are where the run was."""

    result: Result
    made: frozenset[Digest]


def outputs_of(action_result: ActionResult, *, given: Set[Digest], read: Read) -> Outputs:
    """What is in `out/`; raises RemoteError if it is not there or refers to what is neither there nor `given`."""
    root, blobs = _folders(_tree(action_result, read))
    row = next((received(file.digest) for file in root.files if file.name == RESULT), None)
    result = decode_result(_read(row, read)) if row is not None else None
    if result is None:
        raise RemoteError(f"expected a result in `{OUTPUT}/{RESULT}`, got none")
    made = {received(file.digest) for file in blobs.files if file.digest and file.digest.hash == file.name}
    lost = set(result.content()) - made - given
    if lost:
        raise RemoteError(f"expected {min(lost).oci} in `{OUTPUT}/{BLOBS}`, got a result without it")
    return Outputs(result, frozenset(made.intersection(result.content()) - given))


def received(digest: BlobDigest | None) -> Digest:
    """A digest as it was received; raises RemoteError for what is none."""
    if digest is None:
        raise RemoteError("expected a digest, got none")
    try:
        return Digest.parse(digest.hash, digest.size_bytes)
    except ValueError as error:
        raise RemoteError(str(error)) from error


def _tree(action_result: ActionResult, read: Read) -> Tree:
    made = (folder for folder in action_result.output_directories if folder.path == OUTPUT)
    folder: OutputDirectory | None = next(made, None)
    if folder is None:
        raise RemoteError(f"expected a folder `{OUTPUT}`, got none")
    content = _read(received(folder.tree_digest), read)
    try:
        return Tree.decode(content)
    except ValueError as error:
        raise RemoteError(f"expected the folder `{OUTPUT}`, got what cannot be read: {error}") from error


def _folders(tree: Tree) -> tuple[Directory, Directory]:
    """`out` and `out/blobs`. There is but one folder below it, so its digest need not be compared."""
    root = tree.root or Directory()
    if [folder.name for folder in root.directories] != [BLOBS] or len(tree.children) != 1:
        raise RemoteError(f"expected one folder, `{BLOBS}`, in `{OUTPUT}`, got others")
    return root, tree.children[0]


def _read(digest: Digest, read: Read) -> bytes:
    if digest.size > MOST_RECORD_BYTES:
        raise RemoteError(f"expected at most {MOST_RECORD_BYTES} bytes, got {digest.size}")
    return read(digest)
