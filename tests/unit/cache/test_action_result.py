import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.cache.action_result import action_result, decode, encode
from kitbuild.cache.reapi_messages import (
    ActionResult,
    BlobDigest,
    ExecutedActionMetadata,
    OutputFile,
)
from kitbuild.cache.remote import Record
from kitbuild.digest import Digest
from kitbuild.rule import Artifact
from kitbuild.store import Result

ARTIFACT = Digest.of(b"artifact")
BLOBS = (Digest.of(b"a blob"), Digest.of(b"another blob"))
DENSE = (Digest.of(b"dense"), Digest.of(b"a blob"), Digest.of(b"sliced"))
RESULT = Result(Artifact("extents", ARTIFACT), BLOBS, 1.25, DENSE)
RECORD = Record(RESULT, (ARTIFACT, BLOBS[1], DENSE[2]), "ab:cd")


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(RECORD, id="all there is"),
        pytest.param(Record(RESULT), id="nothing present, not signed"),
        pytest.param(Record(Result(Artifact("blob", Digest.of(b""))), (Digest.of(b""),)), id="an empty blob"),
    ],
)
def test_record_comes_back_as_it_was(record: Record) -> None:
    assert record == decode(encode(record))


def test_what_is_present_is_listed_under_paths_that_say_what_it_is() -> None:
    files = action_result(RECORD).output_files

    assert ["artifact", "blobs/1", "dense/2"] == [file.path for file in files]
    assert [(digest.hex, digest.size) for digest in RECORD.present] == [
        (file.digest.hash, file.digest.size_bytes) for file in files if file.digest
    ]


def test_content_with_two_places_is_listed_once() -> None:
    record = Record(RESULT, (BLOBS[0], DENSE[1]))

    assert ["blobs/0"] == [file.path for file in action_result(record).output_files]


def test_row_stands_in_the_standard_output() -> None:
    first, second, third, rest = action_result(RECORD).stdout_raw.split(b"\n")

    assert (b"kitbuild-record 1", b"ab:cd", b"") == (first, third, rest)
    assert second.startswith(b"1 extents 1.25 " + ARTIFACT.hex.encode())


def test_what_a_server_adds_is_of_no_consequence() -> None:
    message = action_result(RECORD)
    more = ActionResult(
        **message.__dict__, execution_metadata=ExecutedActionMetadata(worker="server"), exit_code=0
    )

    assert RECORD == decode(more.encode())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>not found</html>", id="a page"),
        pytest.param(ActionResult(exit_code=1, stdout_raw=b"hello\n").encode(), id="of another tool"),
        pytest.param(ActionResult(stdout_raw=b"kitbuild-record 2\n1\n\n").encode(), id="of another version"),
        pytest.param(ActionResult(stdout_raw=b"kitbuild-record 1\nrow\n\n").encode(), id="with a wrong row"),
        pytest.param(encode(RECORD)[:-1], id="cut off"),
        pytest.param(
            ActionResult(
                output_files=(OutputFile(path="artifact"),), stdout_raw=action_result(RECORD).stdout_raw
            ).encode(),
            id="with a file that has no digest",
        ),
        pytest.param(
            ActionResult(
                output_files=(OutputFile(path="x", digest=BlobDigest(hash="a" * 64, size_bytes=1)),),
                stdout_raw=action_result(RECORD).stdout_raw,
            ).encode(),
            id="with a file that is no part of the result",
        ),
        pytest.param(
            ActionResult(
                output_files=(OutputFile(path="x", digest=BlobDigest(hash="../../x", size_bytes=-1)),),
                stdout_raw=action_result(RECORD).stdout_raw,
            ).encode(),
            id="with a digest that is none",
        ),
        pytest.param(
            ActionResult(stdout_raw=action_result(RECORD).stdout_raw.replace(b"ab:cd", b"\xff")).encode(),
            id="with a signature that is not ASCII",
        ),
    ],
)
def test_anything_else_is_no_record(content: bytes) -> None:
    assert decode(content) is None


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_junk_is_no_record(junk: bytes) -> None:
    assert decode(junk) is None


@settings(deadline=None)
@given(st.integers(0, len(encode(RECORD)) - 1), st.integers(1, 255))
def test_damaged_record_raises_nothing(position: int, change: int) -> None:
    damaged = bytearray(encode(RECORD))
    damaged[position] ^= change

    decode(bytes(damaged))
