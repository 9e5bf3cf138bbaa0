"""Segments and initrds read by GNU cpio, bsdtar, gzip and zstd, and by a model of the kernel."""

from __future__ import annotations

import gzip
import os
import random
import re
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from kitbuild.rules.format import segment
from kitbuild.rules.format.segment import SegmentOptions
from kitbuild.system import Compression
from kitbuild.tree import Entry
from tests.support import images
from tests.support.command import Site
from tests.support.cpio import Kernel
from tests.support.images import file, hardlink
from tests.support.registry import tool
from tests.support.trees import Bench, made, tar_of

pytestmark = pytest.mark.integration

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and owners")
COMPRESSIONS: list[Compression] = ["gzip", "zstd", "none"]
TIME = 1_400_000_000


def entries(bench: Bench) -> list[Entry]:
    time = TIME * 10**9
    return [
        Entry("dir", "directory", 0o1777, 1, 2, time),
        Entry("dir/file", "file", 0o4755, 3, 4, time, bench.slice(b"c" * 700)),
        Entry("dir/hard", "hardlink", 0o4755, 3, 4, time, target="dir/file"),
        Entry("empty", "file", 0o600, mtime=time),
        Entry("large", "file", 0o644, mtime=time, content=bench.slice(random.Random(1).randbytes(900_001))),
        Entry("link", "symlink", 0o777, mtime=time, target="dir/file"),
        Entry("pipe", "fifo", 0o600, mtime=time),
        Entry("caf\udce9", "file", 0o644, mtime=time, content=bench.slice(b"not UTF-8")),
    ]


def packed(bench: Bench, tree: list[Entry], compression: Compression) -> bytes:
    return bench.bytes_of(bench.run(segment.RULE, SegmentOptions(compression), tree=bench.put(tree)))


