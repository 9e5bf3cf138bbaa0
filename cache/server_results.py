"""Needs: the content that a result on a cache server refers to, whoever made it.

A result is an ActionResult of the Remote Execution API: of kitbuild, Bazel, or another client. It names files, what
was said on stdout and stderr, and for each output folder a Tree (or a Directory, and so on downwards), which
names the files in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from kitbuild.cache.action_result import digest_of
from kitbuild.cache.reapi_messages import ActionResult, BlobDigest, Directory, Tree
from kitbuild.digest import Digest

# Gives the content of a small blob, None if it is not there.
Read = Callable[[Digest], bytes | None]

# The text of a folder of some hundred thousand files; what is larger is not looked into.
MOST_FOLDER_BYTES = 32 << 20
# Results up to this size are remembered: thousands of them, so that larger ones would take all memory.
_SMALL_BYTES = 16 << 10


class Needs(NamedTuple):
    """What a result names itself: content, Trees, and Directories that name more; all of it must be there."""

    content: tuple[Digest, ...]
    trees: tuple[Digest, ...] = ()
    directories: tuple[Digest, ...] = ()


def needs_of(content: bytes) -> Needs:
    """What an encoded result names; raises ValueError for what is no result."""
    return _remembered(content) if len(content) <= _SMALL_BYTES else _read(content)


# Builds ask for the same results again and again, and reading one takes longer than all else about it.
@lru_cache(maxsize=4096)
def _remembered(content: bytes) -> Needs:
    return _read(content)


def _read(content: bytes) -> Needs:
    if not content:
        # As protobuf it is one that has no outputs. As a file it is what a crash of the machine may leave.
        raise ValueError("expected a result, got nothing")
    result = ActionResult.decode(content)
    named: list[BlobDigest | None] = [file.digest for file in result.output_files]
    named += [digest for digest in (result.stdout_digest, result.stderr_digest) if digest is not None]
    trees: list[BlobDigest | None] = []
    directories: list[BlobDigest | None] = []
    for folder in result.output_directories:
        if folder.root_directory_digest is not None:
            directories.append(folder.root_directory_digest)
        # Without either of the two this is a mistake.
        if folder.tree_digest is not None or folder.root_directory_digest is None:
            trees.append(folder.tree_digest)
    return Needs(_digests(named), _digests(trees), _digests(directories))


def all_needs(content: bytes, read: Read) -> tuple[Digest, ...] | None:
    """All content that an encoded result refers to, each once; None if a folder's text is not there or malformed.

    Raises ValueError for what is no result.
    """
    needs = needs_of(content)
    found = dict.fromkeys((*needs.content, *needs.trees, *needs.directories))
    for tree in needs.trees:
        encoded = _text(tree, read)
        inside = None if encoded is None else _in_tree(encoded)
        if inside is None:
            return None
        found.update(dict.fromkeys(inside))
    return tuple(found) if _walk(needs.directories, read, found) else None


def _walk(directories: Iterable[Digest], read: Read, found: dict[Digest, None]) -> bool:
    """Adds what Directories name, and those below them; False if one is not there or malformed."""
    waiting = list(directories)
    seen = set(waiting)
    while waiting:
        encoded = _text(waiting.pop(), read)
        inside = None if encoded is None else _in_directory(encoded)
        if inside is None:
            return False
        files, below = inside
        found.update(dict.fromkeys((*files, *below)))
        waiting += [digest for digest in below if digest not in seen]
        seen.update(below)
    return True


def _text(digest: Digest, read: Read) -> bytes | None:
    if digest.size == 0:
        return b""
    return read(digest) if digest.size <= MOST_FOLDER_BYTES else None


def _in_tree(encoded: bytes) -> tuple[Digest, ...] | None:
    try:
        tree = Tree.decode(encoded)
        folders = (*((tree.root,) if tree.root else ()), *tree.children)
        return _digests(file.digest for folder in folders for file in folder.files)
    except ValueError:
        return None


def _in_directory(encoded: bytes) -> tuple[tuple[Digest, ...], tuple[Digest, ...]] | None:
    try:
        directory = Directory.decode(encoded)
        return (
            _digests(file.digest for file in directory.files),
            _digests(folder.digest for folder in directory.directories),
        )
    except ValueError:
        return None


def _digests(messages: Iterable[BlobDigest | None]) -> tuple[Digest, ...]:
    return tuple(dict.fromkeys(digest_of(message) for message in messages))
