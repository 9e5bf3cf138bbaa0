"""Whatever is in a file, looking inside ends in a listing or in a KitbuildError: soon, and in little memory."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kitbuild.errors import KitbuildError
from kitbuild.reading import open_output
from tests.support.formats import groups
from tests.support.hostile import look
from tests.support.reading import RichSite, newc
from tests.support.registry import tool

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
_SMALL_BYTES = 8 << 20


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> RichSite:
    return RichSite(tmp_path_factory.mktemp("hostile") / "site", compression="none")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """File systems of a few files, so that most of what is damaged is a structure."""
    folder = tmp_path_factory.mktemp("small")
    for name in ("etc", "bin", "usr/a/b"):
        (folder / "in" / name).mkdir(parents=True)
    for number in range(40):
        (folder / f"in/etc/{number}").write_text(f"{number}")
    (folder / "in/usr/link").symlink_to("../etc/1")
    (folder / "in/bin/hard").hardlink_to(folder / "in/etc/2")
    (folder / "in/usr/large").write_bytes(b"a line\n" * 2000)
    for name, size in (("ext4", 2 << 20), ("fat", 300 << 10)):
        with (folder / name).open("wb") as file:
            file.truncate(size)
    commands = [
        [tool("mksquashfs"), "in", "squashfs", "-noI", "-noD", "-noF", "-noX", "-quiet", "-no-progress"],
        [tool("mkfs.erofs"), "--quiet", "erofs", "in"],
        [tool("mke2fs"), "-q", "-t", "ext4", "-d", "in", "ext4"],
        [tool("genisoimage"), "-R", "-quiet", "-o", "iso", "in"],
        [tool("mkfs.vfat"), "fat"],
        [tool("mcopy"), "-s", "-i", "fat", "in/etc", "::"],
        [tool("qemu-img"), "convert", "-c", "-O", "qcow2", "fat", "qcow2"],
        [tool("qemu-img"), "convert", "-O", "vpc", "fat", "vhd"],
        [tool("tar"), "--format=gnu", "-cf", "tar", "-C", "in", "."],
    ]
    for command in commands:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}


def test_damaged_outputs_are_told_apart_without_a_trace(site: RichSite) -> None:
    found: dict[str, Path] = {}
    for chosen in groups("amd64"):
        found |= site.build(chosen)
    paths = [
        path for path in found.values() if path.stat().st_size < _SMALL_BYTES and "cmdline" not in path.name
    ]

    assert len(paths) > 12
    assert "" == hostile(20, 1, *paths)


def test_damaged_file_systems_are_told_apart_without_a_trace(small: dict[str, Path]) -> None:
    assert "" == hostile(150, 2, *small.values())


def hostile(count: int, seed: int, *paths: Path) -> str:
    command = [sys.executable, "-m", "tests.support.hostile", str(count), str(seed), *map(str, paths)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("name", ["squashfs", "erofs", "ext4", "iso", "fat", "qcow2", "tar"])
def test_file_system_cut_off_anywhere_is_told_apart(
    small: dict[str, Path], tmp_path: Path, name: str
) -> None:
    content = small[name].read_bytes()
    whole = content.rstrip(b"\0")
    copy = tmp_path / "copy"

    for size in range(0, len(whole), max(1, len(whole) // 150)):
        copy.write_bytes(content[:size])
        look(copy)


def test_every_cut_of_an_initrd_is_an_error(tmp_path: Path) -> None:
    content = gzip.compress(newc({"a": b"content" * 9, "b": b"x"}))
    copy = tmp_path / "copy"

    for size in range(12, len(content)):
        copy.write_bytes(content[:size])
        assert look(copy), size


def test_folder_in_itself_is_an_error(tmp_path: Path) -> None:
    """A FAT folder whose entry names the cluster of its parent."""
    path = tmp_path / "fat"
    with path.open("wb") as file:
        file.truncate(300 << 10)
    subprocess.run([tool("mkfs.vfat"), path], check=True, capture_output=True)
    subprocess.run([tool("mmd"), "-i", path, "::ONE", "::ONE/TWO"], check=True)
    content = bytearray(path.read_bytes())
    outer, inner = content.index(b"ONE        \x10"), content.index(b"TWO        \x10")
    content[inner + 26 : inner + 28] = content[outer + 26 : outer + 28]
    path.write_bytes(content)

    with open_output(path) as output, pytest.raises(KitbuildError, match="in itself or in two"):
        list(output.medium())


def test_clusters_in_a_circle_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "fat"
    with path.open("wb") as file:
        file.truncate(20 << 20)
    subprocess.run([tool("mkfs.vfat"), "-F", "16", path], check=True, capture_output=True)
    subprocess.run([tool("mmd"), "-i", path, "::ONE"], check=True)
    content = bytearray(path.read_bytes())
    place = content.index(b"ONE        \x10")
    (cluster,) = struct.unpack_from("<H", content, place + 26)
    reserved, tables, _, _, _, size = struct.unpack_from("<HBHHBH", content, 14)
    for table in range(tables):
        struct.pack_into("<H", content, (reserved + table * size) * 512 + 2 * cluster, cluster)
    path.write_bytes(content)

    with open_output(path) as output, pytest.raises(KitbuildError, match="without an end"):
        list(output.medium())


def test_bomb_takes_no_memory(tmp_path: Path) -> None:
    """1 GiB of zeros as one file of an initrd: a listing skips them."""
    import zlib

    numbers = (1, 0o100644, 0, 0, 1, 0, 1 << 30, 0, 0, 0, 0, 6, 0)
    header = b"070701" + b"".join(b"%08x" % each for each in numbers) + b"zeros\0"
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    with (tmp_path / "bomb").open("wb") as file:
        file.write(stream.compress(header))
        for _ in range(1024):
            file.write(stream.compress(bytes(1 << 20)))
        file.write(stream.compress(newc({})) + stream.flush())
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29));"
        "from kitbuild.cli.main import entry; sys.argv = ['kitbuild', 'ls', '-l', sys.argv[1]]; entry()"
    )

    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "bomb"], capture_output=True, text=True, timeout=120
    )

    assert "1073741824" in ended.stdout, ended.stderr
    assert time.monotonic() - began < 60


def test_initrd_of_100_000_files_is_listed_in_seconds(tmp_path: Path) -> None:
    content = newc({f"folder{number % 100}/file-{number}": b"content\n" * 20 for number in range(100_000)})
    (tmp_path / "initrd.img").write_bytes(gzip.compress(content, 1))

    began = time.process_time()
    with open_output(tmp_path / "initrd.img") as output:
        count = sum(1 for _ in output.system())

    assert 100_000 == count
    assert time.process_time() - began < 8
