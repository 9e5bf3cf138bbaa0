#!/usr/bin/env python3
"""Makes the starter kit: a folder of container images, from Debian packages, to build the examples with.

    python examples/kit/make.py
    kitbuild build --dir examples/out examples/minimal.yml

Needs a Debian or Ubuntu machine and its package mirror once; later runs are offline. Needs no root, no Docker.
The same packages give the same bytes, whoever runs this and wherever.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import early
import images
import kernel
import packages
from oci import Descriptor, Layout
from packages import KitError

HERE = Path(__file__).parent
# The modules whose code decides what the images hold.
SOURCES = ("early", "elf", "images", "kernel", "make", "oci", "packages")
# Debian and OCI agree on these names; for others the kernel's console and image file differ too.
ARCHITECTURES = ("amd64", "arm64")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; gives the exit status."""
    parser = argparse.ArgumentParser(
        description="Make the starter kit's images from Debian packages, without root.",
        epilog="A second run finds everything in examples/kit/.work and needs no network.",
    )
    parser.add_argument(
        "--output", type=Path, default=HERE / "images", help="folder to write, an OCI image layout"
    )
    parser.add_argument("--architecture", choices=ARCHITECTURES, help="default: this machine's")
    parser.add_argument(
        "--all-modules", action="store_true", help="keep all kernel modules (91 MB), not only some"
    )
    parser.add_argument(
        "--work", type=Path, default=HERE / ".work", help="folder for the downloaded packages"
    )
    parser.add_argument("--refresh", action="store_true", help="ask apt for newer packages")
    options = parser.parse_args(arguments)
    try:
        packages.require_tools()
        architecture = options.architecture or packages.native_architecture()
        work = options.work / architecture
        work.mkdir(parents=True, exist_ok=True)
        with (work / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two at once would write the same files
            names = (*images.PACKAGES, f"linux-image-cloud-{architecture}")
            debs = packages.fetched(names, work, architecture=architecture, refresh=options.refresh)
            make(options.output, debs, architecture=architecture, all_modules=options.all_modules)
    except (KitError, OSError) as error:
        hint = getattr(error, "hint", "")
        sys.stderr.write(f"error: {error}\n" + (f"hint: {hint}\n" if hint else ""))
        return 1
    return 0


def make(output: Path, debs: Sequence[Path], *, architecture: str, all_modules: bool) -> None:
    """Writes the image layout `output`, unless it is there already, made from the same packages and files."""
    started = time.monotonic()
    made_from = _made_from(debs, all_modules=all_modules)
    stamp = output / "made-from"
    if stamp.exists() and stamp.read_text() == made_from:
        _say(f"{output} is up to date")
        return
    if output.exists() and any(output.iterdir()) and not (output / "oci-layout").exists():
        raise KitError(
            f"expected {output} to be empty or an image layout, found something else",
            hint="name another folder",
        )
    _say(f"making {output} from {len(debs)} Debian packages ...")
    layout = Layout(output, architecture)
    try:
        _write(layout, debs, all_modules=all_modules)
        layout.close()
    finally:
        layout.discard()
    stamp.write_text(made_from)
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    _say(f"{len(images.IMAGES) + 1} images, {size / 1e6:.1f} MB, in {time.monotonic() - started:.1f} s")


def _write(layout: Layout, debs: Sequence[Path], *, all_modules: bool) -> None:
    of_kernel = [deb for deb in debs if deb.name.startswith("linux-image-")]
    files = {file.path: file for deb in debs if deb not in of_kernel for file in packages.files(deb)}
    members = kernel.kernel_members(
        (file for deb in of_kernel for file in packages.files(deb)),
        busybox=files["bin/busybox"].data,
        all_modules=all_modules,
    )
    _add(layout, "kernel", [layout.layer(members)], {})
    base = layout.layer(images.base_members(files))
    for name in sorted(images.IMAGES):
        own = list(images.own_members(name, files))
        layers = [base, layout.layer(own)] if own else [base]
        _add(layout, name, layers, images.run_config(name))


def _add(layout: Layout, name: str, layers: Sequence[Descriptor], config: Mapping[str, Any]) -> None:
    layout.image(f"{images.PREFIX}{name}{images.TAG}", layers, config)


def _made_from(debs: Sequence[Path], *, all_modules: bool) -> str:
    """A digest over all that the bytes of the images depend on."""
    state = hashlib.sha256(f"all modules: {all_modules}\n".encode())
    for source in sorted(path for path in HERE.rglob("*") if path.is_file() and _is_source(path)):
        state.update(source.relative_to(HERE).as_posix().encode() + b"\0" + source.read_bytes())
    for deb in debs:
        state.update(f"{deb.name} {deb.stat().st_size}\n".encode())
    return f"{state.hexdigest()}\n"


def _is_source(path: Path) -> bool:
    return path.relative_to(HERE).parts[0] in {
        *images.IMAGES,
        early.FOLDER.name,
        *(f"{name}.py" for name in SOURCES),
    }


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
