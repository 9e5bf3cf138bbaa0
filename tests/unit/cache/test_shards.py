from __future__ import annotations

import os
import resource
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kitbuild.cache.shards import FileShards
from kitbuild.errors import RemoteError

NAME = "ab" + "c" * 62


@pytest.fixture
def shards(tmp_path: Path) -> FileShards:
    return FileShards(tmp_path / "cache")


def write(shards: FileShards, content: bytes, name: str = NAME) -> Path:
    with shards.writer("cas") as writer:
        writer.write(content)
        writer.commit(name)
    return shards.path("cas", name)


def read(shards: FileShards, name: str = NAME) -> bytes | None:
    file = shards.open("cas", name)
    if file is None:
        return None
    with file:
        return file.read()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_files() -> set[str]:
    return {f"{path.name} {path.readlink()}" for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_file_lies_under_the_first_two_digits_of_its_name(shards: FileShards, tmp_path: Path) -> None:
    path = write(shards, b"content")

    assert tmp_path / "cache" / "cas" / "ab" / NAME == path
    assert path.read_bytes() == b"content"
    assert read(shards) == b"content"
    assert shards.size("cas", NAME) == 7


def test_file_that_is_not_there_has_no_size(shards: FileShards) -> None:
    assert shards.size("cas", NAME) is None
    assert read(shards) is None


def test_reading_makes_no_folder(shards: FileShards) -> None:
    shards.size("cas", NAME)
    read(shards)

    assert not shards.folder.exists()


def test_file_is_not_there_before_it_is_committed(shards: FileShards) -> None:
    with shards.writer("cas") as writer:
        writer.write(b"content")
        before = read(shards)
        writer.commit(NAME)

    assert before is None
    assert list((shards.folder / "tmp").iterdir()) == []


def test_file_that_is_not_committed_vanishes(shards: FileShards) -> None:
    with pytest.raises(ZeroDivisionError), shards.writer("cas") as writer:
        writer.write(b"content")
        raise ZeroDivisionError

    assert read(shards) is None
    assert list((shards.folder / "tmp").iterdir()) == []


def test_later_file_replaces_an_earlier_one(shards: FileShards) -> None:
    write(shards, b"earlier")

    write(shards, b"later")

    assert read(shards) == b"later"


def test_file_being_read_stays_what_it_was(shards: FileShards) -> None:
    write(shards, b"earlier")
    file = shards.open("cas", NAME)
    assert file is not None

    write(shards, b"later")

    with file:
        assert file.read() == b"earlier"


@pytest.mark.usefixtures("narrow_umask")
@pytest.mark.parametrize(
    ("of_folder", "of_shard", "of_file"),
    [
        pytest.param(0o2775, 0o2775, 0o664, id="group"),
        pytest.param(0o755, 0o755, 0o644, id="readable"),
        pytest.param(0o700, 0o700, 0o600, id="private"),
        pytest.param(0o777, 0o775, 0o664, id="everybody"),
    ],
)
def test_permissions_are_those_of_the_folder(
    shards: FileShards, of_folder: int, of_shard: int, of_file: int
) -> None:
    shards.folder.mkdir()
    shards.folder.chmod(of_folder)

    path = write(shards, b"content")

    assert of_file == mode(path)
    assert [of_shard] * 3 == [
        mode(folder) for folder in (path.parent, path.parent.parent, shards.folder / "tmp")
    ]


def test_folder_without_parent_is_a_lasting_failure(tmp_path: Path) -> None:
    shards = FileShards(tmp_path / "not" / "mounted" / "cache")

    with pytest.raises(RemoteError, match="expected a folder") as reading:
        shards.size("cas", NAME)
    with pytest.raises(RemoteError, match="expected a folder") as writing:
        write(shards, b"content")

    assert reading.value.lasting
    assert writing.value.lasting


def test_folder_of_a_namespace_is_made_in_a_cache_nobody_wrote_to(tmp_path: Path) -> None:
    shards = FileShards(tmp_path / "cache" / "namespace")

    before = shards.size("cas", NAME)
    write(shards, b"content")

    assert before is None
    assert read(shards) == b"content"


@pytest.mark.usefixtures("narrow_umask")
def test_folder_made_below_one_of_a_group_is_of_the_group(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)

    path = write(FileShards(tmp_path / "cache" / "namespace"), b"content")

    assert mode(path) == 0o660
    assert [0o2770] * 4 == [mode(folder) for folder in list(path.parents)[:4]]


def test_folder_may_be_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "cache").symlink_to("real")

    write(FileShards(tmp_path / "cache"), b"content")

    assert read(FileShards(tmp_path / "real")) == b"content"


def test_file_that_is_a_link_is_not_there(shards: FileShards, tmp_path: Path) -> None:
    path = write(shards, b"content")
    (tmp_path / "outside").write_bytes(b"outside")
    path.unlink()
    path.symlink_to(tmp_path / "outside")

    assert read(shards) is None
    assert shards.size("cas", NAME) is None


