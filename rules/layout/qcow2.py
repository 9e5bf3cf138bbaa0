"""qcow2 version 3, without compression, encryption or snapshots, 64 KiB clusters.

    header | refcount table | refcount blocks | L1 table | L2 tables | data clusters in their order

Clusters that hold nothing but zeros are left out, and L2 tables without a cluster. Data starts on 64 KiB, so that
a file system can share its blocks. Source: QEMU docs/interop/qcow2.txt.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from kitbuild.extents import Extents, Literal, Part, Zeros, padding

_CLUSTER_BITS = 16
_CLUSTER = 1 << _CLUSTER_BITS
# Entries of eight bytes in an L2 table, of two bytes in a refcount block.
_L2_ENTRIES = _CLUSTER // 8
_BLOCK_ENTRIES = _CLUSTER // 2
_HEADER_BYTES = 104
# "This cluster has a refcount of one": the top bit of an entry.
_COPIED = 1 << 63


class _Places(NamedTuple):
    """Numbers of clusters: where each part of the file starts, and its end."""

    table: int
    blocks: int
    l1: int
    l2: int
    data: int
    end: int


def image(disk: Extents) -> Extents:
    """The qcow2 image of a raw disk of whole sectors; its clusters stay slices."""
    used = disk.used(_CLUSTER)
    tables = sorted({table for each in used for table in range(*_tables(each))})
    places = _places(disk.size, len(tables), sum(map(len, used)))
    return Extents.of(_parts(disk, used, places=places, tables=tables))


def _tables(used: range) -> tuple[int, int]:
    return used.start // _L2_ENTRIES, (used.stop - 1) // _L2_ENTRIES + 1


def _places(size: int, tables: int, clusters: int) -> _Places:
    l1_clusters = _clusters(8 * -(-size // (_CLUSTER * _L2_ENTRIES)))
    # Refcount blocks count themselves and their table: one more of them may call for yet another.
    blocks, table = 1, 1
    while True:
        end = 1 + table + blocks + l1_clusters + tables + clusters
        needed = -(-end // _BLOCK_ENTRIES)
        if (needed, _clusters(8 * needed)) == (blocks, table):
            break
        blocks, table = needed, _clusters(8 * needed)
    l1 = 1 + table + blocks
    l2 = l1 + l1_clusters
    return _Places(1, 1 + table, l1, l2, l2 + tables, end)


def _clusters(size: int) -> int:
    return -(-size // _CLUSTER)


def _parts(disk: Extents, used: list[range], *, places: _Places, tables: list[int]) -> Iterator[Part]:
    l1_entries = -(-disk.size // (_CLUSTER * _L2_ENTRIES))
    yield from _filled(_header(disk.size, l1_entries, places))
    blocks = range(places.blocks << _CLUSTER_BITS, places.l1 << _CLUSTER_BITS, _CLUSTER)
    yield from _filled(struct.pack(f">{len(blocks)}Q", *blocks))
    yield from _filled(b"\0\1" * places.end)
    l1 = [0] * l1_entries
    for place, table in enumerate(tables, places.l2):
        l1[table] = place << _CLUSTER_BITS | _COPIED
    yield from _filled(struct.pack(f">{l1_entries}Q", *l1))
    yield from _l2_tables(used, places.data, tables)
    for each in used:
        start, end = each.start * _CLUSTER, min(each.stop * _CLUSTER, disk.size)
        yield from disk.cut(start, end - start).parts
        yield padding(end, _CLUSTER)


def _l2_tables(used: list[range], cluster: int, tables: list[int]) -> Iterator[Part]:
    numbers = {table: place for place, table in enumerate(tables)}
    size = 0
    for each in used:
        for table in range(*_tables(each)):
            first, last = max(each.start, table * _L2_ENTRIES), min(each.stop, (table + 1) * _L2_ENTRIES)
            entries = range(cluster, cluster + last - first)
            cluster = entries.stop
            offset = 8 * (numbers[table] * _L2_ENTRIES + first % _L2_ENTRIES)
            content = struct.pack(
                f">{len(entries)}Q", *(entry << _CLUSTER_BITS | _COPIED for entry in entries)
            )
            yield Zeros(offset - size)
            yield Literal(content)
            size = offset + len(content)
    yield padding(size, _CLUSTER)


def _header(size: int, l1_entries: int, places: _Places) -> bytes:
    return struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        b"QFI\xfb",
        3,
        0,  # no backing file: offset
        0,  # and length of its name
        _CLUSTER_BITS,
        size,
        0,  # not encrypted
        l1_entries,
        places.l1 << _CLUSTER_BITS,
        places.table << _CLUSTER_BITS,
        places.blocks - places.table,
        0,  # no snapshots
        0,
        0,  # nothing incompatible
        0,  # nothing compatible
        0,  # nothing to clear
        4,  # refcounts of 2^4 bits
        _HEADER_BYTES,
    )


def _filled(content: bytes) -> Iterator[Part]:
    yield Literal(content)
    yield padding(len(content), _CLUSTER)
