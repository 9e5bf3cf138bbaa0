"""Cyclic redundancy checks that the standard library does not have: CRC-32C, and CRC-32 over zeros without them.

Sources: RFC 3720 section 12.1 (CRC-32C), RFC 1952 section 8 (CRC-32). A CRC is the remainder of a polynomial over
GF(2), here with the coefficient of x^0 in the highest of 32 bits; n zero bytes multiply it by x^8n.
"""

from __future__ import annotations

from functools import cache

_CRC32 = 0xEDB88320
_CRC32C = 0x82F63B78
_ONES = 0xFFFFFFFF


def crc32_after_zeros(crc: int, size: int) -> int:
    """The CRC-32 of some content followed by `size` zero bytes, from the content's own; 0 is that of no content."""
    remainder = crc ^ _ONES
    power = 1 << 23  # x^8: one byte
    while size:
        if size & 1:
            remainder = _product(remainder, power)
        power = _product(power, power)
        size >>= 1
    return remainder ^ _ONES


def crc32c(content: bytes) -> int:
    """The CRC-32C of `content`; byte by byte, so for headers alone."""
    table = _table()
    crc = _ONES
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ _ONES


@cache
def _table() -> tuple[int, ...]:
    return tuple(_shifted(byte) for byte in range(256))


def _shifted(crc: int) -> int:
    for _ in range(8):
        crc = (crc >> 1) ^ (_CRC32C if crc & 1 else 0)
    return crc


def _product(left: int, right: int) -> int:
    product = 0
    while left:
        if left & 0x80000000:
            product ^= right
        left = (left << 1) & _ONES
        right = (right >> 1) ^ (_CRC32 if right & 1 else 0)
    return product
