"""Runs rules one after another over a real store, and reads what they give.

rules = Bench(MemoryStore(tmp_path))
layer = rules.layer({"etc/hosts": "1"})
tree = rules.tree(rules.image(layer))
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st

from kitbuild.cache.memory import MemoryStore
from kitbuild.digest import Digest
from kitbuild.extents import Extents, Literal, Slice, Zeros
from kitbuild.rule import Artifact, NoOptions, Rule
from kitbuild.rules.unpack import image, layer
from kitbuild.tree import Entry, Kind, Tree
from kitbuild.work import StoreWork
from tests.support.images import LayerContent, MadeImage, layer_tar
from tests.support.images import image as made_image

# What a LayerContent may be; as Any, since a dict of files and texts is a dict[str, object] to a type checker.
Content = Any


def made(*layers: Content) -> MadeImage:
    """An image of these layers, lowest first."""
    return made_image(*layers)


def tar_of(content: Content) -> bytes:
    """The tar of a layer."""
    contents: LayerContent = content
    return layer_tar(contents)


class Bench:
    """A store, and short ways to run rules over it; `warnings` is what the rules told the user."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.warnings: list[str] = []

    def work(self, options: Any = None, **inputs: Artifact | Sequence[Artifact]) -> StoreWork:
        """The Work of one run."""
        given = {
            name: (value,) if isinstance(value, Artifact) else tuple(value) for name, value in inputs.items()
        }
        return StoreWork(options=options, inputs=given, store=self.store, warn=self.warnings.append)

    def run(self, rule: Rule[Any], options: Any = None, **inputs: Artifact | Sequence[Artifact]) -> Artifact:
        """What the rule gives, kept in the store the way a build keeps it."""
        with self.work(options or NoOptions(), **inputs) as work:
            value = rule.run(work)
            if isinstance(value, Artifact):
                return value
            return Artifact(rule.output, value if isinstance(value, Digest) else work.put(value.encode()))

    def blob(self, content: bytes) -> Artifact:
        """Bytes as a blob."""
        with self.work() as work:
            return Artifact("blob", work.put(content))

    def slice(self, content: bytes) -> Slice | None:
        """Bytes as the content of an entry."""
        blob = self.blob(content).digest
        return Slice(blob, 0, blob.size) if content else None

    def put(self, entries: Iterable[Entry]) -> Artifact:
        """Entries as a tree."""
        with self.work() as work:
            return Artifact("tree", work.put(Tree.of(entries).encode()))

    def layer(self, content: Content) -> Artifact:
        """The tree of a layer."""
        options = layer.LayerOptions("t/image:v1: layer 1 of 1")
        return self.run(layer.RULE, options, tar=self.blob(layer_tar(content)))

    def image(self, *layers: Content | Artifact) -> Artifact:
        """The tree of an image of these layers, lowest first."""
        trees = [content if isinstance(content, Artifact) else self.layer(content) for content in layers]
        return self.run(image.RULE, image.ImageOptions("t/image:v1"), layers=trees)

    def tree(self, artifact: Artifact) -> Tree:
        """The tree behind an artifact."""
        with self.work() as work:
            return work.tree(artifact)

    def entries(self, artifact: Artifact) -> dict[str, Entry]:
        """Its entries by path."""
        return self.tree(artifact).by_path()

    def read(self, part: Slice | None) -> bytes:
        """The bytes of an entry's content."""
        if part is None:
            return b""
        with self.work() as work:
            return b"".join(work.pieces(part))

    def bytes_of(self, artifact: Artifact) -> bytes:
        """The bytes that extents stand for."""
        with self.work() as work:
            extents: Extents = work.extents(artifact)
        output = io.BytesIO()
        for part in extents.parts:
            if isinstance(part, Literal):
                output.write(part.content)
            elif isinstance(part, Zeros):
                output.write(bytes(part.size))
            else:
                output.write(self.read(part))
        return output.getvalue()

    def plain(self, artifact: Artifact) -> dict[str, str | bytes]:
        """A tree as one can write it down: contents of files, `dir`, `-> target`, and names of other kinds."""
        tree = self.entries(artifact)
        return {path: self._plain(entry, tree) for path, entry in tree.items()}

    def _plain(self, entry: Entry, tree: dict[str, Entry]) -> str | bytes:
        if entry.kind == "hardlink":
            entry = tree[entry.target]
        if entry.kind == "file":
            return self.read(entry.content)
        return {"directory": "dir", "symlink": f"-> {entry.target}"}.get(entry.kind, entry.kind)

    def names_sharing(self, artifact: Artifact, path: str) -> set[str]:
        """All names of the file that has this one."""
        tree = self.entries(artifact)
        first = tree[path].target or path
        return {first} | {name for name, entry in tree.items() if entry.target == first}


# Few names, so that trees meet each other.
PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
_TARGETS = st.sampled_from(["a", "b", "/a", "/c", "a/b", "../b", "/b/c", "missing", "/"])
_KINDS: list[Kind] = ["directory", "directory", "file", "file", "file", "symlink", "hardlink", "char", "fifo"]


@st.composite
def entries(draw: st.DrawFn, contents: Sequence[Slice | None]) -> list[Entry]:
    """Entries in any order, paths repeated, hard links to anything: what a layer's tar may hold."""
    made = []
    for path in draw(st.lists(PATHS, max_size=7)):
        kind = draw(st.sampled_from(_KINDS))
        entry = Entry(path, kind, draw(st.sampled_from([0o644, 0o755, 0o600])), draw(st.integers(0, 2)))
        if kind == "file":
            entry = entry._replace(content=draw(st.sampled_from(contents)))
        elif kind == "symlink":
            entry = entry._replace(target=draw(_TARGETS))
        elif kind == "hardlink":
            entry = entry._replace(target=draw(PATHS))
        elif kind == "char":
            entry = entry._replace(device=(1, draw(st.integers(3, 5))))
        made.append(entry)
    return made
