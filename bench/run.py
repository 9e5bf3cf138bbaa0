"""Times kitbuild from outside and checks the figures it promises.

    python bench/run.py [--quick] [--check]

Images are made of this machine's own /usr, so they compress as real ones do. Every figure is the median of several
whole processes with the cache on this disk; where two things are compared, they run in turn. `--check` exits with 1
if a figure misses its limit (limits are wide: machines differ), `--quick` takes fewer runs of a smaller system.
"""

from __future__ import annotations

import argparse
import hashlib
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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from isal import igzip

MEGABYTE = 1_000_000


# Runs a program and prints its wall seconds and its peak memory in KiB.
_TIMED = """
import os, sys, time
started = time.perf_counter()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
print(time.perf_counter() - started, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Figure(NamedTuple):
    name: str
    value: float
    unit: str
    limit: str = ""

    def fits(self) -> bool:
        if not self.limit:
            return True
        bound = float(self.limit.split()[1])
        return self.value <= bound if self.limit.startswith("<=") else self.value >= bound


class Images:
    """An OCI image layout made layer by layer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)
        self.manifests: dict[str, dict[str, object]] = {}
        self.bytes = 0
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (folder / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')

    def blob(self, content: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (self.blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def image(self, name: str, layer: bytes) -> None:
        """Adds or replaces an image of one layer."""
        self.bytes += len(layer)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
        kind = "application/vnd.oci.image"
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": self.blob(json.dumps(config).encode(), f"{kind}.config.v1+json"),
            "layers": [self.blob(igzip.compress(layer), f"{kind}.layer.v1.tar+gzip")],
        }
        descriptor = self.blob(json.dumps(manifest).encode(), f"{kind}.manifest.v1+json")
        descriptor["annotations"] = {"org.opencontainers.image.ref.name": f"docker.io/bench/{name}"}
        self.manifests[name] = descriptor
        index = {"schemaVersion": 2, "manifests": list(self.manifests.values())}
        (self.folder / "index.json").write_text(json.dumps(index))


# Larger ones would make layers of one file.
MOST_FILE_BYTES = 8 * MEGABYTE


def real_files() -> Iterator[tuple[str, Path]]:
    """Files of this machine, small and large."""
    for top in ("/usr/lib", "/usr/share", "/usr/bin"):
        for folder, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink() and path.stat().st_size <= MOST_FILE_BYTES:
                    yield str(path)[1:], path


def layers(count: int, size: int) -> list[bytes]:
    """`count` layer tars of about `size` bytes each, none like another."""
    files = real_files()
    made = []
    for _ in range(count):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            known: set[str] = set()
            for name, path in files:
                for parent in reversed(Path(name).parents):
                    if str(parent) not in known | {"."}:
                        known.add(str(parent))
                        entry = tarfile.TarInfo(str(parent))
                        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                        archive.addfile(entry)
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = path.stat().st_size, 0o644
                with path.open("rb") as content:
                    archive.addfile(entry, content)
                if stream.tell() > size:
                    break
        made.append(stream.getvalue())
    return made


def config(services: int, message: str) -> str:
    """A system of one kernel, two init images and some services."""
    lines = [
        "kernel:",
        "  image: bench/kernel",
        "  cmdline: console=ttyS0",
        "init: [bench/init0, bench/init1]",
        "services:",
    ]
    for number in range(services):
        lines += [
            f"  - name: service{number}",
            f"    image: bench/service{number % 7}",
            "    capabilities: [CAP_CHOWN]",
        ]
        lines += ['    binds: ["/etc/resolv.conf:/etc/resolv.conf"]', f'    env: ["NUMBER={number}"]']
    return "\n".join([*lines, "files:", "  - path: etc/motd", f"    contents: {json.dumps(message)}", ""])


class Bench:
    def __init__(self, folder: Path, runs: int) -> None:
        self.folder = folder
        self.runs = runs
        self.images = Images(folder / "images")
        self.more_images: tuple[Path, ...] = ()
        self.peak = 0

    def run(self, *arguments: str, cache: str = "cache") -> float:
        """One whole process; gives its wall seconds."""
        environment = {
            **os.environ,
            "KITBUILD_CACHE_DIR": str(self.folder / cache),
            "KITBUILD_IMAGES": os.pathsep.join(map(str, (self.images.folder, *self.more_images))),
        }
        program = Path(sys.executable).with_name("kitbuild")
        # A small process between: the kernel counts the memory of whoever forks as the child's peak.
        command = [sys.executable, "-I", "-S", "-c", _TIMED, str(program), *arguments]
        process = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, check=False)
        if process.returncode:
            sys.exit(f"kitbuild {' '.join(arguments)} failed:\n{process.stderr.decode()}")
        seconds, peak = process.stdout.split()[-2:]
        self.peak = max(self.peak, int(peak))
        return float(seconds)

    def median(
        self, *arguments: str, before: Callable[[int], object] = lambda run: None, cache: str = "cache"
    ) -> float:
        """The median of several runs, each after `before`."""
        seconds = []
        for number in range(self.runs):
            before(number)
            seconds.append(self.run(*arguments, cache=cache))
        return statistics.median(seconds)

    def write(self, name: str, services: int, message: str) -> None:
        """Writes a config."""
        (self.folder / name).write_text(config(services, message))


def figures(bench: Bench, unpacked: int) -> Iterator[Figure]:
    made = layers(10, unpacked // 10)
    kernel = io.BytesIO()
    with tarfile.open(fileobj=kernel, mode="w") as archive:
        for name, content in (("kernel", os.urandom(8 * MEGABYTE)), ("kernel.tar", made[9])):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    bench.images.image("kernel", kernel.getvalue())
    for number in range(9):
        bench.images.image(f"init{number}" if number < 2 else f"service{number - 2}", made[number])
    total = bench.images.bytes
    yield Figure("unpacked content", total / MEGABYTE, "MB")

    bench.write("ten.yml", 7, "hello")

    def forget(run: int) -> None:
        shutil.rmtree(bench.folder / "cache", True)
        # Or the disk is still busy with what the run before wrote.
        os.sync()

    first = bench.median("build", "ten.yml", before=forget)
    yield Figure("first build, images at hand", total / MEGABYTE / first, "MB/s", ">= 150")
    yield Figure("first build, seconds", first, "s")
    yield Figure("first build, peak memory", bench.peak / 1000, "MB", "<= 120")

    bare = statistics.median(_bare() for _ in range(bench.runs * 2))
    nothing = bench.median("build", "ten.yml")
    yield Figure("nothing to do, 10 sections", nothing, "s", "<= 0.15")
    yield Figure("nothing to do / bare interpreter", nothing / bare, "times")

    changed = bench.median("build", "ten.yml", before=lambda run: bench.write("ten.yml", 7, f"hello {run}"))
    yield Figure("one file of `files` changed", changed, "s", "<= 0.6")
    yield Figure("first build / one file changed", first / changed, "times")

    def replace(run: int) -> None:
        # Another first byte in the content of its first file, as after a new compilation of a program.
        layer = bytearray(made[8])
        with tarfile.open(fileobj=io.BytesIO(made[8])) as archive:
            offset = next(member.offset_data for member in archive if member.size)
        layer[offset] = run + 1
        bench.images.image("service6", bytes(layer))

    service = bench.median("build", "ten.yml", before=replace)
    yield Figure("last service's image changed", service, "s")
    yield Figure("first build / last service changed", first / service, "times")

    bench.write("thousand.yml", 1000, "hello")
    bench.run("build", "thousand.yml")
    yield Figure("nothing to do, 1,000 sections", bench.median("build", "thousand.yml"), "s", "<= 1.0")
    yield Figure(
        "graph, 1,000 sections", bench.median("graph", "--output", os.devnull, "thousand.yml"), "s", "<= 1.5"
    )
    yield Figure("peak memory of all builds", bench.peak / 1000, "MB", "<= 120")

    yield from compressions(bench, made)


def _bare() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
    return time.perf_counter() - started


def compressions(bench: Bench, made: list[bytes]) -> Iterator[Figure]:
    """The initrd's size against `gzip -6` of the same archive."""
    bench.write("ten.yml", 7, "hello")
    sizes = {}
    for kind in ("none", "gzip", "zstd"):
        bench.run("build", "--compression", kind, "--name", kind, "ten.yml", cache=f"cache-{kind}")
        sizes[kind] = (bench.folder / f"{kind}-initrd.img").stat().st_size
    started = time.perf_counter()
    with (bench.folder / "none-initrd.img").open("rb") as plain:
        gzip = subprocess.run(["gzip", "-6"], stdin=plain, capture_output=True, check=True).stdout
    yield Figure("gzip -6 of the whole initrd", time.perf_counter() - started, "s")
    yield Figure("initrd, uncompressed", sizes["none"] / MEGABYTE, "MB")
    yield Figure("initrd, gzip -6", len(gzip) / MEGABYTE, "MB")
    yield Figure("initrd, gzip (default)", sizes["gzip"] / MEGABYTE, "MB")
    yield Figure("gzip (default) / gzip -6", sizes["gzip"] / len(gzip), "times", "<= 1.2")
    yield Figure("initrd, zstd", sizes["zstd"] / MEGABYTE, "MB")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="3 runs of 60 MB instead of 5 of 250 MB")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure misses its limit")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kitbuild-bench-") as folder:
        bench = Bench(Path(folder), 3 if arguments.quick else 5)
        missed = told(figures(bench, (60 if arguments.quick else 250) * MEGABYTE))
    return 1 if missed and arguments.check else 0


def told(figures: Iterable[Figure]) -> int:
    """Prints the figures as they come; gives the number of those that miss their limit."""
    missed = 0
    for figure in figures:
        mark = "" if figure.fits() else "  MISSED"
        missed += not figure.fits()
        print(f"{figure.name:40} {figure.value:9.2f} {figure.unit:6} {figure.limit}{mark}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
