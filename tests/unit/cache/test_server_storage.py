from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.cache.action_result import blob_digest
from kitbuild.cache.reapi_messages import ActionResult, OutputFile
from kitbuild.cache.server_storage import Name, Storage
from kitbuild.cache.server_uploads import Upload
from kitbuild.digest import Digest
from kitbuild.errors import StoreError

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param(f"/ac/{HEX}", Name("", "ac", HEX), id="result"),
        pytest.param(f"/cas/{HEX}", Name("", "cas", HEX), id="content"),
        pytest.param(f"/pr-1/ac/{HEX}", Name("pr-1", "ac", HEX), id="namespace"),
        pytest.param(f"/team/pr-1/cas/{HEX}", Name("team/pr-1", "cas", HEX), id="namespace-of-parts"),
        pytest.param(f"/acme/ac/{HEX}", Name("acme", "ac", HEX), id="namespace-that-begins-with-ac"),
        pytest.param(f"/a/b/c/d/e/ac/{HEX}", None, id="too-many-parts"),
        pytest.param(f"/ac/ac/{HEX}", None, id="namespace-ac"),
        pytest.param(f"/x/cas/ac/{HEX}", None, id="namespace-of-part-cas"),
        pytest.param(f"/../ac/{HEX}", None, id="parent"),
        pytest.param(f"/x/../ac/{HEX}", None, id="parent-inside"),
        pytest.param(f"/./ac/{HEX}", None, id="dot"),
        pytest.param(f"//ac/{HEX}", None, id="nothing"),
        pytest.param(f"/%2e%2e/ac/{HEX}", None, id="escaped"),
        pytest.param(f"/x y/ac/{HEX}", None, id="space"),
        pytest.param(f"/{'x' * 101}/ac/{HEX}", None, id="long"),
        pytest.param(f"/ac/{HEX.upper()}", None, id="upper-case"),
        pytest.param(f"/ac/{HEX[:-1]}", None, id="short"),
        pytest.param(f"/ac/{HEX}0", None, id="longer"),
        pytest.param(f"/ac/{HEX}/", None, id="slash-behind"),
        pytest.param(f"/ac/{HEX}\n", None, id="newline-behind"),
        pytest.param(f"ac/{HEX}", None, id="no-slash-before"),
        pytest.param("/cas/../../etc/passwd", None, id="traversal"),
        pytest.param("/", None, id="root"),
    ],
)
def test_path_of_a_url(path: str, name: Name | None) -> None:
    assert name == Name.parse(path)


parts = st.lists(st.sampled_from([*"acx./-%0", "ac", "cas", "..", HEX]), max_size=12).map("".join)


@given(st.one_of(parts.map(lambda text: f"/{text}/ac/{HEX}"), parts))
def test_no_path_leads_out_of_the_folder(path: str) -> None:
    name = Name.parse(path)

    if name is not None:
        assert ".." not in name.namespace.split("/")
        assert Path(f"/folder/{name.namespace}").resolve().is_relative_to("/folder")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = Storage(tmp_path / "served")
    yield storage
    storage.close()


def name_of(content: bytes) -> Name:
    return Name("", "cas", Digest.of(content).hex)


def put(storage: Storage, content: bytes, name: Name | None = None) -> bool:
    upload = Upload(storage, name or name_of(content))
    try:
        upload.write(content)
        return upload.commit()
    finally:
        upload.close()


def files(storage: Storage) -> list[str]:
    return sorted(path.name for path in storage.folder.rglob("*") if path.is_file())


def test_content_gets_its_name(storage: Storage) -> None:
    new = put(storage, b"hello")

    assert new
    assert b"hello" == Path(storage.path(name_of(b"hello"))).read_bytes()
    assert [name_of(b"hello").hex, "server.lock"] == files(storage)


def test_content_that_was_there_is_not_new_and_counts_once(storage: Storage) -> None:
    put(storage, b"hello")

    new = put(storage, b"hello")

    assert not new
    assert (4096, 1) == (storage.bytes, storage.counts["cas"])


