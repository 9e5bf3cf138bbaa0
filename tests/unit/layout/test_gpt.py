from __future__ import annotations

import hashlib
import struct
import uuid
from binascii import crc32

import pytest

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Zeros
from kitbuild.rules.layout import gpt
from tests.support.fat import reader

MEBIBYTE = 1 << 20
PARTITION = Extents.of([Literal(b"boot"), Zeros(8 * MEBIBYTE - 4)])
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")


def header(disk: Extents, sector: int) -> tuple[int, ...]:
    """The fields after the checksum, once that and the one of the entries are right."""
    read = reader(disk)
    raw = read(sector * 512, 512)
    signature, revision, size, check, _, *fields, entries_at, count, entry_bytes, entries_check = (
        HEADER.unpack(raw[:92])
    )
    assert (b"EFI PART", 0x10000, 92, 128, 128) == (signature, revision, size, count, entry_bytes)
    assert crc32(raw[:16] + bytes(4) + raw[20:92]) == check
    assert crc32(read(entries_at * 512, 128 * 128)) == entries_check
    return (*fields, entries_at)


def test_both_headers_point_at_each_other_and_at_the_same_entries() -> None:
    made = gpt.disk(PARTITION, size=12 * MEBIBYTE)

    last = 12 * MEBIBYTE // 512 - 1
    front, back = header(made, 1), header(made, last)
    assert (1, last, 34, last - 33, 2) == (*front[:4], front[5])
    assert (last, 1, 34, last - 33, last - 32) == (*back[:4], back[5])
    assert front[4] == back[4]
    assert reader(made)(2 * 512, 16384) == reader(made)((last - 32) * 512, 16384)


def test_the_only_partition_is_an_efi_system_partition_at_1_mib() -> None:
    made = gpt.disk(PARTITION)

    kind, _, first, last, attributes, name = struct.unpack("<16s16sQQQ72s", reader(made)(1024, 128))
    assert "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" == str(uuid.UUID(bytes_le=kind))
    assert (2048, 2048 + 16384 - 1, 4) == (first, last, attributes)
    assert "EFI System" == name.decode("utf-16-le").rstrip("\0")
    assert bytes(127 * 128) == reader(made)(1024 + 128, 127 * 128)
    assert PARTITION == made.cut(MEBIBYTE, 8 * MEBIBYTE)


def test_a_disk_is_as_large_as_asked_or_as_small_as_whole_mebibytes_allow() -> None:
    assert 10 * MEBIBYTE == gpt.disk(PARTITION).size
    assert 64 * MEBIBYTE == gpt.disk(PARTITION, size=64 * MEBIBYTE).size


@pytest.mark.parametrize(
    ("size", "sectors"),
    [pytest.param(12 * MEBIBYTE, 24575, id="small"), pytest.param(3 << 40, 0xFFFFFFFF, id="3 TiB")],
)
def test_a_partition_that_covers_the_disk_keeps_others_away(size: int, sectors: int) -> None:
    sector = reader(gpt.disk(PARTITION, size=size))(0, 512)

    assert (0, 0xEE, 1, sectors) == struct.unpack_from("<B3xB3xII", sector, 446)
    assert (bytes(446), b"\x00\x02\x00", b"\x55\xaa") == (sector[:446], sector[447:450], sector[510:])


def test_identifiers_come_from_content_and_size_and_are_valid() -> None:
    one, same, larger = gpt.disk(PARTITION), gpt.disk(PARTITION), gpt.disk(PARTITION, size=99 * MEBIBYTE)

    def identifiers(disk: Extents) -> list[uuid.UUID]:
        read = reader(disk)
        return [uuid.UUID(bytes_le=read(offset, 16)) for offset in (512 + 56, 1024 + 16)]

    assert identifiers(one) == identifiers(same)
    assert identifiers(one)[0] != identifiers(larger)[0] and identifiers(one)[1] == identifiers(larger)[1]
    assert 2 == len(set(identifiers(one)))
    assert {(8, uuid.RFC_4122)} == {(number.version, number.variant) for number in identifiers(one)}


# Regenerate: print the right side.
def test_a_disk_is_the_same_bytes_for_ever() -> None:
    assert (
        "e69b09b0f922540b898686cbe4dbb447130dabf4028fac1a062708d52c136baa"
        == hashlib.sha256(gpt.disk(PARTITION).encode()).hexdigest()
    )


def test_a_partition_that_does_not_fit_is_refused() -> None:
    needed = 9 * MEBIBYTE + 33 * 512

    with pytest.raises(RuleError, match=f"at least {needed} bytes for its partition, got {9 * MEBIBYTE}"):
        gpt.disk(PARTITION, size=9 * MEBIBYTE)

    assert needed == gpt.disk(PARTITION, size=needed).size
