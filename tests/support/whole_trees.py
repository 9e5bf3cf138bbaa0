"""Random trees as a root file system is one: complete, with a root, and entries of every kind."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from kitbuild.extents import Slice
from kitbuild.tree import Entry, Kind

_NAMES = st.one_of(
    st.sampled_from("ab-~."),
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=9),
).filter(lambda name: name not in (".", ".."))
# In characters, in bytes, and in units of UTF-16.
_LONG_NAMES = st.sampled_from(["x" * 255, "é" * 64, "漢" * 85, "😀" * 63, "a" * 60 + "ü" * 9, "\U0010ffff"])
_TARGETS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=30)
_XATTRS = st.dictionaries(
    st.sampled_from(["user.a", "trusted.b", "security.c", "system.d"]), st.binary(max_size=5), max_size=2
)
_KINDS: list[Kind] = ["directory", "file", "file", "symlink", "char", "block", "fifo"]
_NUMBERS = st.integers(0, (1 << 32) - 2)
_TIMES = st.one_of(st.integers(-(10**18), 10**19), st.integers(0, 4 * 10**18))


@st.composite
def whole_trees(
    draw: st.DrawFn, contents: Sequence[Slice | None], *, has_long_names: bool = True
) -> list[Entry]:
    """Entries of one tree, hard links among them; their files hold one of the contents each."""
    names = st.one_of(_NAMES, _LONG_NAMES) if has_long_names else _NAMES
    entries = {"": draw(_entries("", "directory", contents))}
    for _ in range(draw(st.integers(0, 15))):
        folders = [path for path, entry in entries.items() if entry.kind == "directory"]
        parent = draw(st.sampled_from(folders))
        path = (parent + "/" if parent else "") + draw(names)
        if path not in entries:
            entries[path] = draw(_entries(path, draw(st.sampled_from(_KINDS)), contents))
    files = [path for path, entry in entries.items() if entry.kind == "file"]
    for number in range(draw(st.integers(0, 3)) if files else 0):
        path = draw(st.sampled_from("ab-~")) + f"link{number}"
        target = draw(st.sampled_from(files))
        entries.setdefault(path, Entry(path, "hardlink", 0o600, target=target))
    return list(entries.values())


@st.composite
def _entries(draw: st.DrawFn, path: str, kind: Kind, contents: Sequence[Slice | None]) -> Entry:
    entry = Entry(
        path, kind, draw(st.integers(0, 0o7777)), draw(_NUMBERS), draw(st.integers(0, 3)), draw(_TIMES)
    )
    xattrs = draw(_XATTRS)
    if kind not in ("directory", "file"):
        # Linux knows these on files and directories alone.
        xattrs.pop("user.a", None)
    entry = entry._replace(xattrs=tuple(sorted(xattrs.items())))
    if kind == "file":
        return entry._replace(content=draw(st.sampled_from(contents)))
    if kind == "symlink":
        return entry._replace(target=draw(_TARGETS))
    if kind in ("char", "block"):
        return entry._replace(device=(draw(st.integers(0, 4095)), draw(st.integers(0, (1 << 20) - 1))))
    return entry
