"""`--decompress-kernel` from the command line to the files of a system."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest

from tests.support.command import Site
from tests.support.images import file, image, layout
from tests.support.registry import tool

pytestmark = pytest.mark.integration

VMLINUX = b"\x7fELF" + b"a kernel" * 1000
OPTIONS = ("--arch", "amd64", "--offline", "--images", "mine")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path, config="kernel: {image: t/linux:v1, binary: Image.gz, tar: none}\n")
    packed = gzip.compress(VMLINUX, mtime=0)
    kernel = image({"Image.gz": file(packed, mode=0o644), "text": file("no kernel")})
    layout(tmp_path / "mine", {"t/linux:v1": kernel})
    return site


def test_the_kernel_is_written_without_its_compression(site: Site) -> None:
    site.run("build", *OPTIONS, "--decompress-kernel", "linuxkit.yml")

    assert (site.folder / "linuxkit-kernel").read_bytes() == VMLINUX


def test_the_kernel_in_a_tar_is_without_its_compression(site: Site) -> None:
    site.run("build", *OPTIONS, "--format", "tar", "--decompress-kernel", "linuxkit.yml")

    command = [
        tool("tar"),
        "--extract",
        "--to-stdout",
        "--warning=none",
        "--file",
        "linuxkit.tar",
        "boot/kernel",
    ]
    read = subprocess.run(command, cwd=site.folder, capture_output=True, check=True)
    assert read.stdout == VMLINUX


def test_without_the_option_the_kernel_stays_as_it_is(site: Site) -> None:
    site.run("build", *OPTIONS, "linuxkit.yml")

    assert gzip.decompress((site.folder / "linuxkit-kernel").read_bytes()) == VMLINUX


def test_what_is_no_compressed_kernel_ends_the_build_with_a_way_out(site: Site) -> None:
    site.change("linuxkit.yml", "Image.gz", "text")

    failed = site.run("build", *OPTIONS, "--decompress-kernel", "linuxkit.yml", status=1)

    assert "`text` in the kernel image: expected a bzImage or a kernel packed by" in failed.stderr
    assert "hint: build without `--decompress-kernel`" in failed.stderr
