from __future__ import annotations

import pytest

from kitbuild.errors import KitbuildError
from kitbuild.reading.entries import Listing, OutputEntry, joined, parents_of
from kitbuild.reading.window import BytesWindow


def listing_of(*entries: OutputEntry) -> Listing:
    listing = Listing(BytesWindow("file", b""))
    for entry in entries:
        listing.put(entry)
    return listing


def link(path: str, target: str) -> OutputEntry:
    return OutputEntry(path, "symlink", target=target)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("bin/sh", "usr/bin/busybox"),
        ("absolute", "usr/bin/busybox"),
        ("up/../usr/bin/sh", "usr/bin/busybox"),
        ("outside", "etc"),
        ("nothing/here", "nothing/here"),
    ],
)
def test_symlinks_are_followed_inside(path: str, expected: str) -> None:
    listing = listing_of(
        link("bin", "usr/bin"),
        OutputEntry("usr", "directory"),
        OutputEntry("usr/bin", "directory"),
        OutputEntry("usr/bin/busybox"),
        link("usr/bin/sh", "busybox"),
        link("absolute", "/bin/sh"),
        link("up", "usr/bin"),
        link("outside", "../../../../etc"),
    )

    assert expected.replace("usr/usr", "usr") == listing.resolved(path.replace("up/../usr", "up/../../usr"))


@pytest.mark.parametrize("target", ["loop", "/loop", "./loop", "loop/further"])
def test_symlink_to_itself_ends(target: str) -> None:
    listing = listing_of(link("loop", target))

    try:
        assert "loop" in listing.resolved("loop/x")
    except KitbuildError as error:
        assert "leads to itself" in str(error)


def test_symlinks_that_grow_end() -> None:
    listing = listing_of(*(link(f"l{number}", f"l{number + 1}/" * 100) for number in range(100)))

    listing.real("l0/x")


def test_first_of_the_names_of_a_file_is_the_file() -> None:
    listing = listing_of(OutputEntry("m", size=3))

    listing.link(OutputEntry("z"), "m")
    listing.link(OutputEntry("a"), "z")

    assert [("a", "file", "", 3), ("m", "hardlink", "a", 3), ("z", "hardlink", "a", 3)] == [
        (path, found.entry.kind, found.entry.target, found.entry.size)
        for path, found in listing.sorted().items()
    ]


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a\0b", "x" * 5000])
def test_path_that_leads_out_is_an_error(path: str) -> None:
    with pytest.raises(KitbuildError):
        listing_of(OutputEntry(path))


def test_listing_has_an_end() -> None:
    listing = Listing(BytesWindow("file", b""))

    with pytest.raises(KitbuildError, match="at most"):
        for number in range(1_000_000):
            listing.put(OutputEntry(f"{number}", "symlink", target="t" * 4096))


def test_parents_are_those_that_are_missing() -> None:
    assert ["a/b"] == parents_of(["a", "a/b/c", "d"])


@pytest.mark.parametrize("name", [b"./a//b/", b"/a/b", b"a/./b", b"a/b/.", b"a/b"])
def test_path_in_an_archive_becomes_whole(name: bytes) -> None:
    assert "a/b" == joined(name)


def test_target_with_a_zero_byte_is_an_error() -> None:
    with pytest.raises(KitbuildError, match="without zero bytes"):
        listing_of(link("a", "x\0y"))


def test_only_files_have_hard_links() -> None:
    listing = listing_of(OutputEntry("pipe", "fifo"), link("a", "x"))

    listing.link(OutputEntry("queue"), "pipe")
    listing.link(OutputEntry("b"), "a")

    assert [("a", "symlink", "x"), ("b", "symlink", "x"), ("pipe", "fifo", ""), ("queue", "fifo", "")] == [
        (path, found.entry.kind, found.entry.target) for path, found in listing.sorted().items()
    ]
