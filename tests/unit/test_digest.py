from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.digest import Digest, Hasher

EMPTY_HEX = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_digest_of_nothing_is_the_well_known_one() -> None:
    digest = Digest.of(b"")

    assert Digest(EMPTY_HEX, 0) == digest


def test_digest_counts_the_bytes() -> None:
    digest = Digest.of(b"abc")

    assert digest.size == 3
    assert hashlib.sha256(b"abc").hexdigest() == digest.hex


@given(st.lists(st.binary(max_size=64)))
def test_pieces_give_the_digest_of_the_whole(pieces: list[bytes]) -> None:
    hasher = Hasher()

    for piece in pieces:
        hasher.update(piece)

    assert Digest.of(b"".join(pieces)) == hasher.digest()
    assert sum(map(len, pieces)) == hasher.size


def test_hasher_can_go_on_after_it_gave_a_digest() -> None:
    hasher = Hasher()
    hasher.update(b"ab")

    early = hasher.digest()
    hasher.update(memoryview(b"c"))

    assert Digest.of(b"ab") == early
    assert Digest.of(b"abc") == hasher.digest()


@given(st.binary())
def test_oci_text_reads_back(content: bytes) -> None:
    digest = Digest.of(content)

    assert digest == Digest.parse(digest.oci, digest.size)
    assert digest == Digest.parse(digest.hex, digest.size)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("sha256:", id="no digits"),
        pytest.param(EMPTY_HEX[:-1], id="too short"),
        pytest.param(EMPTY_HEX + "0", id="too long"),
        pytest.param(EMPTY_HEX.upper(), id="upper case"),
        pytest.param(EMPTY_HEX + "\n", id="newline at the end"),
        pytest.param("sha512:" + EMPTY_HEX, id="other algorithm"),
        pytest.param("sha256:sha256:" + EMPTY_HEX, id="prefix twice"),
        pytest.param("../" + EMPTY_HEX[3:], id="path"),
        pytest.param("\uff10" * 64, id="digits of another script"),
    ],
)
def test_other_texts_are_no_digest(text: str) -> None:
    with pytest.raises(ValueError, match="expected sha256: and 64 hex digits, got"):
        Digest.parse(text, 0)


def test_size_is_not_negative() -> None:
    with pytest.raises(ValueError, match="expected a size of 0 or more bytes, got -1"):
        Digest.parse(EMPTY_HEX, -1)


def test_same_bytes_of_another_size_are_another_digest() -> None:
    assert Digest(EMPTY_HEX, 0) != Digest(EMPTY_HEX, 1)


def test_text_for_people_is_short() -> None:
    assert str(Digest.of(b"")) == "sha256:e3b0c44298fc (0 bytes)"
