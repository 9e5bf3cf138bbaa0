"""CRCs against published values and the standard library's."""

from __future__ import annotations

from binascii import crc32

import pytest

from kitbuild.rules.layout.crc import crc32_after_zeros, crc32c


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # RFC 3720, appendix B.4, and the check value of the CRC catalogues.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_crc32c_is_the_published_one(content: bytes, expected: int) -> None:
    assert expected == crc32c(content)


@pytest.mark.parametrize("size", [0, 1, 7, 4096, 1_000_003])
@pytest.mark.parametrize("content", [b"", b"a", b"\0\0", b"\xff" * 99])
def test_zeros_count_as_if_they_were_there(content: bytes, size: int) -> None:
    assert crc32(content + bytes(size)) == crc32_after_zeros(crc32(content), size)
