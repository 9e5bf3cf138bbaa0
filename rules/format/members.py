"""A part of the root file system as members of a tar, and whole tars as parts one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kitbuild.extents import Extents, Literal, concat, padding
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format.stored import stored
from kitbuild.rules.layout.ustar import pieces
from kitbuild.tree import Entry

_BLOCK_BYTES = 4096
_LARGE_BYTES = 1 << 20


class MembersOptions(NamedTuple):
    """What LinuxKit records with every member; `locations` are the paths that say something else.

    Without a source nothing is recorded.
    """

    source: str
    location: str
    locations: tuple[tuple[str, str], ...] = ()


def run(work: Work[MembersOptions]) -> Extents:
    """The members without a trailer: headers from a blob of their own, contents as slices of the layers."""
    return stored(pieces(_recorded(work)), work)


def _recorded(work: Work[MembersOptions]) -> Iterator[tuple[Entry, Mapping[str, str]]]:
    options = work.options
    locations = dict(options.locations)
    for entry in work.entries(work.artifact("tree")):
        location = locations.get(entry.path, options.location)
        records = {"LINUXKIT.location": location, "LINUXKIT.source": options.source}
        yield entry, records if options.source else {}


RULE: Rule[Any] = Rule(
    name="format/members",
    version=1,
    summary="write a part's tar headers",
    options=MembersOptions,
    inputs={"tree": Input("tree")},
    output="extents",
    run=run,
)


class JoinOptions(NamedTuple):
    """`tail` is what follows the last piece: a tar's trailer, perhaps with a last member.

    With `aligned`, zeros go before every piece that is large enough for a copy to share its blocks.
    """

    tail: bytes = b""
    aligned: bool = False


def _join(work: Work[JoinOptions]) -> Extents:
    joined = concat(_placed(work))
    return Extents.of([*joined.parts, Literal(work.options.tail)])


def _placed(work: Work[JoinOptions]) -> Iterator[Extents]:
    position = 0
    for artifact in work.artifacts("pieces"):
        piece = work.extents(artifact)
        if work.options.aligned and piece.size >= _LARGE_BYTES:
            gap = padding(position, _BLOCK_BYTES)
            yield Extents.of([gap])
            position += gap.size
        yield piece
        position += piece.size


JOIN: Rule[Any] = Rule(
    name="format/join",
    version=2,
    summary="put pieces one after another",
    options=JoinOptions,
    inputs={"pieces": Input("extents", many=True)},
    output="extents",
    run=_join,
)
