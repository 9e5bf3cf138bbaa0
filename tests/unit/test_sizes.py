from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kitbuild.cache.memory import MemoryStore
from kitbuild.digest import Digest
from kitbuild.extents import Extents, Literal, Slice, Zeros
from kitbuild.rule import Artifact
from kitbuild.sizes import extents_size, sizes_of, tree_size
from kitbuild.tree import Entry, Tree

BLOB = Digest("a" * 64, 1000)
PATHS = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=9).filter(
    lambda text: text not in (".", "..")
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    xattrs = tuple(draw(st.dictionaries(st.text(max_size=4), st.binary(max_size=4), max_size=2)).items())
    path = draw(PATHS)
    kind: Any = draw(st.sampled_from(["file", "directory", "symlink", "hardlink", "char", "fifo"]))
    if kind == "file":
        size = draw(st.integers(0, 500))
        content = Slice(BLOB, draw(st.integers(0, 500)), size) if size else None
        return Entry(path, kind, 0o644, content=content, xattrs=tuple(sorted(xattrs)))
    target = (
        draw(st.sampled_from(['"file",1,2,3]', "x"])) if kind == "symlink" else "z" * (kind == "hardlink")
    )
    return Entry(path, kind, 0o644, target=target, xattrs=tuple(sorted(xattrs)))


@given(st.lists(entries(), unique_by=lambda entry: entry.path, max_size=8))
def test_size_of_a_tree_is_that_of_all_its_files(found: list[Entry]) -> None:
    tree = Tree(tuple(sorted(found, key=lambda entry: entry.path)))

    assert sum(entry.size for entry in found) == tree_size(tree.encode())


PARTS = st.one_of(
    st.builds(Slice, st.just(BLOB), st.integers(0, 500), st.integers(0, 500)),
    st.builds(Literal, st.binary(max_size=50)),
    st.builds(Zeros, st.integers(0, 10**12)),
)


@given(st.lists(PARTS, max_size=8))
def test_size_of_extents_is_that_of_the_file(parts: list[Any]) -> None:
    extents = Extents.of(parts)

    assert extents.size == extents_size(extents.encode())


def kept(store: MemoryStore, content: bytes) -> Digest:
    with store.writer() as blob:
        blob.write(content)
        return blob.commit()


def test_sizes_are_of_what_is_here_and_read_once() -> None:
    store = MemoryStore()
    content = Extents.of([Literal(b"hello")]).encode()
    here = Artifact("extents", kept(store, content))
    away = Artifact("tree", Digest("b" * 64, 10))
    blob = Artifact("blob", kept(store, b"bytes"))

    first = sizes_of([here, away, blob], store, store, "x.yml")
    again = sizes_of([here], MemoryStore(), store, "x.yml")
    other = sizes_of([here], MemoryStore(), store, "y.yml")

    assert {here.digest: 5} == first
    assert {here.digest: 5} == again
    assert {} == other


def test_note_that_cannot_be_read_counts_for_nothing() -> None:
    store = MemoryStore()
    digest = kept(store, Extents.of([Literal(b"hello")]).encode())

    for note in (b"{", b"[]", b'{"%s": -1}' % digest.hex.encode(), b'{"%s": "5"}' % digest.hex.encode()):
        store.keep("sizes", "x", note)

        assert {digest: 5} == sizes_of([Artifact("extents", digest)], store, store, "x")
