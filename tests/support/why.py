"""Builds in this process, to ask why: a site of small images, and what `kitbuild why` answers.

here = Here(tmp_path)
here.build()
here.change("linuxkit.yml", "ttyS0", "ttyS1")
assert here.causes() == ['linuxkit.yml:3: cmdline changed from "console=ttyS0" to "console=ttyS1"']
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kitbuild.cli.main import main
from tests.support import images
from tests.support.command import executable, small_images
from tests.support.kernels import kernel
from tests.support.syslinux import syslinux_program

CONFIG = """\
kernel:
  image: t/kernel:v1
  cmdline: console=ttyS0
init:
  - t/init:v1
onboot:
  - name: hello
    image: t/hello:v1
    command: ["/hello", "one"]
  - name: again
    image: t/tools:v1
    command: ["/bin/tool"]
services:
  - name: web
    image: t/web:v1
    env:
      - PORT=81
      - MODE=fast
volumes:
  - name: data
files:
  - path: etc/note
    contents: |
      first
      second
  - path: etc/motd
    source: motd
"""


class Ran(NamedTuple):
    """How a command ended, and what it wrote."""

    status: int
    stdout: str
    stderr: str


class _Text(io.StringIO):
    encoding = "utf-8"


class Here:
    """A folder to build in, with images `t/...:v1`, and caches of its own."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        self.folder = folder
        self.images: dict[str, images.Made] = {**small_images(), "t/kernel:v1": boot_image()}
        self.environment = {
            "KITBUILD_CACHE_DIR": str(folder / "cache"),
            "KITBUILD_IMAGES": str(folder / "images"),
        }
        self.write("linuxkit.yml", config)
        self.write("motd", "welcome\n")
        self.keep_images()

    def keep_images(self, **more: images.Made) -> None:
        """Writes the image layout anew; `more` are images by name without `t/` and `:v1`."""
        self.images.update({f"t/{name}:v1": made for name, made in more.items()})
        images.layout(self.folder / "images", self.images)

    def write(self, name: str, content: str | bytes) -> Path:
        """Writes a file of the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def change(self, old: str, new: str, name: str = "linuxkit.yml") -> None:
        """Replaces a text of a file, where it must be, once."""
        content = (self.folder / name).read_text()
        assert content.count(old) == 1, f"{content.count(old)} times {old!r} in {name}"
        self.write(name, content.replace(old, new))

    def run(self, *arguments: str, status: int | None = 0) -> Ran:
        """Runs a command line in the folder; None allows every status."""
        stdout, stderr = _Text(), _Text()
        with (
            environment(self.environment),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            found = main(arguments)
        ran = Ran(found, stdout.getvalue(), stderr.getvalue())
        assert status in (None, found), ran.stderr
        return ran

    def build(self, *arguments: str, status: int = 0) -> list[Mapping[str, Any]]:
        """Builds `linuxkit.yml`, unless the arguments name another config, and gives the events."""
        configs = () if any(text.endswith(".yml") for text in arguments) else ("linuxkit.yml",)
        ran = self.run("build", "--json", *arguments, *configs, status=status)
        return [json.loads(line) for line in ran.stdout.splitlines()]

    def why(self, *arguments: str) -> Any:
        """What `kitbuild why --json` answers."""
        return json.loads(self.run("why", "--json", *arguments).stdout)

    def causes(self, *arguments: str) -> list[str]:
        """The sentences of that."""
        return [cause["sentence"] for cause in self.why(*arguments)["causes"]]

    def folder_of_loader(self, version: str = "6.04") -> Path:
        """A folder with the files of a boot loader that starts nothing."""
        self.write("loader/syslinux", syslinux_program().replace(b"6.04", version.encode()))
        for name in ("isolinux.bin", "isohdpfx.bin", "mbr.bin", "altmbr.bin"):
            self.write(f"loader/{name}", b"\x33\xed" + bytes(430))
        return self.folder / "loader"


def boot_image(**more: images.Content) -> images.MadeImage:
    """An image with a kernel that formats take for one."""
    modules = images.layer_tar({"lib/modules/6.1/a.ko": b"module" * 100})
    return images.image({"kernel": kernel(), "kernel.tar": modules, "ucode.cpio": b"u" * 99, **more})


def web(text: str, **fields: Any) -> images.MadeImage:
    """Another t/web:v1."""
    return images.image({"bin/web": executable(text)}, entrypoint=["/bin/web"], **fields)


@contextlib.contextmanager
def environment(changes: Mapping[str, str]) -> Iterator[None]:
    """The environment without kitbuild's variables but for these."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith("KITBUILD_"):
            del os.environ[name]
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
