from __future__ import annotations

import gzip

import pytest
import zstandard

from kitbuild.errors import KitbuildError
from kitbuild.reading.cpio import is_initrd, read_initrd
from kitbuild.reading.entries import OutputEntry
from kitbuild.reading.window import BytesWindow
from tests.support.reading import newc

FIRST = newc({"a": b"first", "b": b"bb"})
SECOND = newc({"a": b"second", "c": b""})


def member(name: str, content: bytes = b"", *, mode: int = 0o100644, inode: int = 1, links: int = 1) -> bytes:
    numbers = (inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name.encode()) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % each for each in numbers) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


END = member("TRAILER!!!", mode=0)


def contents(initrd: bytes) -> dict[str, bytes]:
    listing, _ = read_initrd(BytesWindow("initrd", initrd))
    return {path: found.window().read(0, 999) for path, found in listing.sorted().items()}


@pytest.mark.parametrize(
    "initrd",
    [
        FIRST + SECOND,
        FIRST + bytes(1000) + SECOND + bytes(7),
        gzip.compress(FIRST, mtime=0) + gzip.compress(SECOND, mtime=0),
        FIRST + bytes(4) + zstandard.compress(SECOND),
        gzip.compress(FIRST + bytes(512) + SECOND, mtime=0),
        zstandard.compress(FIRST) + bytes(5) + SECOND,
    ],
    ids=["plain", "padded", "gzip", "plain and zstd", "two in one stream", "zstd and plain"],
)
def test_segments_are_laid_over_each_other(initrd: bytes) -> None:
    assert is_initrd(BytesWindow("initrd", initrd))
    assert {"a": b"second", "b": b"bb", "c": b""} == contents(initrd)


def test_names_of_one_file_share_what_the_last_of_them_brings() -> None:
    initrd = member("z", links=3) + member("a", links=3) + member("m", b"data", links=3) + END

    listing, _ = read_initrd(BytesWindow("initrd", initrd))

    found = listing.sorted()
    assert [("a", "file", ""), ("m", "hardlink", "a"), ("z", "hardlink", "a")] == [
        (path, each.entry.kind, each.entry.target) for path, each in found.items()
    ]
    assert {b"data"} == {each.window().read(0, 99) for each in found.values()}
    assert {4} == {each.entry.size for each in found.values()}


def test_inodes_of_another_archive_are_other_files() -> None:
    initrd = member("a", b"1", links=2) + END + member("b", b"2", links=2) + END

    assert {"a": b"1", "b": b"2"} == contents(initrd)


def test_path_below_a_symlink_is_where_the_kernel_puts_it() -> None:
    initrd = (
        member("usr", mode=0o040755)
        + member("usr/lib", mode=0o040755)
        + member("lib", b"usr/lib", mode=0o120777)
    ) + (member("lib/x", b"x") + END)

    assert {"lib", "usr", "usr/lib", "usr/lib/x"} == set(contents(initrd))


def test_path_that_leads_out_starts_at_the_root_as_in_the_kernel() -> None:
    assert {"x", "y"} == set(contents(member("../x") + member("a/../../y") + END))


def test_entry_says_what_the_header_says() -> None:
    numbers = (9, 0o020640, 1, 2, 1, 3, 0, 0, 0, 4, 5, 4, 0)
    head = b"070701" + b"".join(b"%08x" % each for each in numbers) + b"tty\0"

    listing, _ = read_initrd(BytesWindow("initrd", head + bytes(-len(head) % 4) + END))

    assert [OutputEntry("tty", "character", 0o640, 1, 2, 0, 3_000_000_000, "", (4, 5))] == list(listing)


@pytest.mark.parametrize(
    ("initrd", "said"),
    [
        (FIRST[:100], "expected 110 bytes of a cpio header"),
        (FIRST[:111], "of a name"),
        (FIRST[:130], "cpio header"),
        (FIRST.replace(b"00000002", b"0000zzzz", 1), "hexadecimal"),
        (member("x", mode=0o000644) + END, "expected a type of file"),
        (member("x" * 5000) + END, "at most 4096 bytes"),
        (FIRST + b"junk", "expected a cpio archive"),
        (gzip.compress(FIRST, mtime=0)[:-9], "gzip stream"),
        (gzip.compress(FIRST + b"junk", mtime=0), "expected a cpio archive"),
    ],
    ids=["header", "name", "content", "digits", "type", "long-name", "junk", "cut-gzip", "junk-in-gzip"],
)
def test_damaged_initrd_is_an_error_with_a_place(initrd: bytes, said: str) -> None:
    with pytest.raises(KitbuildError, match=rf"`initrd`: byte \d+: .*{said}"):
        read_initrd(BytesWindow("initrd", initrd))


def test_symlink_ends_at_a_zero_byte_as_in_the_kernel() -> None:
    listing, _ = read_initrd(BytesWindow("initrd", member("a", b"to\0other", mode=0o120777) + END))

    assert "to" == listing.found["a"].entry.target
