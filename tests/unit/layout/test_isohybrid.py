from __future__ import annotations

import hashlib
import struct

import pytest

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Zeros
from kitbuild.rules.layout import isohybrid
from tests.support.iso import bytes_of
from tests.support.trees import Bench

MEBIBYTE = 1 << 20
CODE = bytes(range(216)) * 2
ISO = Extents.of([Zeros(32 << 10), Literal(b"iso" * 5000), Zeros(3 * MEBIBYTE + 2048 - 15_000 - (32 << 10))])
BENCH = Bench()


def test_disk_for_bios_has_one_active_partition_over_all() -> None:
    disk = bytes_of(isohybrid.bios(ISO, boot_code=CODE, place=20 * 2048), BENCH)

    assert 4 * MEBIBYTE == len(disk)
    assert CODE + struct.pack("<Q", 80) == disk[:440]
    assert disk[440:444] != bytes(4)
    whole = struct.pack("<BBBBBBBBII", 0x80, 0, 1, 0, 0x17, 63, 32, 3, 0, 4 * 2048)
    assert whole + bytes(48) + b"\x55\xaa" == disk[446:512]
    assert bytes_of(ISO, BENCH)[512:] == disk[512 : ISO.size]
    assert not any(disk[ISO.size :])


def test_disk_for_bios_beyond_the_last_cylinder_says_the_last_one() -> None:
    iso = Extents.of([*ISO.parts, Zeros(2000 * MEBIBYTE)])

    first = isohybrid.bios(iso, boot_code=CODE, place=0).cut(0, 512)

    assert bytes([63, 32 | 3 << 6, 255]) == bytes_of(first, BENCH)[451:454]


def test_signature_is_that_of_the_content() -> None:
    other = Extents.of([*ISO.parts, Literal(b"x")])
    signatures = [
        bytes_of(isohybrid.bios(iso, boot_code=CODE, place=0).cut(440, 4), BENCH) for iso in (ISO, ISO, other)
    ]

    assert signatures[0] == signatures[1] != signatures[2]


@pytest.mark.parametrize("boot_code", [CODE, b""])
def test_disk_for_both_has_the_iso_and_the_efi_image_as_partitions(boot_code: bytes) -> None:
    efi = (3 * MEBIBYTE, 2048)

    disk = bytes_of(isohybrid.both(ISO, efi=efi, boot_code=boot_code, place=4096), BENCH)

    assert 4 * MEBIBYTE == len(disk)
    assert (boot_code + struct.pack("<Q", 8) if boot_code else bytes(440)) == disk[:440]
    assert struct.pack("<II", 1, 4 * 2048 - 1) == disk[454:462]
    assert (0xEE, 0x80 if boot_code else 0, 0) == (disk[450], disk[462], disk[466])
    assert b"EFI PART" == disk[512:520] == disk[-512:-504]
    partitions = [struct.unpack_from("<QQ", disk, 1024 + number * 128 + 32) for number in range(3)]
    assert [(64, 6143), (6144, 6147), (0, 0)] == partitions
    assert bytes_of(ISO, BENCH)[34 * 512 :] == disk[34 * 512 : ISO.size]


def test_disks_are_what_they_were() -> None:
    bios = isohybrid.bios(ISO, boot_code=CODE, place=2048)
    both = isohybrid.both(ISO, efi=(3 * MEBIBYTE, 2048), boot_code=CODE, place=2048)

    assert (
        "621498b21ca13688db62d564e91bb7c02f19ebb59b2cad11783a3ff3106cf27c",
        "9bf5ab6d76104d0f4a671078eacdcc1bb13ee79e5d386fb0c67cc9976d3981da",
    ) == tuple(hashlib.sha256(bytes_of(disk, BENCH)).hexdigest() for disk in (bios, both))


def test_other_boot_code_is_refused() -> None:
    with pytest.raises(RuleError, match="expected boot code of 432 bytes, got 440") as caught:
        isohybrid.bios(ISO, boot_code=bytes(440), place=0)

    assert caught.value.hint == "give `isohdpfx.bin` of the same SYSLINUX that `isolinux.bin` is of"
