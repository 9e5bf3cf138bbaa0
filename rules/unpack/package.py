"""unpack/package: the files of a Debian package.

    !<arch>\\n                                        then members, each at an even offset:
    name[16] time[12] uid[6] gid[6] mode[8] size[10] `\\n    decimal, padded with blanks
    debian-binary ("2.0\\n"), control.tar[.*], data.tar[.gz|.xz|.zst]

Source: deb(5), ar(5); RFC 1952 (gzip), RFC 8878 (zstd), the .xz file format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kitbuild.errors import RuleError
from kitbuild.extents import Slice
from kitbuild.rule import Input, NoOptions, Rule, Work
from kitbuild.rules.layout import decompression
from kitbuild.rules.layout.decompression import BITE_BYTES, Stream
from kitbuild.rules.unpack.index import index
from kitbuild.tree import Tree

_MAGIC = b"!<arch>\n"
_HEADER_BYTES = 60
_HEADER_END = b"`\n"
# A package has three members; deb(5) lets others come whose names begin with an underscore.
_MOST_MEMBERS = 16
_HINT = "fetch the package again, or give its unpacked folder in its place"
_VERSION = b"2."
_VERSION_BYTES = 64
# The largest package there is (firmware, kernels with their symbols) stays below; past this limit it is a bomb.
_MAX_BYTES = 2 << 30


_KINDS: Mapping[str, Callable[[], Stream]] = {
    ".gz": decompression.gzip,
    ".xz": decompression.xz,
    ".zst": decompression.zstd,
}


def run(work: Work[NoOptions]) -> Tree:
    """The package's tree; raises RuleError for what is no package, is broken, or is packed in another way."""
    try:
        blob = work.artifact("package").digest
        name, data = _data(Slice(blob, 0, blob.size), work)
        suffix = name.removeprefix("data.tar")
        if suffix:
            data = _decompressed(data, _KINDS[suffix], work, name=name)
        return index(data, work, complete=True)
    except RuleError as error:
        raise RuleError(error.message, hint=error.hint or _HINT) from error


def _data(package: Slice, work: Work[Any]) -> tuple[str, Slice]:
    """The member with the files: its name and where it lies."""
    members = _members(package, work)
    name, version = next(members, ("", package))
    if name != "debian-binary" or version.size > _VERSION_BYTES:
        raise RuleError(f"expected a Debian package, which begins with `debian-binary`, got {name!r}")
    if not (text := work.read(version)).startswith(_VERSION):
        raise RuleError(f"expected a Debian package of format 2, got {text!r}")
    for name, part in members:
        if name == "data.tar" or name.startswith("data.tar."):
            if name != "data.tar" and name.removeprefix("data.tar") not in _KINDS:
                raise RuleError(f"expected data.tar, plain or packed by gzip, xz or zstd, got {name}")
            return name, part
    raise RuleError("expected a Debian package with a member data.tar, got none")


def _members(package: Slice, work: Work[Any]) -> Iterator[tuple[str, Slice]]:
    if package.size < len(_MAGIC) or work.read(package._replace(size=len(_MAGIC))) != _MAGIC:
        raise RuleError("expected a Debian package, got something else")
    offset = len(_MAGIC)
    for _ in range(_MOST_MEMBERS):
        if offset >= package.size:
            return
        if offset + _HEADER_BYTES > package.size:
            raise RuleError(f"the package ends in the middle of a header (at byte {offset})")
        header = work.read(Slice(package.blob, offset, _HEADER_BYTES))
        digits = header[48:58].rstrip(b" ")
        if header[58:] != _HEADER_END or not digits.isdigit():
            raise RuleError(f"expected the header of a member, got other bytes (at byte {offset})")
        size, start = int(digits), offset + _HEADER_BYTES
        if start + size > package.size:
            raise RuleError(
                f"expected a member of at most {package.size - start} bytes, got one of {size} (at byte {offset})"
            )
        # Some writers end names with a slash.
        name = header[:16].decode("latin-1").rstrip(" ").removesuffix("/")
        yield name, Slice(package.blob, start, size)
        offset = start + size + size % 2
    raise RuleError(f"expected a package of at most {_MOST_MEMBERS} members, got more")


def _decompressed(packed: Slice, opened: Callable[[], Stream], work: Work[Any], *, name: str) -> Slice:
    with work.writer() as writer:
        for piece in _plain(opened(), name, _bites(packed, work)):
            if writer.size + len(piece) > _MAX_BYTES:
                raise RuleError(f"expected a {name} of at most {_MAX_BYTES} bytes unpacked, got more")
            writer.write(piece)
        blob = writer.commit()
    return Slice(blob, 0, blob.size)


def _bites(packed: Slice, work: Work[Any]) -> Iterator[bytes]:
    for piece in work.pieces(packed):
        for start in range(0, len(piece), BITE_BYTES):
            yield piece[start : start + BITE_BYTES]


def _plain(stream: Stream, name: str, bites: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = stream.decompressor
    for bite in bites:
        # dpkg writes one stream and nothing behind it.
        if decompressor.eof:
            raise RuleError(f"expected the end of the package's {name}, got more")
        try:
            plain = decompressor.decompress(bite)
        except stream.error as error:
            raise RuleError(f"the package's {name} is broken: {error}") from error
        if plain:
            yield plain
    if not decompressor.eof or decompressor.unused_data:
        raise RuleError(f"the package's {name} does not end where its stream does")


RULE: Rule[Any] = Rule(
    name="unpack/package",
    version=1,
    summary="index a Debian package's files",
    options=NoOptions,
    inputs={"package": Input("blob")},
    output="tree",
    run=run,
)
