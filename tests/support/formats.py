"""Every output format built by the installed program, of a small system whose kernel nobody could start.

    site = FormatSite(tmp_path)
    digests = site.every_output()        # {"linuxkit-efi.img": sha256, ...}

The boot loaders are the pinned ones, fetched once for all tests.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import images
from tests.support.command import PROGRAM, Site, digest_of, small_images
from tests.support.kernels import kernel
from tests.support.loaders import loader_settings

# What wants to be alone: streams, and what writes a file that another format writes too.
ALONE = ("tar", "docker", "kernel+iso", "dynamic-vhd", "gcp")
# The disks of the others would be of 1 GiB; this one has to be.
_WHOLE_GIBIBYTES = ("gcp",)
CONFIG = """\
kernel:
  image: t/kernel:v1
  cmdline: console=ttyS0
  ucode: ucode.cpio
init:
  - t/init:v1
  - t/tools:v1
onboot:
  - name: hello
    image: t/hello:v1
services:
  - name: web
    image: t/web:v1
volumes:
  - name: data
    image: t/hello:v1
  - name: layout
    image: t/hello:v1
    format: oci
    platforms: [linux/amd64]
files:
  - path: etc/note
    contents: first
  - path: etc/source
    source: note.txt
  - path: etc/link
    symlink: note
  - path: etc/folder
    directory: true
    mode: "0750"
"""
_DEVICE_TREE = "boot/dtb/broadcom/bcm2837-rpi-3-b.dtb"


def groups(architecture: str) -> list[str]:
    """All formats there are for an architecture, as arguments of `--format`, in as few builds as can be."""
    listed = json.loads(
        subprocess.run([PROGRAM, "formats", "--json"], capture_output=True, check=True).stdout
    )
    names = [each["name"] for each in listed if architecture in (each["architectures"] or [architecture])]
    together = [name for name in names if name not in ALONE]
    return [*(name for name in ALONE if name in names), ",".join(together)]


def kernel_image(architecture: str) -> images.MadeImage:
    """A kernel image with modules, microcode and device trees."""
    assert architecture in ("amd64", "arm64")
    tar = images.layer_tar({"lib/modules/a.ko": b"module", _DEVICE_TREE: b"device tree"})
    files = {"kernel": kernel("amd64" if architecture == "amd64" else "arm64"), "kernel.tar": tar}
    return images.image({**files, "ucode.cpio": b"\x99" * 99})


class FormatSite(Site):
    """A folder to build every format in; `counts` are those of the last builds' closing lines."""

    counts: list[dict[str, int]]

    def __init__(self, folder: Path, *, config: str = CONFIG, architecture: str = "amd64") -> None:
        super().__init__(folder, config=config)
        self.architecture = architecture
        self.environment["KITBUILD_BOOT_LOADERS"] = loader_settings(architecture)
        self.write("note.txt", "a note")
        images.layout(self.folder / "images", {**small_images(), "t/kernel:v1": kernel_image(architecture)})

    def options(self, chosen: str) -> list[str]:
        """What builds formats for the site's architecture, with disks as small as can be."""
        size = [] if chosen in _WHOLE_GIBIBYTES else ["--size", "64M"]
        return ["--arch", self.architecture, "--format", chosen, *size]

    def every_output(
        self,
        *arguments: str,
        shell: str = "",
        environment: Mapping[str, str | None] | None = None,
        formats: Sequence[str] = (),
    ) -> dict[str, str]:
        """The sha256 of every file of every format, by format group and name."""
        found = {}
        self.counts = []
        for number, chosen in enumerate(formats or groups(self.architecture)):
            folder = self.folder / f"out{number}"
            folder.mkdir(exist_ok=True)
            command = ["build", *self.options(chosen), "--dir", folder.name]
            ended = self.run(*command, *arguments, "linuxkit.yml", shell=shell, environment=environment)
            self.counts.append(ended.counts)
            for path in sorted(folder.iterdir()):
                found[f"{folder.name}/{path.name}"] = digest_of(path)
        return found
