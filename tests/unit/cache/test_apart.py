"""ApartStore: results of a namespace, kept where no other build finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.cache.apart import ApartStore, taken_by
from kitbuild.cache.directory import DirectoryStore, open_directory
from kitbuild.digest import Digest
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result

KEY, OTHER = Key("ab" * 32), Key("cd" * 32)


@pytest.fixture
def local(tmp_path: Path) -> DirectoryStore:
    return open_directory(tmp_path / "cache")


def result(text: bytes) -> Result:
    return Result(Artifact("blob", Digest.of(text)))


def test_result_of_a_namespace_is_found_in_it_alone(local: DirectoryStore) -> None:
    ApartStore(local, "pr-7").record(KEY, result(b"of the pull request"))

    assert ApartStore(local, "pr-7").results([KEY]) == [result(b"of the pull request")]
    assert ApartStore(local, "pr-8").results([KEY]) == [None]
    assert local.results([KEY]) == [None]


def test_trusted_result_counts_before_that_of_the_namespace(local: DirectoryStore) -> None:
    apart = ApartStore(local, "pr-7")
    apart.record(KEY, result(b"of the pull request"))
    apart.record(OTHER, result(b"other"))

    local.record(KEY, result(b"trusted"))

    assert apart.results([OTHER, KEY]) == [result(b"other"), result(b"trusted")]


def test_content_and_notes_are_shared(local: DirectoryStore) -> None:
    apart = ApartStore(local, "pr-7")
    with apart.writer() as writer:
        writer.write(b"content")
        digest = writer.commit()
    apart.keep("stat", "name", b"note")

    assert local.path(digest).read_bytes() == b"content"
    assert local.note("stat", "name") == b"note"
    assert apart.missing([digest, Digest.of(b"away")]) == {Digest.of(b"away")}


def test_new_results_are_trusted_where_nothing_is_to_be_kept_apart(local: DirectoryStore) -> None:
    ApartStore(local, "pr-7").record(OTHER, result(b"of the pull request"))
    store = ApartStore(local, "pr-7", keeps_apart=False)

    store.record(KEY, result(b"made here"))

    assert local.results([KEY, OTHER]) == [result(b"made here"), None]
    assert store.results([KEY, OTHER]) == [result(b"made here"), result(b"of the pull request")]


def test_what_is_taken_is_apart_for_every_set_of_trusted_keys() -> None:
    names = [taken_by(keys) for keys in ((), ("a",), ("b",), ("a", "b"))]

    assert len(set(names)) == 4
    assert taken_by(("b", "a", "a")) == taken_by(("a", "b"))
    # No namespace of a user's has a space in it.
    assert all(" " in name for name in names)
