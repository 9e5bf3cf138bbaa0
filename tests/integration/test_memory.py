"""Memory does not grow with images: neither with their bytes nor, by much, with their files."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import images
from tests.support.command import CONFIG, PROGRAM, Site, small_images
from tests.support.formats import FormatSite, kernel_image
from tests.support.registry import tool

pytestmark = pytest.mark.integration

MEBIBYTE = 1 << 20
# What a build of anything may take at its peak.
LIMIT_MIB = 120
# What one of a small image takes, some 35 MiB, and some pieces on their way.
LIMIT_OF_BYTES_MIB = 60
# What one of any format may take, whose compressors and file systems want something for themselves: 200 MB.
LIMIT_OF_FORMATS_MIB = 200_000_000 / (1 << 20)
FORMATS = [
    each["name"]
    for each in json.loads(
        subprocess.run([PROGRAM, "formats", "--json"], capture_output=True, check=True).stdout
    )
    if "amd64" in (each["architectures"] or ["amd64"])
]


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
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        piece = self._block[self._position : self._position + min(size, self._left)]
        self._position = (self._position + len(piece)) % len(self._block)
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
    """A site whose t/web has one layer with these members."""
    site = Site(folder, config=CONFIG)
    images.layout(site.folder / "images", {**small_images(), "t/web:v1": streamed_image(site, members)})
    return site


def format_site_with(folder: Path, members: Iterator[tuple[tarfile.TarInfo, Any]], architecture: str) -> Site:
    """The same to build every format in."""
    site = FormatSite(folder, config=CONFIG, architecture=architecture)
    made = {"t/kernel:v1": kernel_image(architecture), "t/web:v1": streamed_image(site, members)}
    images.layout(site.folder / "images", {**small_images(), **made})
    return site


def streamed_image(site: Site, members: Iterator[tuple[tarfile.TarInfo, Any]]) -> images.MadeImage:
    """An image whose one layer is written to the site's images piece by piece."""
    from isal import igzip

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

    return images.image({}, cmd=["/x"], change_manifest=change_manifest, change_config=change_config)


def peak_mib(site: Site, *arguments: str) -> float:
    """The most memory a build held, in MiB, as the kernel counts it."""
    # A child's figure begins with that of the process it was forked from; GNU time is a small one.
    timed = [tool("time"), "--format=%M", f"--output={site.folder / 'peak'}", str(PROGRAM)]
    # Without the limit of `Site.run`: some formats compress 2 GiB on one core.
    command = [*timed, "build", *arguments, "linuxkit.yml"]
    subprocess.run(command, cwd=site.folder, env=site.environment, check=True, timeout=600)
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


@pytest.fixture(scope="module")
def system_of_2_gib(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site where kernel and initrd of a system with 2 GiB are built already."""
    site = format_site_with(tmp_path_factory.mktemp("large") / "site", large_files(2048), "amd64")
    peak_mib(site, "--arch", "amd64", "--dir", ".")
    yield site
    shutil.rmtree(site.folder)


@pytest.mark.slow
@pytest.mark.parametrize("output_format", FORMATS)
def test_every_format_of_2_gib_is_made_in_little_memory(system_of_2_gib: Site, output_format: str) -> None:
    site = system_of_2_gib
    (site.folder / "out").mkdir()

    peak = peak_mib(site, "--arch", "amd64", "--format", output_format, "--dir", "out")

    largest = max(path.stat().st_size for path in (site.folder / "out").iterdir())
    shutil.rmtree(site.folder / "out")
    print(f"{output_format}: {peak:.0f} MiB")  # noqa: T201 - shown by pytest -s
    assert peak < LIMIT_OF_FORMATS_MIB
    assert largest > 2000 * MEBIBYTE


@pytest.mark.slow
def test_initrd_as_large_as_a_raspberry_pi_takes_is_made_in_little_memory(tmp_path: Path) -> None:
    site = format_site_with(tmp_path / "site", large_files(700), "arm64")

    peak = peak_mib(site, "--arch", "arm64", "--format", "rpi3")

    print(f"rpi3: {peak:.0f} MiB")  # noqa: T201 - shown by pytest -s
    assert peak < LIMIT_OF_FORMATS_MIB
