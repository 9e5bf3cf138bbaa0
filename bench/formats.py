"""Times every output format: one more format of a system that is built already, and what it costs in memory.

    python bench/formats.py [--megabytes 300] [--formats raw-bios,iso] [--check]

The system is the starter kit's examples/minimal.yml (`python examples/kit/make.py` makes its images) with a service
of so many megabytes that nothing can compress. It is built as kernel+initrd first; then each format is built as a
whole process from a copy of that cache, and beside it in the same run `cp` copies its output.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from run import MEGABYTE, Bench, Figure, told

EXAMPLES = Path(__file__).parents[1] / "examples"
RUNS = 3
# These pack every file anew, each in its own way: their time is that of the compressor.
PACKING = ("kernel+squashfs", "oci", "gcp", "vmdk", "ova", "rpi3")


def config(bench: Bench, megabytes: int) -> str:
    """The minimal system, with a large service if it is to have one."""
    text = (EXAMPLES / "minimal.yml").read_text()
    if megabytes:
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            for number in range(-(-megabytes // 100)):
                size = min(100, megabytes - 100 * number) * MEGABYTE
                entry = tarfile.TarInfo(f"data{number}")
                entry.size = size
                archive.addfile(entry, io.BytesIO(os.urandom(size)))
        bench.images.image("large", layer.getvalue())
        text += "  - name: large\n    image: bench/large\n    command: [/data0]\n"
    return text


def prepared(bench: Bench, made: Path) -> None:
    """A copy of the cache for one run; blobs are never written again, so they are shared."""
    shutil.rmtree(bench.folder / "cache", True)
    shutil.copytree(made / "blobs", bench.folder / "cache" / "blobs", copy_function=os.link)
    for name in ("index", "leases", "tmp"):
        if (made / name).exists():
            shutil.copytree(made / name, bench.folder / "cache" / name)


def figures(bench: Bench, megabytes: int, chosen: list[str]) -> Iterator[Figure]:
    (bench.folder / "system.yml").write_text(config(bench, megabytes))
    bench.more_images = (EXAMPLES / "kit/images",)
    first = bench.run("build", "system.yml")
    yield Figure("first build of kernel+initrd", first, "s")
    # Fetching the boot loaders is no part of it: another system has had them already.
    other = (EXAMPLES / "minimal.yml").read_text() + "files:\n  - path: etc/other\n    contents: other\n"
    (bench.folder / "other.yml").write_text(other.replace("cmdline: ", "cmdline: other "))
    for name in chosen:
        bench.run("build", "--format", name, "other.yml")
    made = bench.folder / "made"
    (bench.folder / "cache").rename(made)
    for name in chosen:
        yield from figures_of(bench, made, name, megabytes)


def figures_of(bench: Bench, made: Path, name: str, megabytes: int) -> Iterator[Figure]:
    output = bench.folder / "out"
    seconds, copies = [], []
    bench.peak = 0
    size = 0
    for _ in range(RUNS):
        prepared(bench, made)
        shutil.rmtree(output, True)
        output.mkdir()
        os.sync()
        seconds.append(bench.run("build", "--format", name, "--dir", "out", "system.yml"))
        started = time.perf_counter()
        for file in output.iterdir():
            subprocess.run(["cp", "--sparse=auto", file, output / "copy"], check=True)
        copies.append(time.perf_counter() - started)
        size = sum(file.stat().st_size for file in output.iterdir() if file.name != "copy")
    limit = "" if name in PACKING and megabytes else "<= 0.5" if megabytes else "<= 2"
    yield Figure(f"{name}: one more format", statistics.median(seconds), "s", limit)
    yield Figure(f"{name}: cp of it", statistics.median(copies), "s")
    yield Figure(f"{name}: size", size / MEGABYTE, "MB")
    yield Figure(f"{name}: peak memory", bench.peak / 1000, "MB", "<= 200")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=300, help="size of the large service; 0 for none")
    parser.add_argument("--formats", help="only these, separated by commas")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure misses its limit")
    arguments = parser.parse_args()
    program = Path(sys.executable).with_name("kitbuild")
    listed = json.loads(
        subprocess.run([program, "formats", "--json"], capture_output=True, check=True).stdout
    )
    known = [each["name"] for each in listed if "amd64" in (each["architectures"] or ["amd64"])]
    chosen = arguments.formats.split(",") if arguments.formats else known
    with tempfile.TemporaryDirectory(prefix="kitbuild-bench-") as folder:
        missed = told(figures(Bench(Path(folder), RUNS), arguments.megabytes, chosen))
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
