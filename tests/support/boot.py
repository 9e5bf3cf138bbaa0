"""Builds configs with the starter kit's images and boots them in QEMU, emulated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from examples.kit.boot import Boot, Machine, boot
from tests.support.registry import tool

__all__ = ["EXAMPLES", "KIT", "Boot", "Machine", "boot", "booted", "built", "kit_images"]

EXAMPLES = Path(__file__).parents[2] / "examples"
KIT = EXAMPLES / "kit"
# An idle machine needs a tenth of it.
TIMEOUT_SECONDS = 120


def kit_images() -> Path:
    """The kit's image layout, made if it is not there: with nothing to do this takes a tenth of a second."""
    tool("apt-get")
    done = subprocess.run([sys.executable, str(KIT / "make.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return KIT / "images"


def built(folder: Path, *configs: Path, options: tuple[str, ...] = ()) -> Path:
    """The prefix of the files that a kernel+initrd build of `configs`, merged, left in `folder`."""
    command = [sys.executable, "-m", "kitbuild", "build", "--quiet", "--images", str(kit_images())]
    command += ["--cache-dir", str(folder / "cache"), "--name", "system", "--dir", str(folder), *options]
    # Where relative paths in the examples start.
    done = subprocess.run(
        [*command, *map(str, configs)], cwd=EXAMPLES.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "system"


def booted(prefix: Path, marker: str, **settings: Any) -> str:
    """What the console says of the system with this prefix until `marker`, which it must say; then QEMU is gone."""
    tool("qemu-system-x86_64")
    result = boot(Machine.of(prefix), marker, timeout_seconds=TIMEOUT_SECONDS, **settings)
    assert result.seen, result.console
    return result.console
