from __future__ import annotations

import struct

import pytest

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Zeros
from kitbuild.rules.layout import mbr
from tests.support.fat import reader

MEBIBYTE = 1 << 20
PARTITION = Extents.of([Literal(b"boot"), Zeros(8 * MEBIBYTE - 4)])


def test_the_disk_has_the_code_and_one_active_partition_at_1_mib() -> None:
    made = mbr.disk(PARTITION, boot_code=b"code" * 110, kind=0x83, size=12 * MEBIBYTE)

    sector = reader(made)(0, 512)
    assert (b"code" * 110, b"\x55\xaa") == (sector[:440], sector[510:])
    status, kind, first, sectors = struct.unpack_from("<B3xB3xII", sector, 446)
    assert (0x80, 0x83, 2048, 16384) == (status, kind, first, sectors)
    assert bytes(48) == sector[462:510]


def test_the_partition_lies_at_1_mib_and_the_rest_is_zeros() -> None:
    made = mbr.disk(PARTITION, boot_code=b"", size=12 * MEBIBYTE)

    assert 12 * MEBIBYTE == made.size
    assert PARTITION == made.cut(MEBIBYTE, 8 * MEBIBYTE)
    assert Extents.of([Zeros(3 * MEBIBYTE)]) == made.cut(9 * MEBIBYTE, 3 * MEBIBYTE)


@pytest.mark.parametrize(
    ("first", "sectors", "start", "end"),
    [
        pytest.param(2048, 16384, b"\x20\x21\x00", b"\x25\x24\x01", id="8 MiB"),
        pytest.param(2048, 1 << 26, b"\x20\x21\x00", b"\xfe\xff\xff", id="32 GiB"),
        pytest.param(63, 16065 * 1023, b"\x01\x01\x00", b"\x00\xff\xff", id="up to the last cylinder"),
    ],
)
def test_old_addresses_are_those_of_255_heads_and_63_sectors(
    first: int, sectors: int, start: bytes, end: bytes
) -> None:
    sector = mbr.first_sector([mbr.Partition(first, sectors, 0x83)], boot_code=b"", signature=bytes(4))

    assert (start, end) == (sector[447:450], sector[451:454])


def test_the_signature_comes_from_the_content() -> None:
    other = Extents.of([Literal(b"else"), Zeros(8 * MEBIBYTE - 4)])

    signatures = [
        reader(mbr.disk(partition, boot_code=b"", size=12 * MEBIBYTE))(440, 4)
        for partition in (PARTITION, PARTITION, other)
    ]

    assert signatures[0] == signatures[1] != signatures[2]


def test_a_partition_that_does_not_fit_is_refused() -> None:
    with pytest.raises(
        RuleError, match=f"at least {9 * MEBIBYTE} bytes for its partition, got 8388608"
    ) as error:
        mbr.disk(PARTITION, boot_code=b"", size=8 * MEBIBYTE)

    assert "raise `--size`" == error.value.hint


def test_a_disk_beyond_32_bits_of_sectors_is_refused() -> None:
    with pytest.raises(RuleError, match="less than 2 TiB"):
        mbr.disk(PARTITION, boot_code=b"", size=2 << 40)


def test_code_that_would_reach_into_the_table_is_refused() -> None:
    with pytest.raises(RuleError, match="at most 440 bytes, got 512"):
        mbr.disk(PARTITION, boot_code=bytes(512), size=12 * MEBIBYTE)
