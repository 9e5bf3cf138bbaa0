"""What records cost: their size, and the time that builds spend on them, for 10 and 1,000 sections.

    PYTHONPATH=. python bench/records.py [--sections 10 1000] [--runs 5]

Times are those of the processor, and the best of all runs: builds differ by more than records take. Layers are of a
few bytes, so that the build itself takes next to nothing; the last figure is what a record is of one of ten seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kitbuild.cache.directory import DirectoryStore, open_directory
from kitbuild.config.load import load
from kitbuild.config.lower import lower
from kitbuild.config.nodes import Sources
from kitbuild.config.origins import origins_of
from kitbuild.engine import build
from kitbuild.graph import Graph
from kitbuild.history import Builds
from kitbuild.node import Ingredients, Node
from kitbuild.record import History, Record
from kitbuild.registry import formats_named
from tests.support.images import image, layout

TEN_SECONDS = 10.0


def config(sections: int, word: str) -> str:
    lines = ["services:"]
    for number in range(sections):
        text = word if number == sections // 2 else "same"
        lines += [f"  - name: service{number}", "    image: bench/one", f'    command: ["/one", "{text}"]']
        lines += ["    env:", f"      - NUMBER={number}"]
    return "\n".join(lines) + "\n"


class Timed:
    """A history that knows how long it took."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.seconds = 0.0

    def why(self, node: Node, ingredients: Ingredients, nodes: Iterable[Node]) -> tuple[str, ...]:
        started = time.thread_time()
        found = self._history.why(node, ingredients, nodes)
        self.seconds += time.thread_time() - started
        return found

    def wants(self, state: str, *, ran: bool) -> bool:
        started = time.thread_time()
        found = self._history.wants(state, ran=ran)
        self.seconds += time.thread_time() - started
        return found

    def keep(self, record: Record) -> None:
        started = time.thread_time()
        self._history.keep(record)
        self.seconds += time.thread_time() - started


class Bench:
    def __init__(self, folder: Path, sections: int) -> None:
        from kitbuild.image import Platform
        from kitbuild.resolve import Resolver
        from kitbuild.rules.fetch import open_source

        self.folder, self.sections = folder, sections
        layout(folder / "images", {"bench/one": image({"one": b"one"})})
        self.platform = Platform("linux", "amd64")
        self.resolver: Any = lambda notes: Resolver(
            [f"layout:{folder / 'images'}"],
            notes,
            open_source=open_source,
            pull=False,
            offline=True,
            route=str,
        )

    def lowered(self, word: str, store: DirectoryStore) -> tuple[Graph, Any]:
        from kitbuild.config.lower import references_of

        path = self.folder / "bench.yml"
        path.write_text(config(self.sections, word))
        loaded = load([str(path)], stdin=None)
        images = self.resolver(store).images(references_of(loaded), self.platform)
        system = lower(loaded, Sources(images, {}, {}))
        outputs = formats_named(["kernel+initrd"])[0].outputs(system)
        graph = Graph.of(outputs)
        return graph, lambda: origins_of(loaded, images, {}, configs=(str(path),), flags={})

    def build(self, word: str, store: DirectoryStore) -> tuple[float, float, Record | None]:
        """Builds, and gives how long it took, how much of that was spent on records, and the record."""
        graph, origins = self.lowered(word, store)
        builds = Builds(store, "bench", origins=origins)
        history = Timed(builds)
        started = time.process_time()
        build(graph, store, report=lambda event: None, history=history)
        return time.process_time() - started, history.seconds, builds.latest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sections", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    for sections in arguments.sections:
        with tempfile.TemporaryDirectory() as name:
            told(Bench(Path(name), sections), arguments.runs)


def told(bench: Bench, runs: int) -> None:
    seconds: dict[str, list[tuple[float, float]]] = {}
    record: Record | None = None
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as name:
            store = open_directory(Path(name))
            for kind, word in (("first build", "one"), ("one changed", "two"), ("nothing to do", "two")):
                took, spent, found = bench.build(word, store)
                seconds.setdefault(kind, []).append((took, spent))
                record = found or record
            store.close()
    assert record is not None
    print(f"{bench.sections} sections, {len(record.nodes)} nodes: record of {len(record.encode()):,} bytes")
    for kind, times in seconds.items():
        took, spent = min(one for one, _ in times), min(one for _, one in times)
        print(
            f"  {kind:14} {took * 1000:8.1f} ms, of which the record {spent * 1000:6.1f} ms: "
            f"{spent / TEN_SECONDS:.2%} of a build of 10 s"
        )


if __name__ == "__main__":
    main()
