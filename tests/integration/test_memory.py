"""Memory does not grow with images: neither with their bytes nor, by much, with their files."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import images
from tests.support.command import CONFIG, PROGRAM, Site, small_images
from tests.support.registry import tool

pytestmark = pytest.mark.integration

MEBIBYTE = 1 << 20
# What a build of anything may take at its peak.
LIMIT_MIB = 120
# What one of a small image takes, some 35 MiB, and some pieces on their way.
LIMIT_OF_BYTES_MIB = 60


def large_files(total_mib: int) -> Iterator[tuple[tarfile.TarInfo, Any]]:
    """Files of 50 MiB, all of the same random megabytes: no compressor finds that out."""
    block = random.Random(1).randbytes(4 * MEBIBYTE)
    for number in range(total_mib // 50):
        header = tarfile.TarInfo(f"data/file{number}")
        header.size = 50 * MEBIBYTE
        yield header, _Repeated(block, header.size)


def small_files(count: int) -> Iterator[tuple[tarfile.TarInfo, Any]]:
    """Files of some bytes each, a hundred in a folder, with names as they are in real images."""
    for number in range(count):
        header = tarfile.TarInfo(f"usr/share/folder{number // 100}/some-file-{number}.txt")
        header.size, header.mtime = 20, 1_700_000_000 + number
        yield header, io.BytesIO(b"%020d" % number)


class _Repeated(io.RawIOBase):
    def __init__(self, block: bytes, size: int) -> None:
        self._block, self._left = block, size

    def read(self, size: int = -1) -> bytes:
        piece = self._block[: min(size, self._left)]
        self._left -= len(piece)
        return piece


class _Hashed:
    """A file that hashes what is written to it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.sha256, self.size = hashlib.sha256(), 0

    def write(self, piece: bytes) -> int:
        self.sha256.update(piece)
        self.size += len(piece)
        self._stream.write(piece)
        return len(piece)


def site_with(folder: Path, members: Iterator[tuple[tarfile.TarInfo, Any]]) -> Site:
    """A site whose t/web has one layer with these members, written piece by piece."""
    from isal import igzip

    site = Site(folder, config=CONFIG)
    blobs = site.folder / "images" / "blobs" / "sha256"
    with (blobs / "new").open("wb") as stream:
        stored = _Hashed(stream)
        compressor: Any = igzip.IGzipFile
        with compressor(fileobj=stored, mode="wb", compresslevel=0, mtime=0) as compressed:
            plain = _Hashed(compressed)
            with tarfile.open(fileobj=plain, mode="w|") as archive:  # type: ignore[call-overload]
                for header, content in members:
                    archive.addfile(header, content)
    (blobs / "new").rename(blobs / stored.sha256.hexdigest())

    def change_manifest(manifest: dict[str, Any]) -> None:
        manifest["layers"][0].update(digest=f"sha256:{stored.sha256.hexdigest()}", size=stored.size)

    def change_config(config: dict[str, Any]) -> None:
        config["rootfs"]["diff_ids"] = [f"sha256:{plain.sha256.hexdigest()}"]

    made = images.image({}, cmd=["/x"], change_manifest=change_manifest, change_config=change_config)
    images.layout(site.folder / "images", {**small_images(), "t/web:v1": made})
    return site


def peak_mib(site: Site, *arguments: str) -> float:
    """The most memory a build held, in MiB, as the kernel counts it."""
    # A child's figure begins with that of the process it was forked from; GNU time is a small one.
    timed = [tool("time"), "--format=%M", f"--output={site.folder / 'peak'}", str(PROGRAM)]
    site.run("build", *arguments, "linuxkit.yml", program=timed)
    return int((site.folder / "peak").read_text()) / 1024


@pytest.mark.parametrize("output_format", ["kernel+initrd", "tar"])
def test_image_of_300_mib_is_built_in_constant_memory(tmp_path: Path, output_format: str) -> None:
    site = site_with(tmp_path / "site", large_files(300))

    peak = peak_mib(site, "--format", output_format)

    print(f"{output_format}: {peak:.0f} MiB")  # noqa: T201 - shown by pytest -s
    assert peak < LIMIT_OF_BYTES_MIB


@pytest.mark.slow
@pytest.mark.parametrize("output_format", ["kernel+initrd", "tar"])
def test_image_of_2_gib_is_built_in_constant_memory(tmp_path: Path, output_format: str) -> None:
    site = site_with(tmp_path / "site", large_files(2048))

    peak = peak_mib(site, "--format", output_format)

    print(f"{output_format}: {peak:.0f} MiB")  # noqa: T201 - shown by pytest -s
    assert peak < LIMIT_OF_BYTES_MIB


def test_image_of_ten_thousand_files_is_built_in_little_memory(tmp_path: Path) -> None:
    site = site_with(tmp_path / "site", small_files(10_000))

    assert peak_mib(site) < LIMIT_OF_BYTES_MIB


@pytest.mark.slow
@pytest.mark.parametrize("output_format", ["kernel+initrd", "tar"])
def test_image_of_a_hundred_thousand_files_stays_below_the_limit(tmp_path: Path, output_format: str) -> None:
    site = site_with(tmp_path / "site", small_files(100_000))

    peak = peak_mib(site, "--format", output_format)

    print(f"{output_format}: {peak:.0f} MiB")  # noqa: T201 - shown by pytest -s
    assert peak < LIMIT_MIB
