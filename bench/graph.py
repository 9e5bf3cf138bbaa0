"""Times `kitbuild graph`: whole processes, in every format, for configs of 10 and of 1,000 sections.

    python bench/graph.py [--quick] [--check]

Nothing is built while it is timed; each config is timed before its first build and after. Images are made of this
machine's own /usr. What Graphviz and the library for machines without it take for the drawing is told apart.
`--check` exits with 1 if a figure misses its limit (limits are wide: machines differ).
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from run import MEGABYTE, Bench, Figure, layers, told

FORMATS = ("dot", "mermaid", "json", "html")
SELECTIONS = {
    "--deps": ("--deps", "initrd"),
    "--rdeps, --critical-path": ("--rdeps", "image docker.io/bench/init0", "--critical-path"),
    "--path, --reduce": ("--path", "image docker.io/bench/init0", "initrd", "--reduce"),
}


def prepare(bench: Bench, size: int) -> None:
    """The images that the configs name."""
    made = layers(9, size // 9)
    kernel = io.BytesIO()
    with tarfile.open(fileobj=kernel, mode="w") as archive:
        for name, content in (("kernel", os.urandom(MEGABYTE)), ("kernel.tar", b"\0" * 10240)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    bench.images.image("kernel", kernel.getvalue())
    for number, layer in enumerate(made):
        bench.images.image(f"init{number}" if number < 2 else f"service{number - 2}", layer)


def figures(bench: Bench) -> Iterator[Figure]:
    out = ("--output", os.devnull)
    for sections, services, limit in ((10, 6, 0.2), (1000, 996, 1.5)):
        config = f"{sections}.yml"
        bench.write(config, services, "hello")
        title = f"{sections:,} sections"
        shutil.rmtree(bench.folder / "cache", True)
        yield Figure(f"{title}, nothing built", bench.median("graph", *out, config), "s", f"<= {limit}")
        bench.run("build", config)
        yield Figure(f"{title}, first time after a build", bench.run("graph", *out, config), "s")
        yield Figure(f"{title}, everything cached", bench.median("graph", *out, config), "s", f"<= {limit}")
        for kind in FORMATS:
            yield Figure(f"{title}, {kind}", bench.median("graph", "--format", kind, *out, config), "s")
        for name, flags in SELECTIONS.items():
            yield Figure(f"{title}, {name}", bench.median("graph", *flags, *out, config), "s")
        yield from drawings(bench, title, config)


def drawings(bench: Bench, title: str, config: str) -> Iterator[Figure]:
    """The SVG, with Graphviz if it is here, and with the library."""
    command = ("graph", "--format", "svg", "--output", os.devnull, config)
    path = os.environ["PATH"]
    if shutil.which("dot"):
        yield Figure(f"{title}, svg by Graphviz", bench.median(*command), "s")
    os.environ["PATH"] = os.devnull
    try:
        yield Figure(f"{title}, svg by the library", bench.median(*command), "s")
    finally:
        os.environ["PATH"] = path


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="3 runs with 9 MB of images instead of 5 with 90"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure misses its limit")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kitbuild-bench-") as folder:
        bench = Bench(Path(folder), 3 if arguments.quick else 5)
        prepare(bench, (9 if arguments.quick else 90) * MEGABYTE)
        missed = told(figures(bench))
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
