import pytest

from kitbuild.cache.row import decode_result, encode_result
from kitbuild.digest import Digest
from kitbuild.rule import Artifact
from kitbuild.store import Result

ONE = Digest.of(b"one")
TWO = Digest.of(b"two!")
RESULT = Result(Artifact("tree", ONE), (TWO,), 0.25)


def test_result_is_written_as_text() -> None:
    assert f"1 tree 0.25 {ONE.hex}:3 {TWO.hex}:4".encode() == encode_result(RESULT)


def test_written_result_reads_back_equal() -> None:
    assert decode_result(encode_result(RESULT)) == RESULT


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"1 blob 0.0", id="no artifact"),
        pytest.param(f"2 blob 0.0 {ONE.hex}:3".encode(), id="later version"),
        pytest.param(f"1 folder 0.0 {ONE.hex}:3".encode(), id="unknown kind"),
        pytest.param(f"1 blob soon {ONE.hex}:3".encode(), id="seconds are no number"),
        pytest.param(f"1 blob nan {ONE.hex}:3".encode(), id="seconds are nothing"),
        pytest.param(f"1 blob inf {ONE.hex}:3".encode(), id="seconds without end"),
        pytest.param(f"1 blob -1.0 {ONE.hex}:3".encode(), id="negative seconds"),
        pytest.param(f"1 blob 0.0 {ONE.hex}".encode(), id="no size"),
        pytest.param(f"1 blob 0.0 {ONE.hex}:-3".encode(), id="negative size"),
        pytest.param(f"1 blob 0.0 {'../' * 21}a:3".encode(), id="path for a digest"),
        pytest.param(f"1 blob 0.0 {ONE.hex}:3 ".encode(), id="trailing space"),
        pytest.param(b"1 blob 0.0 \xff\xff", id="no ASCII"),
    ],
)
def test_malformed_row_is_no_result(row: bytes) -> None:
    assert decode_result(row) is None
