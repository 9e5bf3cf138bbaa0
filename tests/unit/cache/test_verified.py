from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kitbuild.cache.verified import VerifiedRemote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError, StoreError
from tests.support.remotes import MemoryRemote


class Dripping(MemoryRemote):
    """Gives the pieces it was made with, whatever it is asked for."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._pieces = pieces

    def get(self, digest: Digest) -> Iterator[bytes]:
        return iter(self._pieces)


def read(remote: VerifiedRemote, digest: Digest) -> tuple[bytes, StoreError | None]:
    """What came before the error, and the error."""
    came = b""
    try:
        for piece in remote.get(digest):
            came += piece
    except StoreError as error:
        return came, error
    return came, None


@settings(deadline=None)
@given(some.lists(some.binary(max_size=5)), some.binary(max_size=20))
def test_whoever_reads_to_the_end_has_what_the_digest_says(pieces: list[bytes], wanted: bytes) -> None:
    came, error = read(VerifiedRemote(Dripping(pieces)), Digest.of(wanted))

    if b"".join(pieces) == wanted:
        assert (wanted, None) == (came, error)
    else:
        assert isinstance(error, RemoteError)
        assert came == b"" or came != wanted


@settings(deadline=None)
@given(some.binary(min_size=1, max_size=20), some.data())
def test_wrong_bytes_never_come_out_whole(content: bytes, data: some.DataObject) -> None:
    place = data.draw(some.integers(0, len(content) - 1))
    wrong = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

    came, error = read(VerifiedRemote(Dripping([wrong[:3], wrong[3:]])), Digest.of(content))

    assert isinstance(error, RemoteError)
    assert len(came) < len(content)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param([b"cont"], "got 4", id="short"),
        pytest.param([], "got 0", id="none"),
        pytest.param([b"content", b"s"], "got more", id="long"),
        pytest.param([b"tnetnoc"], "got other bytes", id="other"),
    ],
)
def test_error_says_what_is_wrong(given: list[bytes], reason: str) -> None:
    digest = Digest.of(b"content")

    _, error = read(VerifiedRemote(Dripping(given)), digest)

    assert isinstance(error, RemoteError)
    assert error.message.endswith(reason)
    assert digest.oci in error.message
    assert not error.lasting


def test_endless_content_ends_at_its_size() -> None:
    def endless() -> Iterable[bytes]:
        while True:
            yield b"x" * 10

    came, error = read(VerifiedRemote(Dripping(endless())), Digest.of(b"x" * 100))

    assert isinstance(error, RemoteError)
    assert len(came) <= 100


def test_missing_content_is_missing_and_no_failure() -> None:
    _, error = read(VerifiedRemote(MemoryRemote()), Digest.of(b"content"))

    assert isinstance(error, MissingBlobError)


@pytest.mark.parametrize("damaged", [b"cont", b"contents", b"tnetnoc", b""])
def test_damaged_local_content_is_not_put(damaged: bytes) -> None:
    inner = MemoryRemote()

    with pytest.raises(MissingBlobError, match="in the local cache"):
        VerifiedRemote(inner).put(Digest.of(b"content"), lambda: [damaged])

    assert inner.content == {}


def test_put_may_be_tried_again() -> None:
    inner = MemoryRemote()
    remote = VerifiedRemote(inner)
    tries = iter([b"damaged", b"content"])

    with pytest.raises(MissingBlobError):
        remote.put(Digest.of(b"content"), lambda: [next(tries)])
    remote.put(Digest.of(b"content"), lambda: [next(tries)])

    assert list(inner.content.values()) == [b"content"]


def test_content_found_wrong_is_missing_until_it_is_put_again() -> None:
    inner = MemoryRemote()
    remote = VerifiedRemote(inner)
    digest, other = Digest.of(b"content"), Digest.of(b"other")
    inner.content = {digest.hex: b"tnetnoc", other.hex: b"other"}

    before = remote.missing([digest, other])
    read(remote, digest)
    read(remote, other)
    found = remote.missing([digest, other])
    remote.put(digest, lambda: [b"content"])

    assert set() == before
    assert {digest} == found
    assert set() == remote.missing([digest, other])


def test_failure_of_the_remote_cache_says_nothing_of_its_content() -> None:
    class Broken(MemoryRemote):
        def get(self, digest: Digest) -> Iterator[bytes]:
            raise RemoteError("broken")

    inner = Broken()
    inner.put(Digest.of(b"content"), lambda: [b"content"])
    remote = VerifiedRemote(inner)

    read(remote, Digest.of(b"content"))

    assert set() == remote.missing([Digest.of(b"content")])
