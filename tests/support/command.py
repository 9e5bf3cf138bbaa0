"""Runs the installed program from outside, in a folder of its own with images of its own.

    site = Site(tmp_path)
    site.write("linuxkit.yml", CONFIG)
    finished = site.run("build", "-v", "linuxkit.yml")
    assert finished.lines == [...]

What is in the folder: `images/` (an OCI layout with t/kernel, t/init, t/tools, t/hello, t/web), `cache/`, `home/`.
Names of containers' images and the sizes of their content are small, so a build takes a moment.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support import images

PROGRAM = Path(sys.executable).with_name("kitbuild")

CONFIG = """\
kernel:
  image: t/kernel:v1
  cmdline: console=ttyS0
init:
  - t/init:v1
  - t/tools:v1
onboot:
  - name: hello
    image: t/hello:v1
services:
  - name: web
    image: t/web:v1
files:
  - path: etc/note
    contents: first
"""
OUTPUTS = ("linuxkit-kernel", "linuxkit-cmdline", "linuxkit-initrd.img")


@dataclass(frozen=True)
class Finished:
    """How a command ended, and what it said."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def lines(self) -> list[str]:
        """What it reported, with times left out: "4 nodes: 4 run, 0 cached"."""
        times = re.compile(
            r"(, |  )\d+(\.\d+)? (ms|s)$| \((\d+ min )?[\d.]+ s saved\)|; (\d+ min )?[\d.]+ s saved"
        )
        return [times.sub("", line) for line in self.stderr.splitlines()]

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of the closing line: run, cached and, if there are any, failed and left."""
        nodes, _, rest = re.sub(r" \([^)]*\)", "", self.lines[-1]).partition(": ")
        counts = {name: int(number) for number, name in (pair.split() for pair in rest.split(", "))}
        assert sum(counts.values()) == int(nodes.split()[0])
        return counts

    @property
    def ran(self) -> dict[str, str]:
        """The nodes that ran and why, as `build -v` tells it; the names of layers without their digits."""
        words = r"never|option|its|it failed|the cache|kitbuild|changed the rule|isal|zstd|--|`"
        reason = rf"(?:{words}|\S+\.yml:\d+: |\S+ changed: |[a-z]+ \S+ was removed).*"
        found = re.findall(rf"^run: (.*?): ({reason})$", self.stderr, re.MULTILINE)
        return {re.sub(r"^layer [0-9a-f]{16}", "layer", name): why for name, why in found}


class Site:
    """A folder to build in."""

    def __init__(self, folder: Path, *, config: str = CONFIG) -> None:
        self.folder = folder
        (folder / "home").mkdir(parents=True)
        images.layout(folder / "images", small_images())
        self.write("linuxkit.yml", config)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "KITBUILD_CACHE_DIR": str(folder / "cache"),
            "KITBUILD_IMAGES": str(folder / "images"),
            "LC_ALL": "C.UTF-8",
            **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
        }

    def write(self, name: str, content: str | bytes) -> Path:
        """Writes a file of the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def change(self, name: str, old: str, new: str) -> None:
        """Replaces a text in a file of the folder, where it must be."""
        content = (self.folder / name).read_text()
        assert old in content, f"no {old!r} in {name}"
        self.write(name, content.replace(old, new))

    def run(
        self,
        *arguments: str,
        status: int = 0,
        stdin: bytes = b"",
        environment: Mapping[str, str | None] | None = None,
        program: Sequence[str] = (str(PROGRAM),),
        shell: str = "",
    ) -> Finished:
        """Runs the program and checks its exit status, and that it shows no traceback.

        `shell` is a line for bash in which "$@" is the command: `"$@" | head -c1`.
        """
        command = [*program, *arguments]
        if shell:
            command = ["bash", "-o", "pipefail", "-c", shell, "bash", *command]
        ended = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(environment),
            input=stdin,
            capture_output=True,
            timeout=120,
        )
        stderr = ended.stderr.decode("utf-8", "replace")
        assert "Traceback" not in stderr, stderr
        assert status == ended.returncode, f"status {ended.returncode}\n{stderr}"
        return Finished(ended.returncode, ended.stdout, stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts the program in a process group of its own, stderr to be read."""
        return subprocess.Popen(
            [str(PROGRAM), *arguments],
            cwd=self.folder,
            env=self._environment(None),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def outputs(self, name: str = "linuxkit", folder: str = ".") -> dict[str, str]:
        """The sha256 of every file that begins with a name, by what follows it."""
        found = sorted((self.folder / folder).glob(f"{glob_escaped(name)}[-.]*"))
        return {path.name.removeprefix(name): digest_of(path) for path in found if path.suffix != ".yml"}

    def _environment(self, changes: Mapping[str, str | None] | None) -> dict[str, str]:
        merged = {**self.environment, **(changes or {})}
        return {name: value for name, value in merged.items() if value is not None}


def glob_escaped(text: str) -> str:
    """A text that a glob takes literally."""
    return re.sub(r"([*?[])", r"[\1]", text)


def digest_of(path: Path) -> str:
    """The sha256 of a file, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def small_images() -> Mapping[str, images.MadeImage]:
    """The images of CONFIG: every kind of entry, two layers, labels, some hundred kilobytes."""
    script = executable(b"#!/bin/sh\n")
    modules = images.layer_tar({"lib/modules/6.1/a.ko": b"module" * 100})
    layer = dict[str, images.Content]
    content = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(8000))
    return {
        "t/kernel:v1": images.image(
            {"kernel": content[:100_000], "kernel.tar": modules, "ucode.cpio": b"u" * 99}
        ),
        "t/init:v1": images.image(
            {"bin/": images.directory(), "init": script, "etc/": images.directory(), "bin/sh": script}
        ),
        "t/tools:v1": images.image({"bin/": images.directory(), "bin/tool": script}),
        "t/hello:v1": images.image({"hello": script}, cmd=["/hello"]),
        "t/web:v1": images.image(
            layer({"bin/": images.directory(), "bin/web": executable(content), "data/old": b"old"}),
            layer({"bin/http": images.symlink("web"), "data/.wh.old": b"", "data/new": b"new"}),
            entrypoint=["/bin/web"],
            env=["PORT=80"],
            labels={"org.mobyproject.config": '{"capabilities": ["CAP_NET_BIND_SERVICE"]}'},
        ),
    }


def web_image(text: str) -> images.MadeImage:
    """Another t/web."""
    return images.image({"bin/web": executable(text)}, entrypoint=["/bin/web"])


def executable(content: str | bytes) -> images.Member:
    """A file that can be run."""
    return images.file(content, mode=0o755)
