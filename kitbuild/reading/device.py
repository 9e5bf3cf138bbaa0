"""Device numbers as file systems of Linux store them in 32 bits. Source: include/linux/kdev_t.h, new_decode_dev."""

from __future__ import annotations


def device_of(number: int) -> tuple[int, int]:
    """(major, minor)."""
    return (number & 0xFFF00) >> 8, number & 0xFF | number >> 12 & 0xFFF00
