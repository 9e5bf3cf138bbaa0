"""Export: an artifact as a file of the user's."""

from __future__ import annotations

import errno
import io
import os
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from kitbuild import export as exporting
from kitbuild.cache.memory import MemoryStore
from kitbuild.digest import Digest
from kitbuild.errors import KitbuildError, MissingBlobError
from kitbuild.export import Written, extents_of, in_place, is_stream, write, write_whole
from kitbuild.extents import Extents, Literal, Part, Slice, Zeros
from kitbuild.rule import Artifact
from kitbuild.store import Result

MEBIBYTE = 1 << 20
LARGE = bytes(range(256)) * (3 * MEBIBYTE // 256) + b"end"


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return MemoryStore(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def export(artifact: Artifact, path: Path, *, store: MemoryStore, notes: MemoryStore) -> Written:
    return exporting.export(Result(artifact), path, store=store, notes=notes)


def put(store: MemoryStore, content: bytes) -> Digest:
    with store.writer() as writer:
        writer.write(content)
        return writer.commit()


def extents(store: MemoryStore, *parts: Part) -> Artifact:
    return Artifact("extents", put(store, Extents.of(parts).encode()))


def mixed(store: MemoryStore) -> tuple[list[Part], bytes]:
    """Parts of every kind, small and large, and the bytes they stand for."""
    large, small = put(store, LARGE), put(store, b"small content")
    parts: list[Part] = [
        Literal(b"head"),
        Slice(large, 5, 2 * MEBIBYTE + 7),
        Zeros(2 * MEBIBYTE + 3),
        Slice(small, 6, 7),
        Slice(large, 0, 10),
        Slice(large, 1, len(LARGE) - 1),
        Literal(b"tail"),
    ]
    content = b"".join(
        [
            b"head",
            LARGE[5 : 5 + 2 * MEBIBYTE + 7],
            bytes(2 * MEBIBYTE + 3),
            b"content",
            LARGE[:10],
            LARGE[1:],
            b"tail",
        ]
    )
    return parts, content


def test_file_has_the_bytes_its_extents_describe(store: MemoryStore, folder: Path) -> None:
    parts, content = mixed(store)

    written = export(extents(store, *parts), folder / "disk.img", store=store, notes=store)

    assert written == Written(folder / "disk.img", Digest.of(content), fresh=True)
    assert (folder / "disk.img").read_bytes() == content
    assert [path.name for path in folder.iterdir()] == ["disk.img"]


def test_blob_is_written_as_it_is(store: MemoryStore, folder: Path) -> None:
    artifact = Artifact("blob", put(store, b"content"))

    written = export(artifact, folder / "file", store=store, notes=store)

    assert written.digest == artifact.digest
    assert (folder / "file").read_bytes() == b"content"


def test_tree_is_no_file(store: MemoryStore) -> None:
    with pytest.raises(AssertionError, match="tree is not a file"):
        extents_of(Artifact("tree", Digest.of(b"")), store)


@pytest.mark.parametrize("copy_file_range", ["in full", "in part", "refused", "at its end"])
def test_bytes_are_the_same_whatever_the_kernel_can_copy(
    store: MemoryStore, folder: Path, monkeypatch: pytest.MonkeyPatch, copy_file_range: str
) -> None:
    real, calls = os.copy_file_range, []

    def limited(source: int, target: int, count: int, offset: int) -> int:
        calls.append(count)
        if copy_file_range == "refused" or (copy_file_range == "in part" and len(calls) % 2 == 0):
            raise OSError(errno.EXDEV, "other file system")
        if copy_file_range == "at its end":
            return 0
        return real(source, target, min(count, 300_000), offset)

    monkeypatch.setattr("os.copy_file_range", limited)
    parts, content = mixed(store)

    written = export(extents(store, *parts), folder / "file", store=store, notes=store)

    assert calls
    assert (folder / "file").read_bytes() == content
    assert written.digest == Digest.of(content)


def test_stream_gets_the_same_bytes(store: MemoryStore) -> None:
    parts, content = mixed(store)
    reading, writing = os.pipe()
    received = []

    def receive() -> None:
        with os.fdopen(reading, "rb") as stream:
            received.append(stream.read())

    receiver = threading.Thread(target=receive)
    receiver.start()
    with os.fdopen(writing, "wb") as out:
        digest = write(Extents.of(parts), out, store)
    receiver.join()

    assert digest == Digest.of(content)
    assert received == [content]


def test_more_blobs_than_may_be_open_are_written(store: MemoryStore, folder: Path) -> None:
    blobs = [put(store, b"%d," % number) for number in range(200)]
    parts = [Slice(blob, 0, blob.size) for blob in blobs * 2]

    before = len(list(Path("/proc/self/fd").iterdir()))
    export(extents(store, *parts), folder / "file", store=store, notes=store)
    after = len(list(Path("/proc/self/fd").iterdir()))

    assert (folder / "file").read_bytes() == b"".join(b"%d," % number for number in range(200)) * 2
    assert after == before


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_mode_is_what_the_umask_leaves(store: MemoryStore, folder: Path, umask: int, mode: int) -> None:
    artifact = Artifact("blob", put(store, b"content"))

    before = os.umask(umask)
    try:
        export(artifact, folder / "file", store=store, notes=store)
    finally:
        os.umask(before)

    assert stat.S_IMODE((folder / "file").stat().st_mode) == mode


# -- what is there already


def test_file_that_is_there_is_not_written_again(store: MemoryStore, folder: Path) -> None:
    artifact = Artifact("blob", put(store, b"content"))
    first = export(artifact, folder / "file", store=store, notes=store)
    before = (folder / "file").stat()

    second = export(artifact, folder / "file", store=store, notes=store)

    assert second == first._replace(fresh=False)
    assert (folder / "file").stat() == before
    assert in_place(folder / "file", artifact, store) == artifact.digest


@pytest.mark.parametrize("change", ["content", "time", "removed", "replaced", "other artifact"])
def test_file_that_is_not_what_was_written_is_written_again(
    store: MemoryStore, folder: Path, change: str
) -> None:
    artifact, path = Artifact("blob", put(store, b"content")), folder / "file"
    export(artifact, path, store=store, notes=store)
    if change == "content":
        path.write_bytes(b"CONTENT")
    elif change == "time":
        os.utime(path, ns=(1, 1))
    elif change == "removed":
        path.unlink()
    elif change == "replaced":
        (folder / "new").write_bytes(b"content")
        (folder / "new").rename(path)
    else:
        artifact = Artifact("blob", put(store, b"another"))

    assert in_place(path, artifact, store) is None
    assert export(artifact, path, store=store, notes=store).fresh
    assert path.read_bytes() == store.path(artifact.digest).read_bytes()


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b"\xff", b'{"artifact": 1, "stat": [], "sha256": ""}'])
def test_damaged_note_counts_as_none(store: MemoryStore, folder: Path, note: bytes) -> None:
    artifact = Artifact("blob", put(store, b"content"))
    export(artifact, folder / "file", store=store, notes=store)
    store.keep("output", str(folder / "file"), note)

    assert in_place(folder / "file", artifact, store) is None


