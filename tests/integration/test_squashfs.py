"""squashfs images as unsquashfs and the kernel read them: every entry of the tree, with all it has."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitbuild.extents import Extents, Slice
from kitbuild.rules.format import members, squashfs, squashfs_data
from kitbuild.system import MTIME, Compression
from kitbuild.tree import Entry, Kind
from tests.support.command import Site
from tests.support.registry import tool
from tests.support.squashfs import Squashfs
from tests.support.trees import Bench
from tests.support.whole_trees import whole_trees

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and owners, and mounts"),
]

COMPRESSIONS: list[Compression] = ["gzip", "zstd", "none"]
BLOCK = 1 << 17
BENCH = Bench()
NOISE = random.Random(3).randbytes(3 * BLOCK)
TEXT = b"some text that is found again and again\n" * 10_000
CONTENTS = [
    BENCH.slice(content)
    for content in (
        *(b"", b"1", TEXT, NOISE, NOISE[:BLOCK], NOISE[:70_000], bytes(BLOCK), bytes(3 * BLOCK + 1)),
        NOISE[:BLOCK] + bytes(2 * BLOCK) + b"end",
    )
]
MANY = BENCH.blob(NOISE).digest
KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}


def entries() -> list[Entry]:
    """A tree with all there is, and with directories of one to sixty blocks."""
    capability = bytes.fromhex("0100000200200000" + "00" * 12)
    return [
        Entry("", "directory", 0o751, 1, 2, 3 * 10**9, xattrs=(("user.of", b"the root"),)),
        Entry("files", "directory", 0o755, mtime=MTIME),
        *(
            Entry(f"files/{number}", "file", 0o640, number, 70_000, MTIME + number * 10**9, content)
            for number, content in enumerate(CONTENTS)
        ),
        Entry("files/suid", "file", 0o4755, 1 << 31, 1, content=BENCH.slice(b"suid")),
        Entry("files-beside", "file", 0o600, content=BENCH.slice(b"beside")),
        Entry("a link before its file", "hardlink", 0o640, target="files/3"),
        Entry("z link behind it", "hardlink", 0o640, target="files/3"),
        Entry("capable", "file", 0o755, content=BENCH.slice(b"x"))._replace(
            xattrs=(("security.capability", capability), ("trusted.long", NOISE[:3000]), ("user.empty", b""))
        ),
        Entry("early", "directory", 0o700, mtime=-(10**18)),
        Entry("late", "directory", 0o1777, mtime=4_294_967_295 * 10**9),
        Entry("some", "directory", 0o755),
        *(Entry(f"some/{number:060}", "fifo", 0o600) for number in range(300)),
        Entry("many", "directory", 0o755),
        *(
            Entry(f"many/name-{number:05}", "file", 0o600, 0, 0, MTIME, Slice(MANY, number, 20))
            for number in range(20_000)
        ),
        Entry("n" * 255, "symlink", 0o777, 7, 8, MTIME, target="t" * 4000),
        Entry("bytes-\udcff", "symlink", 0o777, target="to/\udcfe"),
        Entry("null", "char", 0o666, mtime=MTIME, device=(1, 3)),
        Entry("disk", "block", 0o660, mtime=MTIME, device=(8, 17)),
        Entry("socket or pipe", "fifo", 0o622, 3, 4, MTIME, xattrs=(("security.label", b"l"),)),
    ]


def image(entries: Sequence[Entry], compression: Compression, path: Path) -> Path:
    """The image of the entries as a file."""
    tree = BENCH.put(entries)
    options = squashfs_data.DataOptions(compression, True)
    data = [] if compression == "none" else [BENCH.run(squashfs_data.RULE, options, tree=tree)]
    made = BENCH.run(squashfs.RULE, squashfs.SquashfsOptions(compression), tree=tree, data=data)
    path.write_bytes(BENCH.bytes_of(made))
    return path


class Seen(NamedTuple):
    """What a file system shows of one name; `names` are all that share its inode."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    seconds: int
    sha256: str
    target: str
    device: tuple[int, int]
    xattrs: tuple[tuple[str, bytes], ...]
    names: frozenset[str]


