"""Builds configs with the starter kit's images and boots them in QEMU, emulated."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from examples.kit.boot import FORMATS, Boot, Machine, boot, machine_of
from tests.support.registry import tool

__all__ = [
    "EXAMPLES",
    "FORMATS",
    "KIT",
    "Boot",
    "Machine",
    "boot",
    "booted",
    "booted_format",
    "built",
    "kernel_files",
    "kit_images",
]

EXAMPLES = Path(__file__).parents[2] / "examples"
KIT = EXAMPLES / "kit"
# An idle machine needs a tenth of it.
TIMEOUT_SECONDS = 120


def kit_images(architecture: str = "", folder: Path = KIT / "images") -> Path:
    """The kit's image layout, made if it is not there: with nothing to do this takes a tenth of a second.

    For another architecture than this machine's, another folder.
    """
    tool("apt-get")
    command = [sys.executable, str(KIT / "make.py"), "--output", str(folder)]
    command += ["--architecture", architecture] if architecture else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def kernel_files(folder: Path | None = None) -> dict[str, bytes]:
    """The files of the starter kit's kernel image."""
    folder = folder or kit_images()

    def blob(descriptor: dict[str, Any]) -> bytes:
        digest: str = descriptor["digest"]
        return (folder / "blobs" / digest.replace(":", "/")).read_bytes()

    name = "docker.io/kit/kernel:v1"
    index = json.loads((folder / "index.json").read_bytes())
    entry = next(
        e for e in index["manifests"] if e["annotations"]["org.opencontainers.image.ref.name"] == name
    )
    found = {}
    for layer in json.loads(blob(entry))["layers"]:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob(layer)))) as tar:
            for member in tar:
                if file := tar.extractfile(member):
                    found[member.name] = file.read()
    return found


def built(folder: Path, *configs: Path, options: tuple[str, ...] = (), images: Path | None = None) -> Path:
    """The prefix of the files that a build of `configs`, merged, left in `folder`: kernel+initrd if not asked else.

    `images` is where the kit's are, if it is not where they are for this machine.
    """
    command = [sys.executable, "-m", "kitbuild", "build", "--quiet", "--images", str(images or kit_images())]
    command += ["--cache-dir", str(folder / "cache"), "--name", "system", "--dir", str(folder), *options]
    # Where relative paths in the examples start.
    done = subprocess.run(
        [*command, *map(str, configs)], cwd=EXAMPLES.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "system"


def booted(prefix: Path, marker: str, **settings: Any) -> str:
    """What the console says of the system with this prefix until `marker`, which it must say; then QEMU is gone."""
    return _console(Machine.of(prefix), marker, **settings)


def booted_format(prefix: Path, name: str, marker: str, **settings: Any) -> str:
    """The same for a build of the format `name`; `settings` are those of machine_of."""
    with TemporaryDirectory() as scratch:
        return _console(machine_of(prefix, name, Path(scratch), **settings), marker)


def _console(machine: Machine, marker: str, **settings: Any) -> str:
    tool(machine.emulator)
    if missing := machine.missing():
        message = f"{missing[0]} is not there; package {missing[1]} has it"
        pytest.fail(message) if os.environ.get("KITBUILD_NO_SKIP") == "1" else pytest.skip(message)
    result = boot(machine, marker, timeout_seconds=TIMEOUT_SECONDS, **settings)
    assert result.seen, result.console
    return result.console
