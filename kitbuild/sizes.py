"""Sizes: how many bytes a tree or the file behind extents holds, without reading any of its content.

What a result refers to says less: a tree of one small module refers to the whole layer it came in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress

from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError
from kitbuild.rule import Artifact
from kitbuild.store import Notes, Store

# One line is `["file", path, mode, uid, gid, mtime, blob, offset, size]`, perhaps with {attributes} at the end, where
# JSON escapes every line break. Ten times as fast as reading the entries, and trees are large.
_FILE = re.compile(rb'^\["file",[^\n]*,(\d+)(?:,\{[^\n]*\})?\]$', re.M)
# A slice ends with its size, a run of zeros has nothing else.
_PIECE = re.compile(rb"^(?:S \d+ \d+|Z) (\d+)$", re.M)
_LITERAL = re.compile(rb"^L ([A-Za-z0-9+/]*)(=*)$", re.M)


def tree_size(content: bytes) -> int:
    """The bytes of all files of a tree in its canonical form; a hard link counts as nothing."""
    return sum(map(int, _FILE.findall(content)))


def extents_size(content: bytes) -> int:
    """The length of the file that extents in their canonical form describe."""
    literal = sum(
        (len(text) + len(padding)) // 4 * 3 - len(padding) for text, padding in _LITERAL.findall(content)
    )
    return sum(map(int, _PIECE.findall(content))) + literal


def sizes_of(artifacts: Iterable[Artifact], store: Store, notes: Notes, scope: str) -> dict[Digest, int]:
    """The sizes of those trees and extents that are in `store`, by digest.

    They are noted under `scope`: what was read once is not read again.
    """
    wanted = dict.fromkeys(artifact for artifact in artifacts if artifact.kind != "blob")
    noted = _noted(notes, scope)
    sizes: dict[Digest, int] = {}
    for artifact in wanted:
        size = noted.get(artifact.digest.hex)
        if size is None:
            with suppress(OSError, MissingBlobError):
                content = store.path(artifact.digest).read_bytes()
                size = tree_size(content) if artifact.kind == "tree" else extents_size(content)
        if size is not None:
            sizes[artifact.digest] = size
    known = {digest.hex: size for digest, size in sizes.items()}
    if not known.keys() <= noted.keys():
        notes.keep("sizes", scope, json.dumps(known, separators=(",", ":")).encode("ascii"))
    return sizes


def _noted(notes: Notes, scope: str) -> dict[str, int]:
    try:
        found = json.loads(notes.note("sizes", scope) or b"{}")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: size for name, size in found.items() if type(size) is int and size >= 0}