def test_file_that_another_build_puts_there_meanwhile_is_not_taken_for_ours(
    store: MemoryStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = Artifact("blob", put(store, b"ours"))
    real = Path.replace

    def overtaken(temporary: Path, target: Path) -> None:
        real(temporary, target)
        (folder / "another").write_bytes(b"else")
        real(folder / "another", target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", overtaken)
        export(artifact, folder / "file", store=store, notes=store)

    assert in_place(folder / "file", artifact, store) is None


def test_older_file_is_replaced_at_once(store: MemoryStore, folder: Path) -> None:
    (folder / "file").write_bytes(b"old")
    (folder / "link").hardlink_to(folder / "file")

    export(Artifact("blob", put(store, b"new")), folder / "file", store=store, notes=store)

    assert (folder / "file").read_bytes() == b"new"
    assert (folder / "link").read_bytes() == b"old"  # it was never written into


def test_name_as_long_as_a_name_can_be_is_written(store: MemoryStore, folder: Path) -> None:
    written = export(Artifact("blob", put(store, b"x")), folder / ("n" * 255), store=store, notes=store)

    assert written.path.read_bytes() == b"x"


def test_what_is_no_file_is_written_to_where_it_is(store: MemoryStore, folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    received = []
    reader = threading.Thread(target=lambda: received.append((folder / "fifo").read_bytes()))
    reader.start()

    written = export(Artifact("blob", put(store, b"content")), folder / "fifo", store=store, notes=store)
    reader.join()

    assert received == [b"content"]
    assert written == Written(folder / "fifo", Digest.of(b"content"), fresh=True)
    assert stat.S_ISFIFO((folder / "fifo").stat().st_mode)


def test_socket_is_not_replaced(store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")

        with pytest.raises(KitbuildError, match="cannot write to `socket`"):
            export(Artifact("blob", put(store, b"x")), Path("socket"), store=store, notes=store)

    assert stat.S_ISSOCK(Path("socket").stat().st_mode)


def test_full_device_is_an_error(store: MemoryStore) -> None:
    with pytest.raises(KitbuildError, match="cannot write to `/dev/full`: No space left on device"):
        export(Artifact("blob", put(store, b"x")), Path("/dev/full"), store=store, notes=store)


# -- what goes wrong


@pytest.mark.parametrize("lost", ["extents", "blob"])
def test_lost_content_is_missing_and_the_old_file_stays(store: MemoryStore, folder: Path, lost: str) -> None:
    blob = put(store, b"content")
    artifact = extents(store, Literal(b"head"), Slice(blob, 0, 7))
    (folder / "file").write_bytes(b"old")
    store.path(blob if lost == "blob" else artifact.digest).unlink()

    with pytest.raises(MissingBlobError):
        export(artifact, folder / "file", store=store, notes=store)

    assert (folder / "file").read_bytes() == b"old"
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("size", [10, len(LARGE)], ids=["small", "large"])
def test_blob_that_vanishes_or_shrinks_while_it_is_written_is_missing(
    tmp_path: Path, folder: Path, size: int
) -> None:
    class Shrinking(MemoryStore):
        def path(self, digest: Digest) -> Path:
            path = super().path(digest)
            path.chmod(0o600)
            os.truncate(path, digest.size - 1)
            return path

    class Vanishing(MemoryStore):
        def path(self, digest: Digest) -> Path:
            path = super().path(digest)
            path.unlink()
            return path

    for kind in (Shrinking, Vanishing):
        store = kind(tmp_path / kind.__name__)
        artifact = Artifact("blob", put(store, LARGE[:size]))

        with pytest.raises(MissingBlobError):
            export(artifact, folder / "file", store=store, notes=store)

    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("fault", ["shrinks", "unreadable"])
def test_blob_that_fails_after_the_kernel_copied_it_is_an_error(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, folder: Path, fault: str
) -> None:
    real = os.pread

    def broken(descriptor: int, size: int, offset: int) -> bytes:
        if fault == "unreadable":
            raise OSError(errno.EIO, "Input/output error")
        return b"" if offset else real(descriptor, size, offset)

    monkeypatch.setattr("os.pread", broken)
    artifact = Artifact("blob", put(store, LARGE))

    with pytest.raises(KitbuildError, match=r"shorter while it was written|Input/output error"):
        export(artifact, folder / "file", store=store, notes=store)

    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOENT, "make the folder first: mkdir -p {folder}"),
        (errno.ENOSPC, "free some space there, or choose another folder with `--dir`"),
        (errno.EDQUOT, "free some space there, or choose another folder with `--dir`"),
        (errno.EACCES, "choose a folder you may write to with `--dir`"),
        (errno.EROFS, "choose a folder you may write to with `--dir`"),
        (errno.EIO, None),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
def test_folder_that_refuses_is_an_error_with_a_hint(
    store: MemoryStore, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str | None
) -> None:
    def refused(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", refused)

    with pytest.raises(KitbuildError) as raised:
        export(Artifact("blob", put(store, b"x")), folder / "file", store=store, notes=store)

    assert raised.value.message == f"cannot write `{folder}/file`: {os.strerror(number)}"
    assert raised.value.hint == (hint and hint.format(folder=folder))
    assert list(folder.iterdir()) == []


def test_folder_that_is_not_there_is_an_error(store: MemoryStore, folder: Path) -> None:
    with pytest.raises(KitbuildError, match="No such file or directory") as raised:
        export(Artifact("blob", put(store, b"x")), folder / "no" / "file", store=store, notes=store)

    assert raised.value.hint == f"make the folder first: mkdir -p {folder}/no"


def test_interrupt_while_writing_leaves_the_old_file(
    store: MemoryStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    (folder / "file").write_bytes(b"old")
    monkeypatch.setattr("os.copy_file_range", interrupted)

    with pytest.raises(KeyboardInterrupt):
        export(Artifact("blob", put(store, LARGE)), folder / "file", store=store, notes=store)

    assert (folder / "file").read_bytes() == b"old"
    assert len(list(folder.iterdir())) == 1


def test_writing_into_memory_needs_no_file_at_all(store: MemoryStore) -> None:
    out = io.BytesIO()

    digest = write(Extents.of([Literal(b"a"), Zeros(3)]), out, store)

    assert out.getvalue() == b"a\0\0\0"
    assert digest == Digest.of(b"a\0\0\0")


def test_hash_that_cannot_go_on_is_an_error_and_no_file(
    store: MemoryStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitbuild.export._STEP_BYTES", MEBIBYTE)
    artifact = extents(store, Slice(put(store, LARGE), 0, 3 * MEBIBYTE))
    real, calls = os.dup, []

    def dup(descriptor: int) -> int:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.EMFILE, "too many open files")
        return real(descriptor)

    monkeypatch.setattr("os.dup", dup)

    with pytest.raises(KitbuildError, match="too many open files"):
        export(artifact, folder / "out", store=store, notes=store)

    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "order", [["zeros", "text"], ["text", "zeros"], ["zeros"], ["text", "zeros", "text", "zeros", "large"]]
)
def test_runs_of_zeros_become_holes_that_read_as_zeros(
    store: MemoryStore, folder: Path, order: list[str]
) -> None:
    large = put(store, LARGE)
    kinds: dict[str, tuple[Part, bytes]] = {
        "zeros": (Zeros(8 * MEBIBYTE + 5), bytes(8 * MEBIBYTE + 5)),
        "text": (Literal(b"text"), b"text"),
        "large": (Slice(large, 1, 2 * MEBIBYTE), LARGE[1 : 2 * MEBIBYTE + 1]),
    }
    artifact = extents(store, *(kinds[kind][0] for kind in order))
    expected = b"".join(kinds[kind][1] for kind in order)

    written = export(artifact, folder / "out", store=store, notes=store)

    assert expected == (folder / "out").read_bytes()
    assert Digest.of(expected) == written.digest
    assert (folder / "out").stat().st_blocks * 512 <= len(expected) - 8 * MEBIBYTE + 65536


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/stderr", "/dev/null", "/dev/fd/2"])
def test_nothing_in_dev_is_ever_replaced(name: str) -> None:
    assert is_stream(Path(name))


def test_small_file_is_replaced_as_a_whole_and_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "other").hardlink_to(tmp_path / "file")
    (tmp_path / "link").symlink_to("file")

    write_whole(tmp_path / "file", b"new")
    write_whole(tmp_path / "link", b"newer")

    assert (tmp_path / "other").read_text() == "old"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "newer"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "other", "link"}
