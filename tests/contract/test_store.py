"""What every store promises, asked of every kind of store."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError
from kitbuild.node import Key
from kitbuild.rule import Artifact, ArtifactKind
from kitbuild.store import Result
from tests.contract.stores import STORES, StoreWithNotes

KEY = Key("ab" * 32)
OTHER_KEY = Key("cd" * 32)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StoreWithNotes:
    return STORES[request.param](tmp_path / "store")


def put(store: StoreWithNotes, content: bytes) -> Digest:
    with store.writer() as writer:
        writer.write(content)
        return writer.commit()


def found(store: StoreWithNotes, key: Key) -> Result | None:
    return store.results([key])[0]


def files_of(tmp_path: Path) -> list[bytes]:
    return [path.read_bytes() for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"x", b"some content\n" * 100_000], ids=["empty", "byte", "large"])
def test_committed_blob_is_a_file_with_its_content(store: StoreWithNotes, content: bytes) -> None:
    digest = put(store, content)

    assert digest == Digest.of(content)
    assert content == store.path(digest).read_bytes()


def test_blob_takes_pieces_of_bytes_and_memoryviews(store: StoreWithNotes) -> None:
    with store.writer() as writer:
        lengths = [writer.write(b"head"), writer.write(memoryview(b"xbodyx")[1:-1])]
        size = writer.size
        digest = writer.commit()

    assert lengths == [4, 4]
    assert size == 8
    assert store.path(digest).read_bytes() == b"headbody"


def test_blob_is_not_there_before_it_is_committed(store: StoreWithNotes) -> None:
    digest = Digest.of(b"content")

    with store.writer() as writer:
        writer.write(b"content")
        before = store.missing([digest])
        writer.commit()

    assert {digest} == before
    assert set() == store.missing([digest])


def test_blob_that_is_not_committed_leaves_nothing(store: StoreWithNotes, tmp_path: Path) -> None:
    with store.writer() as writer:
        writer.write(b"content")

    assert {Digest.of(b"content")} == store.missing([Digest.of(b"content")])
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_blob_whose_rule_failed_leaves_nothing(store: StoreWithNotes, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), store.writer() as writer:
        writer.write(b"content")
        raise ZeroDivisionError

    assert files_of(tmp_path) == []
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_blob_cannot_be_written_to(store: StoreWithNotes) -> None:
    digest = put(store, b"content")

    assert store.path(digest).stat().st_mode & 0o777 == 0o444


def test_same_content_twice_is_one_blob(store: StoreWithNotes, tmp_path: Path) -> None:
    first = put(store, b"content")
    second = put(store, b"content")

    assert first == second
    assert files_of(tmp_path) == [b"content"]


def test_commit_over_a_damaged_blob_mends_it(store: StoreWithNotes) -> None:
    path = store.path(put(store, b"content"))
    path.unlink()
    path.write_bytes(b"tnetnoc")

    digest = put(store, b"content")

    assert store.path(digest).read_bytes() == b"content"


def test_path_of_a_missing_blob_is_a_missing_blob_error(store: StoreWithNotes) -> None:
    with pytest.raises(MissingBlobError, match=f"{Digest.of(b'content').oci} is not in the cache"):
        store.path(Digest.of(b"content"))


def test_blob_of_another_size_is_missing(store: StoreWithNotes) -> None:
    path = store.path(put(store, b"content"))
    path.unlink()
    path.write_bytes(b"cont")

    missing = store.missing([Digest.of(b"content")])

    assert {Digest.of(b"content")} == missing
    with pytest.raises(MissingBlobError):
        store.path(Digest.of(b"content"))


def test_missing_names_only_what_is_not_there(store: StoreWithNotes) -> None:
    here = put(store, b"here")
    away = Digest.of(b"away")

    assert {away} == store.missing([here, away])


@pytest.mark.parametrize("kind", ["blob", "tree", "extents"])
def test_recorded_result_comes_back_equal(store: StoreWithNotes, kind: ArtifactKind) -> None:
    blobs = tuple(put(store, content) for content in (b"one", b"two"))
    result = Result(Artifact(kind, put(store, b"artifact")), blobs, 0.1 + 0.2)

    store.record(KEY, result)

    assert result == found(store, KEY)


def test_unknown_key_has_no_result(store: StoreWithNotes) -> None:
    store.record(KEY, Result(Artifact("blob", put(store, b"content"))))

    assert found(store, OTHER_KEY) is None


def test_results_come_in_the_order_of_their_keys(store: StoreWithNotes) -> None:
    one, two = (Result(Artifact("blob", put(store, content))) for content in (b"one", b"two"))
    store.record(KEY, one)
    store.record(OTHER_KEY, two)

    assert [two, None, one] == store.results([OTHER_KEY, Key("ef" * 32), KEY])


def test_denser_form_of_a_result_comes_back(store: StoreWithNotes) -> None:
    dense = (put(store, b"recipe"), put(store, b"blob"))
    result = Result(Artifact("extents", put(store, b"artifact")), (put(store, b"large"),), 1.5, dense)

    store.record(KEY, result)

    assert result == found(store, KEY)


def test_content_here_is_at_no_distance_and_other_content_out_of_reach(store: StoreWithNotes) -> None:
    here, away = put(store, b"here"), Digest.of(b"away")

    assert store.distance([here]) == 0.0
    assert store.distance([here, away]) == float("inf")


def test_fetch_names_what_could_not_be_had(store: StoreWithNotes) -> None:
    here, away = put(store, b"here"), Digest.of(b"away")

    assert {away} == store.fetch([here, away])


def test_later_record_replaces_an_earlier_one(store: StoreWithNotes) -> None:
    later = Result(Artifact("blob", put(store, b"later")))
    store.record(KEY, Result(Artifact("blob", put(store, b"earlier"))))

    store.record(KEY, later)

    assert later == found(store, KEY)


def test_result_of_a_thousand_blobs_comes_back_equal(store: StoreWithNotes) -> None:
    blobs = tuple(Digest.of(b"%d" % number) for number in range(1000))
    result = Result(Artifact("tree", put(store, b"tree")), blobs)

    store.record(KEY, result)

    assert result == found(store, KEY)


def test_use_of_a_result_makes_old_content_fresh(store: StoreWithNotes) -> None:
    digest = put(store, b"content")
    store.record(KEY, Result(Artifact("blob", digest)))
    path = store.path(digest)
    os.utime(path, (1000, 1000))

    found(store, KEY)
    store.missing([digest])

    assert path.stat().st_mtime > 1000


def test_use_within_the_hour_writes_nothing(store: StoreWithNotes) -> None:
    digest = put(store, b"content")
    store.record(KEY, Result(Artifact("blob", digest)))
    path = store.path(digest)
    recent = path.stat().st_mtime - 1800
    os.utime(path, (recent, recent))

    found(store, KEY)
    store.missing([digest])

    assert recent == path.stat().st_mtime


def test_note_comes_back_as_it_was_kept(store: StoreWithNotes) -> None:
    store.keep("stat", "a:b/c d\n", b"\x00\xff")
    store.keep("image", "a:b/c d\n", b"")

    assert store.note("stat", "a:b/c d\n") == b"\x00\xff"
    assert store.note("image", "a:b/c d\n") == b""
    assert store.note("node", "a:b/c d\n") is None


def test_kept_note_replaces_an_earlier_one(store: StoreWithNotes) -> None:
    store.keep("stat", "name", b"earlier")

    store.keep("stat", "name", b"later")

    assert store.note("stat", "name") == b"later"


def test_threads_share_a_store(store: StoreWithNotes) -> None:
    def build(number: int) -> Result | None:
        key = Key(f"{number % 20:064x}")
        digest = put(store, b"%d" % (number % 20))
        store.record(key, Result(Artifact("blob", digest)))
        store.keep("node", str(number), b"%d" % number)
        return found(store, key)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(build, range(80)))

    assert [Result(Artifact("blob", Digest.of(b"%d" % (number % 20)))) for number in range(80)] == results
    assert [b"%d" % number for number in range(80)] == [
        store.note("node", str(number)) for number in range(80)
    ]
