from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kitbuild.cache.folder import FolderRemote, open_remote
from kitbuild.cache.remote import MOST_RECORD_BYTES, NO_ACCESS, Record
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError, UsageError
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result

KEY = Key("ab" * 32)
DIGEST = Digest.of(b"content")


@pytest.fixture
def remote(tmp_path: Path) -> FolderRemote:
    return FolderRemote(tmp_path / "cache")


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:///srv/cache", "/srv/cache"),
        ("file://localhost/srv/cache", "/srv/cache"),
        ("file:///srv/my%20cache%25", "/srv/my cache%"),
        ("file:///srv/caché", "/srv/caché"),
        ("file:///srv/cach%C3%A9", "/srv/caché"),
        ("file:///srv/cache/", "/srv/cache"),
    ],
)
def test_url_names_a_folder(url: str, folder: str) -> None:
    assert Path(folder) == open_remote(url, NO_ACCESS).folder


@settings(deadline=None)
@given(
    some.lists(some.text(some.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
)
def test_every_folder_has_a_url(parts: list[str]) -> None:
    folder = Path("/", *parts)

    assert folder == open_remote(f"file://{quote(str(folder))}", NO_ACCESS).folder


@pytest.mark.parametrize(
    "url",
    [
        "file://srv/cache",
        "file://",
        "file://host",
        "file:///a?b",
        "file:///a#b",
        "file:///a%2",
        "file:///%00",
    ],
)
def test_url_that_names_no_folder_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="expected a remote cache such as `file:///srv/cache`") as caught:
        open_remote(url, NO_ACCESS)

    assert caught.value.hint


def test_opening_touches_nothing(tmp_path: Path) -> None:
    open_remote(f"file://{tmp_path}/no/such/folder", NO_ACCESS)

    assert list(tmp_path.iterdir()) == []


def test_layout_is_that_of_bazels_disk_cache(remote: FolderRemote) -> None:
    remote.put(DIGEST, lambda: [b"content"])
    remote.keep_raw(KEY, b"record")

    files = {str(path.relative_to(remote.folder)) for path in remote.folder.rglob("*") if path.is_file()}
    assert {f"cas/{DIGEST.hex[:2]}/{DIGEST.hex}", f"ac/ab/{KEY.hex}"} == files


def test_record_of_another_tool_is_kept_and_given_as_it_is(remote: FolderRemote) -> None:
    remote.keep_raw(KEY, b"\x0a\x03a/b")

    assert remote.raw_record(KEY) == b"\x0a\x03a/b"
    assert remote.record(KEY) is None


def test_record_that_is_too_large_is_none(remote: FolderRemote) -> None:
    remote.keep_raw(KEY, bytes(MOST_RECORD_BYTES + 1))

    assert remote.raw_record(KEY) is None


def test_record_cut_short_is_none(remote: FolderRemote) -> None:
    remote.keep(KEY, Record(Result(Artifact("blob", DIGEST)), (DIGEST,)))
    path = remote.files.path("ac", KEY.hex)
    path.write_bytes(path.read_bytes()[:-5])

    assert remote.record(KEY) is None


@pytest.mark.parametrize("content", [b"cont", b"contents", b""])
def test_content_of_another_size_is_missing(remote: FolderRemote, content: bytes) -> None:
    remote.put(DIGEST, lambda: [b"content"])
    remote.files.path("cas", DIGEST.hex).write_bytes(content)

    assert {DIGEST} == remote.missing([DIGEST])
    with pytest.raises(MissingBlobError):
        next(remote.get(DIGEST))


@pytest.mark.parametrize("content", [b"cont", b"contents"])
def test_content_of_another_size_is_not_kept(remote: FolderRemote, content: bytes) -> None:
    with pytest.raises(RemoteError, match="expected 7 bytes"):
        remote.put(DIGEST, lambda: [content])

    assert {DIGEST} == remote.missing([DIGEST])


def test_put_mends_damaged_content(remote: FolderRemote) -> None:
    remote.put(DIGEST, lambda: [b"content"])
    remote.files.path("cas", DIGEST.hex).write_bytes(b"tnetnoc")

    remote.put(DIGEST, lambda: [b"content"])

    assert list(remote.get(DIGEST)) == [b"content"]
