from __future__ import annotations

import pytest

from kitbuild.cache.action_result import blob_digest, encode
from kitbuild.cache.reapi_messages import (
    ActionResult,
    BlobDigest,
    Directory,
    DirectoryNode,
    FileNode,
    OutputDirectory,
    OutputFile,
    Tree,
)
from kitbuild.cache.remote import Record
from kitbuild.cache.server_results import _remembered, all_needs, needs_of
from kitbuild.digest import Digest
from kitbuild.rule import Artifact
from kitbuild.store import Result

OUT, LOG, WARNINGS, DEEP, DEEPER = (
    Digest.of(text) for text in (b"out", b"log", b"warnings", b"deep", b"deeper")
)


class Blobs:
    """Content by digest, as `all_needs` reads it."""

    def __init__(self) -> None:
        self.kept: dict[Digest, bytes] = {}

    def put(self, content: bytes) -> Digest:
        digest = Digest.of(content)
        self.kept[digest] = content
        return digest

    def read(self, digest: Digest) -> bytes | None:
        return self.kept.get(digest)


def files(*digests: Digest) -> tuple[FileNode, ...]:
    return tuple(FileNode(name=f"file{number}", digest=blob_digest(d)) for number, d in enumerate(digests))


def with_folder(*, tree: Digest | None = None, root: Digest | None = None) -> bytes:
    tree_digest, root_digest = (None if digest is None else blob_digest(digest) for digest in (tree, root))
    folder = OutputDirectory(path="folder", tree_digest=tree_digest, root_directory_digest=root_digest)
    return ActionResult(output_directories=(folder,)).encode()


def test_result_needs_its_files_and_what_was_said() -> None:
    result = ActionResult(
        output_files=(
            OutputFile(path="out", digest=blob_digest(OUT)),
            OutputFile(path="two", digest=blob_digest(OUT)),
        ),
        stdout_digest=blob_digest(LOG),
        stderr_digest=blob_digest(WARNINGS),
        exit_code=1,
    )

    assert (OUT, LOG, WARNINGS) == all_needs(result.encode(), Blobs().read)


def test_record_needs_what_is_present() -> None:
    result = Result(Artifact("extents", OUT), (LOG, DEEP))

    assert {OUT, DEEP} == set(all_needs(encode(Record(result, (OUT, DEEP))), Blobs().read) or ())


def test_result_that_names_nothing_needs_nothing() -> None:
    assert () == all_needs(ActionResult(stdout_raw=b"hello").encode(), Blobs().read)


def test_folder_needs_its_tree_and_all_files_in_it() -> None:
    blobs = Blobs()
    tree = blobs.put(
        Tree(root=Directory(files=files(OUT)), children=(Directory(files=files(DEEP, OUT)),)).encode()
    )

    needed = all_needs(with_folder(tree=tree), blobs.read)

    assert (tree, OUT, DEEP) == needed


def test_folder_told_by_its_root_needs_all_folders_below() -> None:
    blobs = Blobs()
    deep = blobs.put(Directory(files=files(DEEP, DEEPER)).encode())
    node = DirectoryNode(name="deep", digest=blob_digest(deep))
    other = DirectoryNode(name="other", digest=blob_digest(deep))
    root = blobs.put(Directory(files=files(OUT), directories=(node, other)).encode())

    needed = all_needs(with_folder(root=root), blobs.read)

    assert (root, OUT, deep, DEEP, DEEPER) == needed


def test_empty_folder_needs_no_file() -> None:
    blobs = Blobs()
    tree = blobs.put(Tree(root=Directory()).encode())
    empty = Digest.of(b"")

    assert (tree,) == all_needs(with_folder(tree=tree), blobs.read)
    assert (empty,) == all_needs(with_folder(root=empty), Blobs().read)


def test_folder_whose_text_is_gone_makes_the_result_useless() -> None:
    gone = Digest.of(Tree(root=Directory(files=files(OUT))).encode())

    assert all_needs(with_folder(tree=gone), Blobs().read) is None
    assert all_needs(with_folder(root=gone), Blobs().read) is None


def test_folder_whose_text_is_malformed_makes_the_result_useless() -> None:
    blobs = Blobs()
    digest = blobs.put(b"\x0a\xffno message")

    assert all_needs(with_folder(tree=digest), blobs.read) is None
    assert all_needs(with_folder(root=digest), blobs.read) is None


def test_folder_with_an_enormous_text_is_not_looked_into() -> None:
    enormous = Digest("ab" * 32, 1 << 40)

    def read(_digest: Digest) -> bytes | None:
        raise AssertionError("it was read")

    assert all_needs(with_folder(tree=enormous), read) is None


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello", id="text"),
        pytest.param(b"<html></html>", id="html"),
        pytest.param(b"\x12\xff", id="cut-off"),
        pytest.param(ActionResult(output_files=(OutputFile(path="out"),)).encode(), id="file-without-digest"),
        pytest.param(
            ActionResult(stdout_digest=BlobDigest(hash="ab", size_bytes=1)).encode(), id="digest-too-short"
        ),
        pytest.param(
            ActionResult(stdout_digest=BlobDigest(hash="ab" * 32, size_bytes=-1)).encode(),
            id="size-below-nothing",
        ),
        pytest.param(with_folder(), id="folder-without-digest"),
        pytest.param(
            ActionResult(
                output_files=(OutputFile(digest=BlobDigest(hash="../" * 21 + "a", size_bytes=1)),)
            ).encode(),
            id="path-for-a-digest",
        ),
    ],
)
def test_what_is_no_result_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError):
        all_needs(content, Blobs().read)


def test_large_results_are_not_kept_in_memory() -> None:
    before = _remembered.cache_info().currsize

    for number in range(3):
        needs_of(ActionResult(stdout_raw=b"%d" % number * (64 << 10)).encode())

    # Thousands are remembered: of the largest ones these would be gigabytes.
    assert _remembered.cache_info().currsize == before