@pytest.mark.parametrize("linked", ["cas", "cas/ab"])
def test_folder_inside_that_is_a_link_is_not_followed(
    shards: FileShards, tmp_path: Path, linked: str
) -> None:
    outside = tmp_path / "outside"
    write(FileShards(outside), b"outside")
    place = shards.folder / linked
    place.parent.mkdir(parents=True)
    place.symlink_to(outside / linked)

    assert read(shards) is None
    assert shards.size("cas", NAME) is None
    with pytest.raises(RemoteError) as caught:
        write(shards, b"content")
    assert caught.value.writing
    assert (outside / "cas" / "ab" / NAME).read_bytes() == b"outside"


def test_temporary_folder_that_is_a_link_is_not_followed(shards: FileShards, tmp_path: Path) -> None:
    shards.folder.mkdir()
    (tmp_path / "outside").mkdir()
    (shards.folder / "tmp").symlink_to(tmp_path / "outside")

    with pytest.raises(RemoteError):
        write(shards, b"content")

    assert list((tmp_path / "outside").iterdir()) == []


def test_link_in_the_place_of_a_file_is_replaced_by_the_file(shards: FileShards, tmp_path: Path) -> None:
    path = write(shards, b"content")
    (tmp_path / "outside").write_bytes(b"outside")
    path.unlink()
    path.symlink_to(tmp_path / "outside")

    write(shards, b"content")

    assert read(shards) == b"content"
    assert (tmp_path / "outside").read_bytes() == b"outside"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_pipe_or_folder_is_no_file(shards: FileShards, make: Callable[[Path], None]) -> None:
    path = shards.path("cas", NAME)
    path.parent.mkdir(parents=True)
    make(path)

    assert read(shards) is None
    assert shards.size("cas", NAME) is None


def test_use_makes_an_old_file_fresh(shards: FileShards) -> None:
    path = write(shards, b"content")
    for use in (lambda: shards.size("cas", NAME), lambda: read(shards)):
        os.utime(path, (1000, 1000))

        use()

        assert path.stat().st_mtime > 1000


def test_use_within_the_hour_writes_nothing(shards: FileShards) -> None:
    path = write(shards, b"content")
    recent = path.stat().st_mtime - 1800
    os.utime(path, (recent, recent))

    shards.size("cas", NAME)
    read(shards)

    assert recent == path.stat().st_mtime


def test_leftovers_of_killed_processes_go_after_a_day(shards: FileShards) -> None:
    folder = shards.folder / "tmp"
    folder.mkdir(parents=True)
    old, young = folder / "old", folder / "young"
    for path, age in ((old, 25 * 3600), (young, 3600)):
        path.write_bytes(b"left")
        os.utime(path, (time.time() - age, time.time() - age))

    write(shards, b"content")

    assert [young] == list(folder.iterdir())


@pytest.mark.parametrize(
    ("number", "lasting"),
    [(13, True), (30, True), (28, True), (122, True), (5, False), (116, False)],
    ids=["no-permission", "read-only", "full", "quota", "broken", "stale"],
)
def test_failure_says_whether_asking_again_is_of_use(shards: FileShards, number: int, lasting: bool) -> None:
    error = shards.failure(OSError(number, os.strerror(number)), "written to")

    assert lasting == error.lasting
    assert error.writing
    assert f"{shards.folder} cannot be written to: {os.strerror(number)}" == error.message


def test_failed_reading_is_no_failure_of_writing(shards: FileShards) -> None:
    assert not shards.failure(OSError(5, "broken"), "read").writing


@pytest.fixture
def full_disk() -> Iterator[None]:
    """A limit on the size of files, which the system treats as it does a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
def test_file_for_which_there_is_no_space_vanishes(shards: FileShards) -> None:
    write(shards, b"earlier")

    with pytest.raises(RemoteError, match="cannot be written to") as caught:
        write(shards, bytes(1001))

    assert (caught.value.lasting, caught.value.writing) == (True, True)
    assert read(shards) == b"earlier"
    assert list((shards.folder / "tmp").iterdir()) == []


def test_name_that_is_taken_by_a_folder_is_a_failure_of_writing(shards: FileShards) -> None:
    shards.path("cas", NAME).mkdir(parents=True)

    with pytest.raises(RemoteError) as caught:
        write(shards, b"content")

    assert caught.value.writing
    assert list((shards.folder / "tmp").iterdir()) == []


def test_folder_that_is_a_file_is_a_lasting_failure(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    shards = FileShards(tmp_path / "cache")

    with pytest.raises(RemoteError) as caught:
        write(shards, b"content")

    assert (caught.value.lasting, caught.value.writing) == (True, True)
    assert read(shards) is None


def test_nothing_stays_open(shards: FileShards) -> None:
    before = open_files()

    write(shards, b"content")
    read(shards)
    shards.size("cas", "00" * 32)
    with pytest.raises(ZeroDivisionError), shards.writer("cas"):
        raise ZeroDivisionError

    assert before == open_files()
