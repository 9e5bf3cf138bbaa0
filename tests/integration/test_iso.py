"""ISO images read by xorriso, bsdtar and isoinfo, and built again under other circumstances."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings

from kitbuild.rules.layout.iso9660 import Boot, volume
from kitbuild.system import MTIME
from kitbuild.tree import Entry, Kind, Tree
from tests.support.iso import expected, image_of
from tests.support.registry import tool
from tests.support.trees import Bench
from tests.support.whole_trees import whole_trees

pytestmark = pytest.mark.integration

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and owners")
BENCH = Bench()
CONTENTS = [None, *(BENCH.slice(b"c" * size + b"end") for size in (0, 2045, 4093, 10_000))]
_KINDS: dict[int, Kind] = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}
_TAR_KINDS: dict[bytes, Kind] = {
    tarfile.DIRTYPE: "directory",
    tarfile.REGTYPE: "file",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}


def file(path: str, content: bytes = b"", *, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Entry:
    return Entry(path, "file", mode, uid, gid, MTIME, BENCH.slice(content))


def nasty() -> Tree:
    """What file systems have that archives and readers get wrong."""
    deep = ["/".join(["deep"] * depth) for depth in range(1, 20)]
    kinds: list[Kind] = ["char", "symlink", "fifo", "file", "directory"]
    return Tree.of(
        [
            Entry("", "directory", 0o750, 1, 2, MTIME),
            Entry("bin", "directory", 0o1777, 3, 4, MTIME - 10**9),
            file("bin/su", b"su" * 5000, mode=0o6755, uid=0, gid=7),
            Entry("bin/sh", "hardlink", 0, target="bin/su"),
            Entry("a-link-before-its-file", "hardlink", 0, target="bin/su"),
            file("empty", mode=0o000, uid=1 << 31, gid=(1 << 32) - 2),
            Entry("empty-too", "hardlink", 0, target="empty"),
            *(
                file(name, name.encode("utf-8", "surrogateescape"))
                for name in ("grün", "日本", "caf\udce9", "caf\udce8")
            ),
            *(
                file(name, name.encode())
                for name in ("A", "a", " ", "a\nb", ".hidden", "a;1", "a.b.c", 'q"\\*?:')
            ),
            *(Entry(path, "directory", 0o700, mtime=MTIME) for path in deep),
            file(f"{deep[-1]}/file", b"deep"),
            Entry("many", "directory", 0o755, mtime=MTIME),
            *(
                file(f"many/the common beginning of very many names {number}", b"%d" % number)
                for number in range(900)
            ),
            Entry("null", "char", 0o666, mtime=MTIME, device=(1, 3)),
            Entry("disk", "block", 0o660, 0, 6, MTIME, device=(259, 255)),
            Entry("links", "directory", 0o755, mtime=MTIME),
            *(
                Entry(f"links/{number}", "symlink", 0o777, 5, 6, MTIME, target=target)
                for number, target in enumerate(
                    [
                        "a",
                        ".",
                        "..",
                        "../..",
                        "/a/b",
                        "a/./b",
                        "../" * 40 + "x",
                        "t" * 900,
                        "caf\udce9",
                        "p/" * 60 + "q",
                    ]
                )
            ),
            *(
                Entry(
                    kind[2] * length,
                    kind,
                    0o777 if kind == "symlink" else 0o640,
                    mtime=MTIME,
                    target="/".join(["some", "where"] * 9) if kind == "symlink" else "",
                    device=(4, 64) if kind == "char" else (0, 0),
                )
                for kind in kinds
                for length in (60, 80, 90, 100, 110, 111, 112, 113, 114, 120, 150, 200, 250, 255)
            ),
        ]
    )


def written(folder: Path, tree: Tree, *, joliet: bool = False) -> Path:
    path = folder / "a.iso"
    path.write_bytes(image_of(volume(tree, label="TEST", joliet=joliet), BENCH))
    return path


def contents(tree: Tree) -> dict[str, bytes]:
    entries = tree.by_path()
    files = {
        path: entries[entry.target] if entry.kind == "hardlink" else entry for path, entry in entries.items()
    }
    return {path: BENCH.read(entry.content) for path, entry in files.items() if entry.kind == "file"}


def without_links(said: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    return {path: each[:4] + each[5:] for path, each in said.items()}


def extracted(folder: Path, iso: Path) -> tuple[dict[str, tuple[object, ...]], dict[str, bytes]]:
    """What xorriso puts onto a disk, and what Linux says of it."""
    target = folder / "extracted"
    command = [
        tool("xorriso"),
        "-osirrox",
        "on:device_files",
        "-indev",
        str(iso),
        "-extract",
        "/",
        str(target),
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    assert 0 == done.returncode, done.stderr.decode(errors="replace")
    said: dict[str, tuple[object, ...]] = {}
    texts = {}
    for name in [target, *target.rglob("*")]:
        path, found = str(name)[len(f"{target}/") :], name.lstat()
        kind = _KINDS[stat.S_IFMT(found.st_mode)]
        device = (os.major(found.st_rdev), os.minor(found.st_rdev)) if kind in ("char", "block") else (0, 0)
        said[path] = (
            *(kind, stat.S_IMODE(found.st_mode)),
            # xorriso does not restore owners and times of symlinks.
            *((0, 0, 0) if kind == "symlink" else (found.st_uid, found.st_gid, int(found.st_mtime))),
            # Not Path.readlink: a path is not the text it was made of.
            *(os.readlink(name) if kind == "symlink" else "", device),  # noqa: PTH115
            found.st_size if kind == "file" else 0,
        )
        if kind == "file":
            texts[path] = name.read_bytes()
    return said, texts


def archived(iso: Path) -> tuple[dict[str, tuple[object, ...]], dict[str, bytes]]:
    """What bsdtar says of it, as the tar it turns it into."""
    command = [tool("bsdtar"), "-cf", "-", "--format=pax", f"@{iso}"]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert 0 == done.returncode, done.stderr.decode(errors="replace")
    said: dict[str, tuple[object, ...]] = {}
    texts = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout), errors="surrogateescape") as tar:
        for member in tar:
            path = "" if member.name == "." else member.name
            shared = tar.getmember(member.linkname) if member.islnk() else member
            kind = _TAR_KINDS[shared.type]
            said[path] = (
                *(kind, shared.mode, shared.uid, shared.gid, int(shared.mtime)),
                *(member.linkname if kind == "symlink" else "",),
                (member.devmajor, member.devminor) if kind in ("char", "block") else (0, 0),
                shared.size if kind == "file" else 0,
            )
            if kind == "file":
                content = tar.extractfile(shared)
                assert content is not None
                texts[path] = content.read()
    return said, texts


def bare_symlinks(tree: Tree) -> Tree:
    return Tree.of(
        entry._replace(mtime=0, uid=0, gid=0) if entry.kind == "symlink" else entry for entry in tree
    )


@ROOT
def test_xorriso_extracts_every_nasty_thing(tmp_path: Path) -> None:
    tree = nasty()

    said, texts = extracted(tmp_path, written(tmp_path, tree))

    assert without_links(expected(bare_symlinks(tree))) == said
    assert contents(tree) == texts


@pytest.mark.parametrize("joliet", [False, True])
def test_bsdtar_finds_every_nasty_thing(tmp_path: Path, joliet: bool) -> None:
    tree = nasty()

    said, texts = archived(written(tmp_path, tree, joliet=joliet))

    assert without_links(expected(tree)) == said
    assert contents(tree) == texts


def readable(entries: list[Entry]) -> Tree:
    """The tree without what xorriso does not restore: late times, large device numbers and 0:1, odd symlinks."""
    return Tree.of(map(_readable, entries))


def _readable(entry: Entry) -> Entry:
    entry = entry._replace(mtime=entry.mtime % (10**9 * (1 << 31)))
    if entry.kind in ("char", "block"):
        return entry._replace(device=(entry.device[0] & 255 or 1, entry.device[1] & 255))
    if entry.kind == "symlink":
        return entry._replace(mode=0o777, target=entry.target.replace("/", "_"))
    return entry


@ROOT
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(whole_trees(CONTENTS).map(readable))
def test_xorriso_extracts_any_tree(tree: Tree) -> None:
    with TemporaryDirectory() as folder:
        said, texts = extracted(Path(folder), written(Path(folder), tree, joliet=True))

    assert without_links(expected(bare_symlinks(tree))) == said
    assert contents(tree) == texts


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(whole_trees(CONTENTS, has_long_names=False).map(readable))
def test_bsdtar_finds_any_tree(tree: Tree) -> None:
    """But long names: libarchive wants what continues a record between a directory and those below it."""
    with TemporaryDirectory() as folder:
        said, texts = archived(written(Path(folder), tree))

    assert without_links(expected(tree)) == said
    assert contents(tree) == texts


def isoinfo(iso: Path, *options: str) -> list[str]:
    done = subprocess.run([tool("isoinfo"), *options, "-i", str(iso)], capture_output=True, check=True)
    assert not done.stderr
    return done.stdout.decode("latin-1" if "-J" in options else "utf-8", "surrogateescape").splitlines()


def test_isoinfo_lists_both_trees(tmp_path: Path) -> None:
    names = {"grün": "grün", "bin": "bin", "n" * 70: "n" * 64, "bin/a:b": "bin/a_b"}
    entries = [Entry(name, "directory", 0o755) if name == "bin" else file(name) for name in names]
    iso = written(tmp_path, Tree.of(entries), joliet=True)

    rock_ridge, joliet = isoinfo(iso, "-f", "-R"), isoinfo(iso, "-f", "-J", "-j", "iso8859-1")

    assert {f"/{name}" for name in names} == set(rock_ridge)
    assert {f"/{name}" for name in names.values()} == set(joliet)


def test_isoinfo_reads_every_line_of_the_nasty_tree(tmp_path: Path) -> None:
    lines = isoinfo(written(tmp_path, nasty()), "-l", "-R")

    assert not [line for line in lines if "BAD" in line]
    assert len(nasty()) <= len([line for line in lines if line[:1] in "-dlcbfp"])


def test_xorriso_sees_what_boots(tmp_path: Path) -> None:
    tree = Tree.of([file("bios", b"b" * 3000), file("efi", b"e" * 5000)])
    boots = (Boot("bios", 4), Boot("efi", 12, is_efi=True, is_hidden=True))
    path = tmp_path / "a.iso"
    path.write_bytes(image_of(volume(tree, label="TEST", boots=boots), BENCH))

    command = [tool("xorriso"), "-indev", str(path), "-report_el_torito", "plain"]
    report = subprocess.run(command, capture_output=True, check=True, text=True).stdout

    images = [line.split()[6:9] for line in report.splitlines() if line.startswith("El Torito boot img")]
    assert [["BIOS", "y", "none"], ["UEFI", "y", "none"]] == images


SCRIPT = """
import hashlib, sys
from tests.integration.test_iso import BENCH, Boot, image_of, nasty, volume
made = volume(nasty(), label="TEST", joliet=True, boots=(Boot("bin/su", 4),), catalog="empty")
sys.stdout.write(hashlib.sha256(image_of(made, BENCH)).hexdigest())
"""


def test_image_is_the_same_in_any_time_zone_under_any_umask_and_hash_seed() -> None:
    found = set()
    for zone, mask, seed in (
        ("UTC", 0o022, "0"),
        ("Asia/Kathmandu", 0o077, "1"),
        ("America/St_Johns", 0, "2"),
    ):
        environment = {**os.environ, "TZ": zone, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=Path(__file__).parents[2],
            env=environment,
            umask=mask,
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        found.add(done.stdout)

    assert 1 == len(found)
