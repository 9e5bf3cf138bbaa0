from __future__ import annotations

from collections.abc import Iterator

import pytest

from kitbuild.cache.namespaced import NamespacedRemote, key_in
from kitbuild.cache.remote import Record
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.support.remotes import MemoryRemote

KEY, OTHER_KEY = Key("ab" * 32), Key("cd" * 32)
DIGEST = Digest.of(b"content")


def record_of(content: bytes) -> Record:
    return Record(Result(Artifact("blob", Digest.of(content))))


def test_what_is_written_goes_to_ones_own_place_alone() -> None:
    trusted, own = MemoryRemote(), MemoryRemote()
    remote = NamespacedRemote(trusted, own)

    remote.put(DIGEST, lambda: [b"content"])
    remote.keep(KEY, record_of(b"content"))

    assert (trusted.content, trusted.records) == ({}, {})
    assert own.content == {DIGEST.hex: b"content"}
    assert own.records == {key_in("", KEY): record_of(b"content")}


def test_trusted_record_comes_before_ones_own() -> None:
    trusted, own = MemoryRemote(), MemoryRemote()
    trusted.keep(KEY, record_of(b"trusted"))
    own.keep(key_in("", KEY), record_of(b"own"))

    assert record_of(b"trusted") == NamespacedRemote(trusted, own).record(KEY)


def test_ones_own_record_is_found() -> None:
    own = MemoryRemote()
    own.keep(key_in("pull", KEY), record_of(b"own"))

    assert record_of(b"own") == NamespacedRemote(MemoryRemote(), own, namespace="pull").record(KEY)


def test_places_that_are_one_and_the_same_stay_apart() -> None:
    server = MemoryRemote()
    server.keep(KEY, record_of(b"trusted"))
    one, two = (NamespacedRemote(server, server, namespace=name) for name in ("one", "two"))

    one.keep(KEY, record_of(b"own"))
    one.keep(OTHER_KEY, record_of(b"own"))

    assert server.record(KEY) == record_of(b"trusted")
    assert server.record(OTHER_KEY) is None
    assert one.record(OTHER_KEY) == record_of(b"own")
    assert two.record(OTHER_KEY) is None


@pytest.mark.parametrize("place", [0, 1])
def test_content_comes_from_either_place(place: int) -> None:
    places = [MemoryRemote(), MemoryRemote()]
    places[place].put(DIGEST, lambda: [b"content"])
    remote = NamespacedRemote(*places)

    assert [b"content"] == list(remote.get(DIGEST))
    assert set() == remote.missing([DIGEST])


def test_content_in_neither_place_is_missing() -> None:
    remote = NamespacedRemote(MemoryRemote(), MemoryRemote())

    assert {DIGEST} == remote.missing([DIGEST])
    with pytest.raises(MissingBlobError):
        list(remote.get(DIGEST))


def test_failure_of_the_trusted_place_is_no_reason_to_believe_the_other() -> None:
    class Broken(MemoryRemote):
        def record(self, key: Key) -> Record | None:
            raise RemoteError("broken")

        def get(self, digest: Digest) -> Iterator[bytes]:
            raise RemoteError("broken")

    own = MemoryRemote()
    own.put(DIGEST, lambda: [b"content"])
    own.keep(key_in("", KEY), record_of(b"own"))
    remote = NamespacedRemote(Broken(), own)

    with pytest.raises(RemoteError):
        remote.record(KEY)
    with pytest.raises(RemoteError):
        list(remote.get(DIGEST))


def test_both_are_closed_even_if_one_fails() -> None:
    closed = []

    class Closing(MemoryRemote):
        def close(self) -> None:
            closed.append(self)
            raise RemoteError("broken")

    with pytest.raises(RemoteError):
        NamespacedRemote(Closing(), Closing()).close()

    assert len(closed) == 2


def test_record_names_as_present_only_what_is_in_the_place_it_is_kept_in() -> None:
    trusted, own = MemoryRemote(), MemoryRemote()
    other = Digest.of(b"other")
    trusted.put(DIGEST, lambda: [b"content"])
    own.put(other, lambda: [b"other"])
    result = Result(Artifact("tree", DIGEST), (other,))

    # A registry refuses a manifest that names what it does not have, and REAPI servers give no such result.
    NamespacedRemote(trusted, own).keep(KEY, Record(result, (DIGEST, other)))

    assert own.records == {key_in("", KEY): Record(result, (other,))}