def expected(entries: Sequence[Entry]) -> dict[str, Seen]:
    """What has to be seen."""
    by_path = {entry.path: entry for entry in entries}
    shared: dict[str, set[str]] = {}
    for entry in entries:
        shared.setdefault(entry.target if entry.kind == "hardlink" else entry.path, set()).add(entry.path)
    found = {}
    for path, entry in by_path.items():
        of = by_path[entry.target] if entry.kind == "hardlink" else entry
        is_link = of.kind == "symlink"
        found[path] = Seen(
            of.kind,
            0o777 if is_link else of.mode,
            of.uid,
            of.gid,
            min(max(of.mtime // 10**9, 0), (1 << 32) - 1),
            hashlib.sha256(BENCH.read(of.content)).hexdigest() if of.kind == "file" else "",
            of.target if is_link else "",
            of.device,
            tuple(pair for pair in of.xattrs if not pair[0].startswith("system.")),
            frozenset(shared[of.path]),
        )
    return found


def seen(folder: Path) -> dict[str, Seen]:
    """What a folder shows."""
    paths = [folder, *(Path(at) / name for at, folders, files in os.walk(folder) for name in folders + files)]
    inodes: dict[int, set[str]] = {}
    for path in paths:
        inodes.setdefault(path.lstat().st_ino, set()).add(name_of(path, folder))
    return {name_of(path, folder): seen_of(path, inodes) for path in paths}


def seen_of(path: Path, inodes: dict[int, set[str]]) -> Seen:
    status = path.lstat()
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    names = xattr_names(path)
    return Seen(
        kind,
        0o777 if kind == "symlink" else stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns // 10**9,
        hashlib.sha256(path.read_bytes()).hexdigest() if kind == "file" else "",
        os.readlink(path) if kind == "symlink" else "",  # noqa: PTH115
        (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in ("char", "block") else (0, 0),
        tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names),
        frozenset(inodes[status.st_ino]),
    )


def xattr_names(path: Path) -> list[str]:
    try:
        return sorted(os.listxattr(path, follow_symlinks=False))
    except OSError as error:
        # An image without any attributes has no table of them.
        assert error.errno == errno.ENOTSUP
        return []


def name_of(path: Path, folder: Path) -> str:
    return "" if path == folder else str(path.relative_to(folder))


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Where the kernel shows the image, if it lets us."""
    folder.mkdir(exist_ok=True)
    command = [tool("mount"), "-t", "squashfs", "-o", "ro,loop", str(image), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if b"squashfs" in Path("/proc/filesystems").read_bytes() and Path("/dev/loop0").exists():
            pytest.fail(done.stderr)
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def unpacked(image: Path, folder: Path) -> Path:
    """What unsquashfs makes of it."""
    command = [tool("unsquashfs"), "-quiet", "-no-progress", "-dest", str(folder), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr), done.stderr
    return folder


def differences(expected: dict[str, Seen], found: dict[str, Seen]) -> list[tuple[str, object, object]]:
    """Where two listings differ; whole, they would be too long to read."""
    paths = expected.keys() | found.keys()
    return [
        (path, expected.get(path), found.get(path))
        for path in sorted(paths)
        if expected.get(path) != found.get(path)
    ]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_kernel_shows_every_entry_with_all_it_has(tmp_path: Path, compression: Compression) -> None:
    # What other programs or file systems have no room for.
    large = Entry(
        "large", "block", 0o600, device=(4095, 1_048_575), xattrs=(("trusted.long", NOISE[:60_000]),)
    )
    tree = [*entries(), large]

    with mounted(image(tree, compression, tmp_path / "image"), tmp_path / "mounted") as folder:
        assert [] == differences(expected(tree), seen(folder))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_unsquashfs_unpacks_every_entry_with_all_it_has(tmp_path: Path, compression: Compression) -> None:
    tree = entries()

    folder = unpacked(image(tree, compression, tmp_path / "image"), tmp_path / "unpacked")

    assert [] == differences(expected(tree), seen(folder))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_unsquashfs_lists_owners_modes_and_devices(tmp_path: Path, compression: Compression) -> None:
    path = image(entries(), compression, tmp_path / "image")

    command = [tool("unsquashfs"), "-lln", str(path)]
    listed = subprocess.run(
        command, env={"TZ": "UTC", "LC_ALL": "C.UTF-8"}, check=True, capture_output=True
    ).stdout.decode("utf-8", "surrogateescape")

    lines = listed.splitlines()
    assert ["drwxr-x--x", "1/2", "1970-01-01", "00:00", "squashfs-root"] == [
        field for number, field in enumerate(lines[0].split()) if number != 2
    ]
    assert any(line.startswith("-rwsr-xr-x 2147483648/1 ") and line.endswith("/suid") for line in lines)
    assert any(line.split()[:4] == ["crw-rw-rw-", "0/0", "1,", "3"] for line in lines)
    assert any(line.split()[:4] == ["brw-rw----", "0/0", "8,", "17"] for line in lines)
    assert len(entries()) == len(lines)


def test_unsquashfs_tells_what_mksquashfs_would_have_made(tmp_path: Path) -> None:
    path = image(entries(), "gzip", tmp_path / "image")

    command = [tool("unsquashfs"), "-stat", str(path)]
    told = subprocess.run(command, env={"TZ": "UTC"}, check=True, capture_output=True, text=True).stdout

    for line in (
        "Creation or last append time Tue Apr 18 16:30:00 2017",
        "Compression gzip",
        "Block size 131072",
        "Filesystem is exportable via NFS",
        "Xattrs are compressed",
        "Duplicates are removed",
        f"Number of inodes {len(entries()) - 2}",
    ):
        assert line in told.splitlines()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=whole_trees(CONTENTS), compression=st.sampled_from(COMPRESSIONS))
def test_any_tree_is_shown_by_the_kernel(tmp_path: Path, tree: list[Entry], compression: Compression) -> None:
    with mounted(image(tree, compression, tmp_path / "image"), tmp_path / "mounted") as folder:
        assert [] == differences(expected(tree), seen(folder))


# -- whole builds


def site(folder: Path) -> Site:
    made = Site(folder)
    made.run("build", "--format", "kernel+squashfs", "linuxkit.yml")
    return made


def ran(site: Site) -> set[str]:
    return set(site.run("build", "-v", "--format", "kernel+squashfs", "linuxkit.yml").ran)


def test_build_gives_kernel_command_line_and_an_image_of_the_root(tmp_path: Path) -> None:
    made = site(tmp_path / "site")

    found = Squashfs((made.folder / "linuxkit-squashfs.img").read_bytes()).entries
    assert {"-kernel", "-cmdline", "-squashfs.img"} == set(made.outputs())
    assert b"#!/bin/sh\n" == found["init"].content
    assert b"first" == found["etc/note"].content
    assert [8000 * 32] == [len(one.content) for path, one in found.items() if path.endswith("/bin/web")]
    assert not [path for path in found if path.startswith("boot/")]


def test_changed_file_compresses_no_other_part(tmp_path: Path) -> None:
    made = site(tmp_path / "site")
    made.change("linuxkit.yml", "contents: first", "contents: second")

    names = ran(made)

    assert {"files: squashfs data"} == {name for name in names if name.endswith("squashfs data")}
    assert {"root", "squashfs"} <= names


def test_changed_service_compresses_that_service_alone(tmp_path: Path) -> None:
    made = site(tmp_path / "site")
    made.change("linuxkit.yml", "image: t/web:v1", "image: t/web:v1\n    env: [A=1]")

    names = ran(made)

    assert {"services web: squashfs data"} == {name for name in names if name.endswith("squashfs data")}


def test_build_with_nothing_to_do_runs_nothing(tmp_path: Path) -> None:
    assert set() == ran(site(tmp_path / "site"))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_two_builds_give_the_same_image(tmp_path: Path, compression: Compression) -> None:
    digests = []
    for number, umask, zone in ((0, 0o022, "UTC"), (1, 0o077, "Asia/Tokyo")):
        made = Site(tmp_path / f"site{number}")
        environment = {"TZ": zone, "PYTHONHASHSEED": str(number)}
        old = os.umask(umask)
        try:
            made.run(
                *("build", "--format", "kernel+squashfs", "--compression", compression, "linuxkit.yml"),
                environment=environment,
            )
        finally:
            os.umask(old)
        digests.append(made.outputs()["-squashfs.img"])

    assert digests[0] == digests[1]


def test_extents_of_an_image_are_few(tmp_path: Path) -> None:
    """A recipe moves in place of an image: it must not hold a part for every small file."""
    tree = BENCH.put(entries())
    data = BENCH.run(squashfs_data.RULE, squashfs_data.DataOptions(), tree=tree)

    made = BENCH.run(squashfs.RULE, squashfs.SquashfsOptions(), tree=tree, data=[data])

    with BENCH.work(members.JoinOptions(), pieces=[made]) as work:
        extents: Extents = work.extents(made)
    assert len(extents.parts) < 30
