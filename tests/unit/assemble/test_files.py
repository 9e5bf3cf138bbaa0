"""The `files` section: what the rule makes of its entries."""

from __future__ import annotations

from typing import Literal

from kitbuild.rules.assemble.files import RULE, FileOptions, FilesOptions
from kitbuild.system import MTIME
from kitbuild.tree import Entry
from tests.support.trees import Bench


def option(
    path: str, kind: Literal["directory", "symlink", "file", "source"] = "file", text: str = ""
) -> FileOptions:
    return FileOptions(path, kind, 0o640, 3, 4, text)


def made(
    *options: FileOptions, sources: tuple[bytes, ...] = ()
) -> tuple[dict[str, str | bytes], dict[str, Entry]]:
    bench = Bench()
    tree = bench.run(RULE, FilesOptions(options), sources=[bench.blob(content) for content in sources])
    return bench.plain(tree), bench.entries(tree)


def test_every_kind_is_made_as_told() -> None:
    plain, entries = made(
        option("d", "directory"),
        option("d/file", text="grün"),
        option("d/link", "symlink", "/to"),
        option("d/from", "source"),
        sources=(b"disk",),
    )

    assert {"d": "dir", "d/file": "grün".encode(), "d/link": "-> /to", "d/from": b"disk"} == plain
    assert {(0o640, 3, 4, MTIME)} == {entry[2:6] for entry in entries.values()}


def test_sources_are_taken_in_their_order() -> None:
    plain, _ = made(option("b", "source"), option("x", text="-"), option("a", "source"), sources=(b"1", b"2"))

    assert {"a": b"2", "b": b"1", "x": b"-"} == plain


def test_empty_files_have_no_content() -> None:
    _, entries = made(option("a"), option("b", "source"), sources=(b"",))

    assert [None, None] == [entry.content for entry in entries.values()]


def test_later_entries_replace_earlier_ones() -> None:
    assert {"a": b"2"} == made(option("a", text="1"), option("a", text="2"))[0]
    assert {"a": "-> b"} == made(option("a", "directory"), option("a/x"), option("a", "symlink", "b"))[0]


def test_text_may_hold_any_bytes() -> None:
    assert {"a": b"\xff\n"} == made(option("a", text="\udcff\n"))[0]
