"""EROFS images as erofs-utils and the kernel read them: every entry of the tree, as it was."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitbuild.digest import Digest
from kitbuild.extents import Slice
from kitbuild.rules.format import erofs
from kitbuild.system import MTIME
from kitbuild.tree import Entry, Kind
from tests.support.registry import tool
from tests.support.trees import Bench

pytestmark = pytest.mark.integration

BENCH = Bench()
_SIZES = (0, 1, 4000, 4032, 4064, 4065, 4095, 4096, 4097, 8192, 100_000)
_ONE_OF_MANY = BENCH.slice(b"one of many")
_KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}
ENTRIES = [
    Entry("", "directory", 0o751, 1, 2, 3 * 10**9),
    *(
        Entry(
            f"files/{size}-{mtime}",
            "file",
            0o640,
            size,
            70_000,
            mtime,
            BENCH.slice(bytes(index % 251 for index in range(size))),
        )
        for size in _SIZES
        for mtime in (MTIME, 1_000_000_007)
    ),
    Entry("files", "directory", 0o755, mtime=MTIME),
    Entry("files/suid", "file", 0o4755, content=BENCH.slice(b"suid")),
    Entry("files/link", "hardlink", 0o640, target="files/8192-1000000007"),
    Entry(
        "capable",
        "file",
        0o755,
        content=BENCH.slice(b"capable"),
        xattrs=(
            ("security.capability", bytes.fromhex("0100000200200000" + "00" * 12)),
            ("trusted.of", bytes(range(200)) * 30),
            ("user.empty", b""),
        ),
    ),
    Entry("many", "directory", 0o1777, mtime=-1),
    *(Entry(f"many/{index:05}", "file", 0o600, 0, 0, MTIME, _ONE_OF_MANY) for index in range(20_000)),
    *(Entry(f"{letter * 255}", "fifo", 0o600, 7, 8, MTIME) for letter in "ab"),
    Entry("bytes-\udcff", "symlink", 0o777, 7, 8, MTIME, target="to/\udcfe"),
    Entry("long", "symlink", 0o777, mtime=5, target="x" * 4090),
    Entry("null", "char", 0o666, mtime=MTIME, device=(1, 3)),
    Entry("disk", "block", 0o660, mtime=5, device=(259, 70_000)),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("erofs") / "image"
    path.write_bytes(BENCH.bytes_of(BENCH.run(erofs.RULE, erofs.ErofsOptions(), tree=BENCH.put(ENTRIES))))
    return path


@pytest.fixture
def mounted(image: Path, tmp_path: Path) -> Iterator[Path]:
    """Where the kernel shows the image, if it lets us."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    command = ["mount", "-t", "erofs", "-o", "ro,loop", str(image), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def read(folder: Path) -> dict[str, Entry]:
    """What lies in a folder, without hard links: every name as an entry of its own."""
    found = {}
    paths = [folder, *(Path(at) / name for at, folders, files in os.walk(folder) for name in folders + files)]
    for path in paths:
        status = path.lstat()
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        name = "" if path == folder else str(path.relative_to(folder))
        entry = Entry(name, kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        if kind == "file":
            content = Digest.of(path.read_bytes())
            entry = entry._replace(content=Slice(content, 0, content.size) if content.size else None)
        elif kind == "symlink":
            entry = entry._replace(target=os.readlink(path))  # noqa: PTH115
        elif kind in ("char", "block"):
            entry = entry._replace(device=(os.major(status.st_rdev), os.minor(status.st_rdev)))
        found[name] = entry
    return found


def expected() -> dict[str, Entry]:
    """The same of the tree."""
    by_path = {entry.path: entry for entry in ENTRIES}
    return {
        path: (by_path[entry.target] if entry.kind == "hardlink" else entry)._replace(
            path=path, mtime=0, xattrs=()
        )
        for path, entry in by_path.items()
    }


def test_checker_finds_nothing(image: Path) -> None:
    done = subprocess.run([tool("fsck.erofs"), str(image)], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


def test_superblock_says_what_mkfs_would(image: Path) -> None:
    shown = subprocess.run([tool("dump.erofs"), "-s", str(image)], capture_output=True, text=True, check=True)

    fields = {
        name: value.strip() for name, _, value in (line.partition(":") for line in shown.stdout.splitlines())
    }
    assert str(len(ENTRIES) - 1) == fields["Filesystem inode count"]
    assert str(image.stat().st_size // 4096) == fields["Filesystem blocks"]
    assert "sb_csum mtime" == fields["Filesystem features"]


def test_extracted_image_is_the_tree(image: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("owners and devices need root")

    subprocess.run(
        [tool("fsck.erofs"), f"--extract={tmp_path}/out", str(image)], capture_output=True, check=True
    )

    # It sets the owner last, which takes the suid bit away again; the kernel's view below has it.
    without_suid = {path: entry._replace(mode=entry.mode & 0o1777) for path, entry in expected().items()}
    assert without_suid == read(tmp_path / "out")


def test_kernel_shows_the_tree(mounted: Path) -> None:
    assert expected() == read(mounted)


def test_kernel_shows_times_links_and_attributes(mounted: Path) -> None:
    by_path = {entry.path: entry for entry in ENTRIES if entry.kind != "hardlink"}
    capable = mounted / "capable"

    times = {path: (mounted / path).lstat().st_mtime_ns for path in by_path}
    attributes = {name: os.getxattr(capable, name) for name in os.listxattr(capable)}

    assert {path: entry.mtime for path, entry in by_path.items()} == times
    assert dict(by_path["capable"].xattrs) == attributes
    first, second = (mounted / path for path in ("files/link", "files/8192-1000000007"))
    assert first.lstat().st_ino == second.lstat().st_ino
    assert 2 == first.lstat().st_nlink
    assert (4, 2) == (mounted.lstat().st_nlink, (mounted / "many").lstat().st_nlink)