def run(
    *command: str, content: bytes = b"", folder: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    return subprocess.run(
        [tool(command[0]), *command[1:]],
        input=content,
        capture_output=True,
        check=True,
        cwd=folder,
        env=environment,
    )


def check_unpacked(folder: Path, bench: Bench, tree: list[Entry], *, owners: bool = True) -> None:
    kinds = {"directory": stat.S_IFDIR, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO}
    for entry in tree:
        path = folder / entry.path
        found = path.lstat()
        assert kinds.get(entry.kind, stat.S_IFREG) | entry.mode == found.st_mode, entry.path
        assert not owners or (entry.uid, entry.gid) == (found.st_uid, found.st_gid)
        if entry.kind == "file":
            assert bench.read(entry.content) == path.read_bytes()
            assert TIME == int(found.st_mtime)
        elif entry.kind == "symlink":
            assert entry.target == str(path.readlink())
    assert (folder / "dir/hard").samefile(folder / "dir/file")
    assert 2 == (folder / "dir/file").stat().st_nlink


@ROOT
@pytest.mark.parametrize("program", [["cpio", "-idm", "--quiet"], ["bsdtar", "-xpf", "-"]])
def test_segment_unpacks_to_the_tree(tmp_path: Path, program: list[str]) -> None:
    bench = Bench()
    tree = entries(bench)

    ended = run(*program, content=packed(bench, tree, "none"), folder=tmp_path)

    assert b"" == ended.stderr
    check_unpacked(tmp_path, bench, tree)


@ROOT
def test_devices_unpack(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "probe", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("devices cannot be made here")
    devices = [Entry("null", "char", 0o666, device=(1, 3)), Entry("disk", "block", 0o660, device=(8, 17))]

    run("cpio", "-id", "--quiet", content=packed(Bench(), devices, "none"), folder=tmp_path)

    assert os.makedev(1, 3) == (tmp_path / "null").stat().st_rdev
    assert os.makedev(8, 17) == (tmp_path / "disk").stat().st_rdev


def test_cpio_lists_modes_links_owners_and_devices() -> None:
    bench = Bench()
    tree = [*entries(bench), Entry("null", "char", 0o666, device=(1, 3))]

    listed = run("cpio", "-tv", "--quiet", "-n", content=packed(bench, tree, "none")).stdout

    lines = [re.sub(rb" +", b" ", line) for line in listed.splitlines()]
    date = b"May 13 2014"
    assert b"drwxrwxrwt 2 1 2 0 %s dir" % date in lines
    assert b"-rwsr-xr-x 2 3 4 0 %s dir/file" % date in lines
    assert b"-rwsr-xr-x 2 3 4 700 %s dir/hard" % date in lines
    assert b"-rw-r--r-- 1 0 0 900001 %s large" % date in lines
    assert b"lrwxrwxrwx 1 0 0 8 %s link -> dir/file" % date in lines
    assert b"prw------- 1 0 0 0 %s pipe" % date in lines
    assert any(line.startswith(b"crw-rw-rw- 1 0 0 1, 3 ") and line.endswith(b" null") for line in lines)


@pytest.mark.parametrize("count", range(4))
def test_gzip_segment_is_whole_for_gzip_and_python(count: int) -> None:
    bench = Bench()
    tree = [*entries(bench), Entry("pad", "file", 0o644, content=bench.slice(b"p" * count))]
    content = packed(bench, tree, "gzip")

    # Zeros behind a member are what `gzip -t` warns of with status 2; it checks all before them.
    unpadded = content.rstrip(b"\0").ljust(_member_size(content), b"\0")
    run("gzip", "-t", content=unpadded)

    assert packed(bench, tree, "none") == gzip.decompress(content)


def _member_size(content: bytes) -> int:
    import zlib

    stream = zlib.decompressobj(31)
    stream.decompress(content)
    return len(content) - len(stream.unused_data)


def test_zstd_segment_is_whole_for_zstd() -> None:
    import zstandard

    bench = Bench()
    tree = entries(bench)
    content = packed(bench, tree, "zstd")
    stream = zstandard.ZstdDecompressor().decompressobj()
    stream.decompress(content)

    frame = content[: len(content) - len(stream.unused_data)]

    assert len(content) - len(frame) < 4
    assert packed(bench, tree, "none") == run("zstd", "-dc", content=frame).stdout
    run("zstd", "-t", content=frame)


# -- whole builds


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    kernel = made(
        {
            "kernel": file("k" * 1001, mode=0o755),
            "kernel.tar": tar_of(
                {"lib/modules/6.1/a.ko": "ko", "lib/modules/6.1/b.ko": hardlink("lib/modules/6.1/a.ko")}
            ),
            "ucode.cpio": b"070701 microcode of an odd length",
        }
    )
    images.layout(
        site.folder / "images",
        {
            "t/kernel:v1": kernel,
            "t/init:v1": made({"init": file("#!", mode=0o755), "etc/a": "1", "etc/b": hardlink("etc/a")}),
            "t/tools:v1": made({"bin/tool": "t", "etc/a": "2"}, {"bin/.wh.tool": "", "bin/other": "o"}),
            "t/hello:v1": made({"hello": "h"}),
            "t/web:v1": made({"web": "w"}),
        },
    )
    return site


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_initrd_boots_to_what_the_config_says(site: Site, compression: str) -> None:
    site.run("build", "--compression", compression, "linuxkit.yml")

    kernel = Kernel()
    kernel.unpack((site.folder / "linuxkit-initrd.img").read_bytes())

    plain = kernel.plain()
    assert [] == kernel.skipped
    contents = {"etc/a": b"2", "etc/b": b"1", "bin/other": b"o", "etc/note": b"first", "init": b"#!"}
    assert contents == {path: plain[path][3] for path in contents}
    assert "bin/tool" not in plain
    assert b"h" == plain["containers/onboot/000-hello/lower/hello"][3]
    assert frozenset({"lib/modules/6.1/a.ko", "lib/modules/6.1/b.ko"}) in kernel.shared()


def test_every_compression_holds_the_same_system(site: Site) -> None:
    plain = {}
    for compression in COMPRESSIONS:
        site.run("build", "--compression", compression, "--name", compression, "linuxkit.yml")
        content = (site.folder / f"{compression}-initrd.img").read_bytes()
        if compression == "zstd":
            # zstd refuses the zeros between the frames, the kernel does not.
            content = b"".join(_frames(content))
        kernel = Kernel()
        kernel.unpack(content)
        plain[compression] = kernel.plain()

    assert plain["gzip"] == plain["none"] == plain["zstd"]


def _frames(content: bytes) -> list[bytes]:
    import zstandard

    found = []
    while content := content.lstrip(b"\0"):
        stream = zstandard.ZstdDecompressor().decompressobj()
        found.append(stream.decompress(content))
        content = stream.unused_data
    return found


def test_parts_of_an_initrd_start_where_the_kernel_looks(site: Site) -> None:
    site.run("build", "--compression", "none", "linuxkit.yml")
    content = (site.folder / "linuxkit-initrd.img").read_bytes()

    starts = [match.start() for match in re.finditer(rb"TRAILER!!!\0+(?=070701)", content)]

    assert starts
    assert 0 == len(content) % 512
    assert content.startswith(b"070701")


def test_microcode_stands_first_and_uncompressed(site: Site) -> None:
    site.change("linuxkit.yml", "  cmdline:", "  ucode: ucode.cpio\n  cmdline:")

    site.run("build", "--format", "kernel+initrd,tar-kernel-initrd", "linuxkit.yml")

    content = (site.folder / "linuxkit-initrd.img").read_bytes()
    assert content.startswith(b"070701 microcode of an odd length" + bytes(3) + b"\x1f\x8b")
    with tarfile.open(site.folder / "linuxkit-initrd.tar") as opened:
        assert ["kernel", "initrd.img", "cmdline", "ucode.cpio"] == opened.getnames()
        initrd = opened.extractfile("initrd.img")
        assert initrd is not None
        assert content[36:] == initrd.read()


def test_file_named_like_the_end_of_an_archive_is_refused(site: Site) -> None:
    images.layout(site.folder / "images", {"t/init:v1": made({"TRAILER!!!": "x"})})
    site.write("linuxkit.yml", "init:\n  - t/init:v1\n")

    stderr = site.run("build", "linuxkit.yml", status=1).stderr

    assert "a file named `TRAILER!!!`, which in an initrd is the end" in stderr
