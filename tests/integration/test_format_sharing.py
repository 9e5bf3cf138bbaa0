"""One more format of a built system costs its own few kilobytes, and a copy that shares blocks where it can."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.command import small_images
from tests.support.formats import FormatSite, groups, kernel_image
from tests.support.registry import tool

pytestmark = pytest.mark.integration

MEGABYTE = 1_000_000
PAYLOAD_BYTES = 30 * MEGABYTE
# What a format cuts off a payload at both ends may be less than 1 MiB, which is not worth a call for itself.
LEAST_SHARED_BYTES = PAYLOAD_BYTES - (2 << 20)
# These have the initrd as it is, so what is in it is not even looked at.
WITH_INITRD = (
    "aws",
    "dynamic-vhd",
    "iso",
    "iso-efi-initrd",
    "qcow2-bios",
    "qcow2-efi",
    "raw-bios",
    "raw-efi",
    "uki",
    "vhd",
    "vhdx",
)
# These hold every file by itself, uncompressed, or the initrd behind headers of 512 bytes.
WITH_FILES = ("docker", "iso-bios", "iso-efi", "kernel+erofs", "kernel+iso", "tar", "tar-kernel-initrd")
# These compress every file anew, each in its own way.
PACKING = ("gcp", "kernel+squashfs", "oci", "ova", "vmdk")


def large_image(size: int) -> images.MadeImage:
    """An image with a file that nobody can compress."""
    program = images.file(os.urandom(size), mode=0o755)
    return images.image({"bin/web": program}, entrypoint=["/bin/web"], compression="plain")


def large_site(folder: Path, size: int) -> FormatSite:
    """A site whose service is so large, in `large.yml`."""
    site = FormatSite(folder)
    others = {**small_images(), "t/kernel:v1": kernel_image("amd64")}
    images.layout(folder / "images", {**others, "t/large:v1": large_image(size)})
    site.write("large.yml", (folder / "linuxkit.yml").read_text().replace("t/web:v1", "t/large:v1"))
    return site


def blobs_of(cache: Path) -> dict[str, int]:
    """The sizes of all blobs of a cache."""
    return {str(path.relative_to(cache)): path.stat().st_size for path in (cache / "blobs").glob("??/*")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FormatSite:
    """A site where this system is an initrd, and another one was built in every format: boot loaders are there."""
    site = large_site(tmp_path_factory.mktemp("sharing") / "site", PAYLOAD_BYTES)
    site.every_output()
    site.run("build", "--arch", "amd64", "large.yml")
    return site


def test_every_format_is_of_one_of_these_kinds() -> None:
    known = ",".join(groups("amd64")).split(",")

    assert sorted(known) == sorted(["kernel+initrd", *WITH_INITRD, *WITH_FILES, *PACKING])


@pytest.mark.parametrize("name", [*WITH_INITRD, *WITH_FILES])
def test_one_more_format_adds_less_than_a_megabyte_to_the_cache(
    built: FormatSite, tmp_path: Path, name: str
) -> None:
    cache = tmp_path / "cache"
    # Blobs are never written again.
    shutil.copytree(built.folder / "cache/blobs", cache / "blobs", copy_function=os.link)
    shutil.copytree(built.folder / "cache", cache, ignore=shutil.ignore_patterns("blobs"), dirs_exist_ok=True)
    before = blobs_of(cache)
    (tmp_path / "out").mkdir()

    report = built.run(
        *("build", "-v", "--arch", "amd64", "--format", name, "--dir", str(tmp_path / "out"), "large.yml"),
        environment={"KITBUILD_CACHE_DIR": str(cache)},
    )

    added = {path: size for path, size in blobs_of(cache).items() if path not in before}
    assert sum(added.values()) < MEGABYTE
    assert report.counts["run"] > 0
    assert not [node for node in report.ran if node.endswith(": segment") or node == "initrd"]
    assert max(path.stat().st_size for path in (tmp_path / "out").iterdir()) > PAYLOAD_BYTES


@pytest.fixture(scope="module")
def on_sharing_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FormatSite]:
    """A site whose folder `disk`, with its cache, is on a file system that shares blocks between files."""
    make = tool("mkfs.xfs")
    site = large_site(tmp_path_factory.mktemp("reflinks") / "site", PAYLOAD_BYTES)
    disk = site.folder / "disk"
    disk.mkdir()
    with (site.folder / "disk.img").open("wb") as stream:
        stream.truncate(2 << 30)
    subprocess.run([make, "-q", "-m", "reflink=1", stream.name], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", stream.name, disk], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"XFS in a file cannot be mounted here: {mounted.stderr.strip()}")
    try:
        (disk / "out").mkdir()
        site.environment["KITBUILD_CACHE_DIR"] = str(disk / "cache")
        site.run("build", "--arch", "amd64", "--dir", "disk", "large.yml")
        yield site
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        (site.folder / "disk.img").unlink()


@pytest.mark.parametrize("name", ["kernel+initrd", *WITH_INITRD])
def test_output_shares_the_blocks_of_its_payload_with_the_cache(
    on_sharing_disk: FormatSite, name: str
) -> None:
    site = on_sharing_disk
    out = site.folder / "disk" / "out"
    for path in out.iterdir():
        path.unlink()

    site.run("build", "--arch", "amd64", "--format", name, "--dir", str(out), "large.yml")

    largest = max(out.iterdir(), key=lambda path: path.stat().st_size)
    assert shared_bytes(largest) > LEAST_SHARED_BYTES


def shared_bytes(path: Path) -> int:
    """How much of a file lies in blocks that another file has too."""
    # Blocks that were not written yet have no place.
    os.sync()
    listed = subprocess.run(
        [tool("filefrag"), "-v", "-b512", path], capture_output=True, check=True, text=True
    )
    # Number, first and last block in the file and on the disk, length, perhaps where it was expected, flags.
    places = r"^ *\d+: *\d+\.\. *\d+: *\d+\.\. *\d+: *(\d+):.*\bshared\b"
    extents = re.findall(places, listed.stdout, re.MULTILINE)
    return sum(int(blocks) * 512 for blocks in extents)
