"""Partition tables. Source: UEFI specification 2.10, chapter 5; for logical partitions, util-linux' libfdisk."""

from __future__ import annotations

from struct import Struct, unpack_from

from kitbuild.reading.window import Window

_SECTOR = 512
_MBR_ENTRY = Struct("<B3sB3sII")
_EXTENDED = (0x05, 0x0F, 0x85)
_GPT_PROTECTIVE = 0xEE
_MOST = 128


def partitions(window: Window) -> tuple[str, list[tuple[str, Window]]] | None:
    """The kind of table and the partitions, named `p1`, `p2` after their place in it; None without a table."""
    head = window.read(0, 2 * _SECTOR)
    if head[510:512] != b"\x55\xaa":
        return None
    entries = list(_MBR_ENTRY.iter_unpack(head[446:510]))
    if any(entry[2] == _GPT_PROTECTIVE for entry in entries) and head[512:520] == b"EFI PART":
        return "GPT", _gpt(window, head[512:])
    if any(entry[0] not in (0, 0x80) for entry in entries):
        return None
    found = []
    for number, (_, _, kind, _, start, sectors) in enumerate(entries, 1):
        if kind in _EXTENDED:
            found += _logical(window, start)
        elif kind and sectors:
            found.append((f"p{number}", _part(window, f"p{number}", start, sectors)))
    return ("MBR", found) if found else None


def _gpt(window: Window, header: bytes) -> list[tuple[str, Window]]:
    table, count, size = unpack_from("<QII", header, 72)
    if not 128 <= size <= 4096 or count > 1024:
        raise window.broken(_SECTOR, f"expected a GPT of few small entries, got {count} of {size} bytes")
    found = []
    content = window.exactly(table * _SECTOR, count * size, "a GPT")
    for number in range(count):
        kind, _, first, last = unpack_from("<16s16sQQ", content, number * size)
        if any(kind):
            if last < first:
                raise window.broken(table * _SECTOR + number * size, "a partition that ends before it starts")
            name = f"p{number + 1}"
            found.append((name, _part(window, name, first, last - first + 1)))
    return found[:_MOST]


def _logical(window: Window, start: int) -> list[tuple[str, Window]]:
    """The chain of logical partitions; each entry is told from where the chain begins."""
    found: list[tuple[str, Window]] = []
    place, seen = start, set()
    while place not in seen and len(found) < _MOST:
        seen.add(place)
        sector = window.exactly(place * _SECTOR, _SECTOR, "a table of logical partitions")
        if sector[510:512] != b"\x55\xaa":
            raise window.broken(place * _SECTOR, "expected a table of logical partitions")
        (_, _, kind, _, first, sectors), (_, _, following, _, offset, _), *_ = _MBR_ENTRY.iter_unpack(
            sector[446:510]
        )
        if kind and sectors:
            name = f"p{5 + len(found)}"
            found.append((name, _part(window, name, place + first, sectors)))
        if following not in _EXTENDED:
            break
        place = start + offset
    return found


def _part(window: Window, name: str, first: int, sectors: int) -> Window:
    return window.part(first * _SECTOR, sectors * _SECTOR, name)
