"""Legacy U-Boot images: every field where bootm looks for it."""

from __future__ import annotations

import struct
import zlib

from kitbuild.rules.layout.uimage import SIZE, Content, header, script


def test_header_has_every_field_in_its_place() -> None:
    content = b"content"

    made = header(
        Content(len(content), zlib.crc32(content)),
        kind="kernel",
        name="Linux",
        seconds=5,
        compression="gzip",
        address=0x80000,
    )

    assert 64 == SIZE == len(made)
    assert (0x27051956, 5, 7, 0x80000, 0x80000) == struct.unpack_from(">I4xIIII", made)
    assert zlib.crc32(content) == struct.unpack_from(">I", made, 24)[0]
    # Linux, arm64, kernel, gzip.
    assert bytes([5, 22, 2, 1]) == made[28:32]
    assert b"Linux".ljust(32, b"\0") == made[32:]


def test_checksum_of_the_header_is_that_of_a_header_without_one() -> None:
    made = header(Content(0, 0), kind="ramdisk", name="initrd", seconds=5)

    assert zlib.crc32(made[:4] + bytes(4) + made[8:]) == struct.unpack_from(">I", made, 4)[0]
    assert bytes([5, 22, 3, 0]) == made[28:32]


def test_script_lies_behind_a_table_of_sizes() -> None:
    made = script(b"bootm\n", name="boot script", seconds=5)

    assert b"\0\0\0\6\0\0\0\0bootm\n" == made[64:]
    assert (14, zlib.crc32(made[64:])) == struct.unpack_from(">12xI8xI", made)
    assert bytes([5, 22, 6, 0]) == made[28:32]
