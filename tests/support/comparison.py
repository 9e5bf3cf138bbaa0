"""Two root file systems held against each other: tars as they unpack, initrds as the kernel unpacks them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tests.support import images
from tests.support.cpio import Kernel, Record
from tests.support.peer import in_initrd
from tests.support.unpacking import MTIME, Found, TarEntry, Unpacked, unpacked


def assert_same(peer: Unpacked, ours: Unpacked) -> None:
    """Every path the same, and written last by the same part; only who listed a directory may differ."""
    assert [] == peer.lost
    assert [] == ours.lost
    for path in sorted(peer.paths.keys() | ours.paths.keys()):
        expected, actual = peer.paths.get(path), ours.paths.get(path)
        assert expected == (actual and expected and seen_as(expected, actual)), path
    for path, writer in peer.writers.items():
        assert writer == ours.writers[path], path


def seen_as(expected: Found, actual: Found) -> Found:
    """A directory that only kitbuild lists has a time; it has to be that of all it makes."""
    if expected.mtime is None and actual.mtime == MTIME:
        return actual._replace(mtime=None)
    return actual


def looked_up(system: Unpacked, paths: Iterable[str]) -> dict[str, str | None]:
    """What is at some paths, in short: `file: text`, `symlink: target`, `directory`, None."""
    found: dict[str, str | None] = {}
    for path in paths:
        entry = system.paths.get(path)
        text = (entry.target or system.contents[entry.sha256].decode()) if entry else ""
        found[path] = entry and (f"{entry.kind}: {text}" if entry.kind != "directory" else entry.kind)
    return found


def differing(peer: Unpacked, ours: Unpacked) -> set[str]:
    """The paths that are not the same in both, whoever listed a directory."""
    different = set()
    for path in peer.paths.keys() | ours.paths.keys():
        expected, actual = peer.paths.get(path), ours.paths.get(path)
        if not expected or not actual or expected != seen_as(expected, actual):
            different.add(path)
    return different


# The kinds by the type bits of a mode.
KINDS = {0o10: "file", 0o12: "symlink", 0o06: "block", 0o04: "directory", 0o02: "char", 0o01: "fifo"}
_MADE = Found("directory", 0o755, 0, 0, 0, "", "", (0, 0), (), MTIME)


class Booted(NamedTuple):
    """A root file system in memory: what is where, its time in seconds, and the groups of names that share a file."""

    paths: dict[str, Any]
    times: dict[str, int]
    shared: set[frozenset[str]]


def meant(entries: Sequence[TarEntry]) -> Booted:
    """What the kernel is to make of LinuxKit's tar: no extended attributes, no root, times as newc can hold them."""
    found = unpacked(in_initrd(entries))
    if any(entry.name.startswith("boot/") for entry in entries):
        # Nobody need have listed it: kitbuild does, and leaves it empty.
        found.paths.setdefault("boot", _MADE)
    paths = {path: entry for path, entry in found.paths.items() if path}
    return Booted(
        {
            path: (entry.kind, entry.mode, entry.uid, entry.gid, entry.sha256 or entry.target or entry.device)
            for path, entry in paths.items()
        },
        {
            path: max((MTIME if entry.mtime is None else entry.mtime) // 10**9, 0)
            for path, entry in paths.items()
        },
        {frozenset(entry.names) for entry in paths.values() if entry.names},
    )


class _Clock(Kernel):
    """A kernel that remembers the time of what it made last at a path."""

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, int] = {}

    def _make(self, record: Record) -> bool:
        self.times[record.name.decode("utf-8", "surrogateescape")] = record.mtime
        return super()._make(record)


def booted(archive: bytes) -> Booted:
    """The root file system after the kernel has unpacked an initrd; nothing in it may come to nothing."""
    kernel = _Clock()
    kernel.unpack(archive)
    assert [] == kernel.skipped
    kernel.times.pop(".", None)
    return Booted(_plain(kernel), kernel.times, kernel.shared())


def _plain(kernel: Kernel) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for path, (mode, uid, gid, rest) in kernel.plain().items():
        assert isinstance(mode, int)
        kind = KINDS[mode >> 12]
        if kind == "file":
            rest = images.hex_of(rest if isinstance(rest, bytes) else b"")
        elif kind == "symlink":
            assert isinstance(rest, bytes)
            rest = rest.decode("utf-8", "surrogateescape")
        elif kind == "directory":
            rest = (0, 0)
        paths[path] = (kind, mode & 0o7777, uid, gid, rest)
    return paths