def test_wrong_content_is_refused_and_leaves_nothing(storage: Storage) -> None:
    with pytest.raises(ValueError, match=r"^expected content with the sha256 .{64}, got .{64}$"):
        put(storage, b"hello", name_of(b"other"))

    assert ["server.lock"] == files(storage)
    assert 0 == storage.bytes


def test_upload_that_is_closed_early_leaves_nothing(storage: Storage) -> None:
    upload = Upload(storage, name_of(b"hello"))
    upload.write(b"hel")

    upload.close()

    assert ["server.lock"] == files(storage)


def test_results_of_namespaces_are_apart_and_content_is_not(storage: Storage) -> None:
    paths = {
        kind: {storage.path(Name(namespace, kind, HEX)) for namespace in ("", "one", "two")}
        for kind in ("ac", "cas")
    }

    assert 3 == len(paths["ac"])
    assert {f"{storage.folder}/cas/01/{HEX}"} == paths["cas"]


def test_what_a_killed_server_was_taking_in_is_removed(storage: Storage) -> None:
    put(storage, b"whole")
    storage.close()
    (storage.folder / "upload-0123").write_bytes(b"hel")

    Storage(storage.folder).close()

    assert [name_of(b"whole").hex, "server.lock"] == files(storage)


def test_folder_is_served_once_at_a_time(storage: Storage) -> None:
    with pytest.raises(StoreError, match=r"^another server uses the folder .*/served$"):
        Storage(storage.folder)

    storage.close()
    Storage(storage.folder).close()


def test_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="cannot be used"):
        Storage(tmp_path / "file" / "served")


def test_empty_files_and_links_are_not_there(storage: Storage, tmp_path: Path) -> None:
    empty, link = Path(storage.path(name_of(b"a"))), Path(storage.path(name_of(b"b")))
    for path in (empty, link):
        path.parent.mkdir(parents=True)
    empty.touch()
    link.symlink_to("/etc/passwd")

    assert [None, None] == [storage.status(str(path)) for path in (empty, link)]


def used(storage: Storage, path: str) -> float:
    status = storage.status(path)
    assert status
    return status.st_mtime


@pytest.mark.parametrize(
    ("ago", "written"),
    [
        pytest.param(30, False, id="just-now"),
        pytest.param(90, True, id="a-while-ago"),
        pytest.param(-3600, True, id="in-the-future"),
    ],
)
def test_use_is_written_down_unless_there_was_one_just_before(
    storage: Storage, ago: float, written: bool
) -> None:
    put(storage, b"hello")
    path = storage.path(name_of(b"hello"))
    before = time.time() - ago
    os.utime(path, (before, before))
    status = storage.status(path)
    assert status

    storage.touch(path, status)

    assert written == (abs(used(storage, path) - before) > 1)


def test_uses_are_remembered_while_something_asks_for_them(storage: Storage) -> None:
    put(storage, b"before")
    storage.used = set()
    put(storage, b"uploaded")
    path = storage.path(name_of(b"before"))
    status = storage.status(path)
    assert status

    storage.touch(path, status)

    assert {path, storage.path(name_of(b"uploaded"))} == storage.used


def result(*digests: Digest) -> bytes:
    return ActionResult(
        output_files=tuple(OutputFile(digest=blob_digest(digest)) for digest in digests)
    ).encode()


def test_files_of_a_whole_result_are_found(storage: Storage) -> None:
    put(storage, b"one")

    found = storage.found(result(Digest.of(b"one"), Digest.of(b"")))

    assert [storage.path(name_of(b"one"))] == [path for path, _ in found or ()]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Digest.of(b"two"), id="gone"),
        pytest.param(Digest(Digest.of(b"one").hex, 4), id="other-size"),
        pytest.param(Digest(Digest.of(b"one").hex, 0), id="no-size"),
    ],
)
def test_result_of_which_something_is_gone_has_no_files(storage: Storage, other: Digest) -> None:
    put(storage, b"one")

    assert storage.found(result(Digest.of(b"one"), other)) is None


def test_removed_file_counts_no_more(storage: Storage) -> None:
    put(storage, b"one")
    path = storage.path(name_of(b"one"))

    removed = [storage.remove(path, "cas", 4096) for _ in range(2)]

    assert [True, False] == removed
    assert (0, 0) == (storage.bytes, storage.counts["cas"])
