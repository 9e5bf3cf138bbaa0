"""What a cluster says a run gave: believed only as far as it holds together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kitbuild.cache.execution_inputs import sent
from kitbuild.cache.execution_outputs import Outputs, outputs_of
from kitbuild.cache.reapi_messages import (
    ActionResult,
    BlobDigest,
    Directory,
    DirectoryNode,
    FileNode,
    OutputDirectory,
    Tree,
)
from kitbuild.cache.row import encode_result
from kitbuild.digest import Digest
from kitbuild.errors import RemoteError
from kitbuild.rule import Artifact
from kitbuild.store import Result

MADE, GIVEN, OTHER = (Digest.of(content) for content in (b"made", b"given", b"other"))
RESULT = Result(Artifact("blob", MADE), (GIVEN,), 0.5)


class Answer:
    """A server's answer, and the content behind it."""

    def __init__(self) -> None:
        self.content: dict[Digest, bytes] = {}
        self.row = encode_result(RESULT)
        self.files = {MADE.hex: sent(MADE)}
        self.folders = ["blobs"]
        self.path = "out"

    def add(self, content: bytes) -> BlobDigest:
        self.content[Digest.of(content)] = content
        return sent(Digest.of(content))

    def outputs(self) -> Outputs:
        blobs = Directory(
            files=tuple(FileNode(name=name, digest=digest) for name, digest in self.files.items())
        )
        root = Directory(
            files=(FileNode(name="result", digest=self.add(self.row)),) if self.row else (),
            directories=tuple(DirectoryNode(name=name) for name in self.folders),
        )
        tree = self.add(Tree(root=root, children=(blobs,) * len(self.folders)).encode())
        message = ActionResult(output_directories=(OutputDirectory(path=self.path, tree_digest=tree),))
        return outputs_of(message, given={GIVEN}, read=self.content.__getitem__)


def test_result_and_what_was_made_for_it() -> None:
    answer = Answer()
    answer.files[OTHER.hex] = sent(OTHER)

    assert answer.outputs() == Outputs(RESULT, frozenset({MADE}))


def without_folder(answer: Answer) -> None:
    answer.path = "other"


def without_result(answer: Answer) -> None:
    answer.row = b""


def malformed_result(answer: Answer) -> None:
    answer.row = b"2 blob"


def without_content(answer: Answer) -> None:
    answer.files = {}


def content_of_another_name(answer: Answer) -> None:
    answer.files = {MADE.hex: sent(OTHER)}


def content_of_another_size(answer: Answer) -> None:
    answer.files = {MADE.hex: BlobDigest(hash=MADE.hex, size_bytes=MADE.size + 1)}


def bad_digest(answer: Answer) -> None:
    answer.files = {"x": BlobDigest(hash="x", size_bytes=1)}


def folders_too_many(answer: Answer) -> None:
    answer.folders = ["blobs", "more"]


def folder_of_another_name(answer: Answer) -> None:
    answer.folders = ["other"]


def no_folder(answer: Answer) -> None:
    answer.folders = []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_folder, "expected a folder `out`, got none"),
        (without_result, "expected a result in `out/result`, got none"),
        (malformed_result, "expected a result in `out/result`, got none"),
        (without_content, "got a result without it"),
        (content_of_another_name, "got a result without it"),
        (content_of_another_size, "got a result without it"),
        (bad_digest, "64 hex digits"),
        (folders_too_many, "expected one folder"),
        (folder_of_another_name, "expected one folder"),
        (no_folder, "expected one folder"),
    ],
)
def test_anything_else_is_refused(change: Callable[[Answer], None], message: str) -> None:
    answer = Answer()
    change(answer)

    with pytest.raises(RemoteError, match=message):
        answer.outputs()


def test_folder_that_is_no_message_or_too_large_is_refused() -> None:
    answer = Answer()
    for digest, message in (
        (answer.add(b"\xff\xff"), "cannot be read"),
        (BlobDigest(hash=MADE.hex, size_bytes=1 << 40), "expected at most"),
        (None, "expected a digest, got none"),
    ):
        folder = OutputDirectory(path="out", tree_digest=digest)

        with pytest.raises(RemoteError, match=message):
            outputs_of(
                ActionResult(output_directories=(folder,)), given=set(), read=answer.content.__getitem__
            )
