"""Directory listings: names sorted by their bytes, in runs whose inodes lie in one metadata block.

Source: squashfs.rst, 3.3; format.adoc, "Directory Table" and "Directory Index"; fs/squashfs/namei.c for how an index
is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from struct import Struct
from typing import NamedTuple

from kitbuild.rules.layout.squashfs.metadata import BLOCK, Metadata

_DIRECTORY = 1
_RUN = Struct("<III")
_NAME = Struct("<HhHH")
_MOST_NAMES = 256
# The furthest an inode's number may be from that of the first in its run.
_FURTHEST = 0x7FFF


class Name(NamedTuple):
    """A name, where its inode is in their table (start of the block << 16 | offset), that one's number and type."""

    name: bytes
    reference: int
    number: int
    type: int


class IndexPlace(NamedTuple):
    """A run for those who look for a name: its position in the listing, the start of its block, its first name."""

    position: int
    start: int
    name: bytes


class Listing(NamedTuple):
    """Where a listing is in the table, its size in bytes, how many of its names are directories; its index."""

    start: int
    offset: int
    size: int
    directories: int
    places: tuple[IndexPlace, ...]


def write_listing(names: Iterable[Name], table: Metadata) -> Listing:
    """Appends a listing to the table; one longer than a block gets an index of the blocks after its first."""
    ordered = sorted(names)
    start, offset = table.place
    index = []
    block, position = start, 0
    for run in _runs(ordered, table):
        place, _ = table.place
        if place != block:
            index.append(IndexPlace(position, place, run[0].name))
            block = place
        content = _run(run)
        table.append(content)
        position += len(content)
    directories = sum(name.type == _DIRECTORY for name in ordered)
    return Listing(start, offset, position, directories, tuple(index) if position > BLOCK else ())


def _runs(names: list[Name], table: Metadata) -> Iterator[list[Name]]:
    """The runs one by one; each has to be in the table before the next one is asked for.

    A run also ends where its block does, so that the index has a run to name in every block.
    """
    run: list[Name] = []
    end = 0
    for name in names:
        if run and (
            len(run) == _MOST_NAMES
            or name.reference >> 16 != run[0].reference >> 16
            or abs(name.number - run[0].number) > _FURTHEST
            or end >= BLOCK
        ):
            yield run
            run = []
        if not run:
            end = table.place[1] + _RUN.size
        run.append(name)
        end += _NAME.size + len(name.name)
    if run:
        yield run


def _run(run: list[Name]) -> bytes:
    first = run[0]
    header = _RUN.pack(len(run) - 1, first.reference >> 16, first.number)
    return header + b"".join(
        chain.from_iterable(
            (
                _NAME.pack(
                    name.reference & 0xFFFF, name.number - first.number, name.type, len(name.name) - 1
                ),
                name.name,
            )
            for name in run
        )
    )
