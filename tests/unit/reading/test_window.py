from __future__ import annotations

import pytest

from kitbuild.errors import KitbuildError
from kitbuild.reading.window import MOST_AT_ONCE, Blocks, BytesWindow, Piece, Pieces, Window


def test_part_of_a_part_reads_from_the_whole() -> None:
    window = BytesWindow("file", bytes(range(100)))

    inner = window.part(10, 50, "a").part(5, 10, "b")

    assert bytes(range(15, 25)) == inner.read(0, 100)
    assert "file: a: b" == inner.name
    assert b"" == inner.read(10, 1)


def test_what_is_cut_off_is_an_error_with_file_and_place() -> None:
    window = BytesWindow("file", b"short")

    with pytest.raises(KitbuildError, match=r"`file`: byte 2: expected 9 bytes of a header, got 3"):
        window.exactly(2, 9, "a header")


def test_nothing_is_read_that_would_fill_the_memory() -> None:
    window = Pieces("disk", [], 1 << 60)

    with pytest.raises(KitbuildError, match="expected a structure of at most"):
        window.read(0, MOST_AT_ONCE + 1)


def test_pieces_have_zeros_between_them() -> None:
    source = BytesWindow("file", b"abcdef")
    window = Pieces("all", [Piece(2, 2, source, 0), Piece(6, 2, source, 4), Piece(8, 1, None, 0)], 10)

    assert b"\0\0ab\0\0ef\0\0" == window.read(0, 99)
    assert b"b\0\0e" == window.read(3, 4)
    assert b"\0" == window.read(9, 5)


def test_piece_behind_the_end_of_its_source_is_an_error_when_all_of_it_is_wanted() -> None:
    window = Pieces("all", [Piece(0, 9, BytesWindow("file", b"abc"), 0)], 9)

    assert b"abc" == window.read(0, 9)
    with pytest.raises(KitbuildError):
        window.exactly(0, 9, "content")


class _Disk(Blocks):
    def block(self, number: int) -> bytes | tuple[Window, int] | None:
        return (b"0123", None, (BytesWindow("file", b"..abcd"), 2))[number]


def test_blocks_are_bytes_zeros_or_elsewhere() -> None:
    disk = _Disk("disk", 11, 4)

    assert b"0123\0\0\0\0abc" == disk.read(0, 99)
    assert b"3\0" == disk.read(3, 2)


def test_stream_of_a_window_seeks() -> None:
    stream = BytesWindow("file", b"0123456789").open()

    stream.seek(-3, 2)
    assert b"789" == stream.read()
    stream.seek(2)
    assert b"23" == stream.read(2)
    stream.close()


class _Large(Blocks):
    def __init__(self) -> None:
        super().__init__("disk", 10 << 24, 1 << 24)
        self.asked: list[int] = []

    def block(self, number: int) -> bytes:
        self.asked.append(number)
        return b"0"


def test_few_large_blocks_are_kept() -> None:
    disk = _Large()

    for number in (0, 0, 1, 2, 2, 0):
        disk.read(number << 24, 1)

    assert [0, 1, 2, 0] == disk.asked
