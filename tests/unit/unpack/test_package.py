"""Debian packages as trees, and what is none."""

from __future__ import annotations

import lzma
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.errors import RuleError
from kitbuild.rules.unpack import package as unpack_package
from tests.support.images import directory, file, hardlink, layer_tar, symlink
from tests.support.packages import Compression, archive, member, package, packed
from tests.support.trees import Bench, Content

FILES: Content = {
    "./usr/": directory(),
    "./usr/bin/": directory(),
    "./usr/bin/tool": file(b"tool" * 1000, mode=0o755),
    "./usr/bin/other": hardlink("./usr/bin/tool"),
    "./usr/link": symlink("bin/tool"),
}
VERSION = ("debian-binary", b"2.0\n")


def refused(content: bytes) -> str:
    bench = Bench()
    with pytest.raises(RuleError) as raised:
        bench.run(unpack_package.RULE, package=bench.blob(content))
    return raised.value.message


@pytest.mark.parametrize("compression", ["", "gz", "xz", "zst"])
def test_files_of_a_package_are_a_tree(compression: Compression) -> None:
    bench = Bench()

    tree = bench.run(unpack_package.RULE, package=bench.blob(package(FILES, compression)))

    tool = b"tool" * 1000
    assert bench.plain(tree) == {
        "usr": "dir",
        "usr/bin": "dir",
        "usr/bin/other": tool,
        "usr/bin/tool": tool,
        "usr/link": "-> bin/tool",
    }


def test_files_that_are_not_packed_are_slices_of_the_package() -> None:
    bench = Bench()
    deb = bench.blob(package(FILES, ""))

    tree = bench.tree(bench.run(unpack_package.RULE, package=deb))

    assert (deb.digest,) == tree.blobs()


def test_names_may_end_in_a_slash_and_odd_members_are_passed_over() -> None:
    bench = Bench()
    deb = archive(
        [
            ("debian-binary/", b"2.1\n"),
            ("_odd", b"odd"),
            ("data.tar.xz/", lzma.compress(layer_tar({"a": "1"}))),
        ]
    )

    assert {"a": b"1"} == bench.plain(bench.run(unpack_package.RULE, package=bench.blob(deb)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "expected a Debian package, got something else", id="empty"),
        pytest.param(b"!<arc", "expected a Debian package, got something else", id="cut in the magic"),
        pytest.param(b"PK\3\4" + bytes(100), "expected a Debian package, got something else", id="a zip"),
        pytest.param(archive([]), "begins with `debian-binary`, got ''", id="no member"),
        pytest.param(archive([("data.tar", b"")]), "begins with `debian-binary`, got 'data.tar'", id="an ar"),
        pytest.param(archive([("debian-binary", b"3.0\n")]), "of format 2, got b'3.0", id="another format"),
        pytest.param(archive([("debian-binary", bytes(1 << 20))]), "begins with", id="a huge version"),
        pytest.param(archive([VERSION]), "with a member data.tar, got none", id="no data"),
        pytest.param(archive([VERSION, ("data.tar.bz2", b"")]), "got data.tar.bz2", id="bzip2"),
        pytest.param(
            archive([VERSION, ("data.tar.xz", b"no xz" * 9)]), "data.tar.xz is broken", id="broken xz"
        ),
        pytest.param(
            archive([VERSION, ("data.tar.gz", b"no gz")]), "data.tar.gz is broken", id="broken gzip"
        ),
        pytest.param(
            archive([VERSION, ("data.tar.zst", b"no zst")]), "data.tar.zst is broken", id="broken zstd"
        ),
        pytest.param(archive([VERSION, ("data.tar.xz", b"")]), "does not end where", id="empty xz"),
        pytest.param(
            archive([VERSION, *[("_odd", b"")] * 100]), "at most 16 members, got more", id="members"
        ),
        pytest.param(archive([VERSION]) + bytes(60), "expected the header of a member", id="an empty header"),
        pytest.param(
            archive([VERSION]) + b"data.tar", "ends in the middle of a header", id="cut in a header"
        ),
    ],
)
def test_what_is_no_package_is_refused(content: bytes, message: str) -> None:
    assert message in refused(content)


@pytest.mark.parametrize(
    "size", [b"9999999999", b"-1        ", b"0x10      ", b"+5        ", b"          ", b"1 1       "]
)
def test_sizes_that_lie_are_refused(size: bytes) -> None:
    good = member("data.tar", b"")

    message = refused(archive([VERSION]) + good[:48] + size + good[58:])

    assert message.startswith("expected a member of at most" if size.isdigit() else "expected the header")


@pytest.mark.parametrize("compression", ["gz", "xz", "zst"])
def test_a_package_that_is_cut_off_is_refused(compression: Compression) -> None:
    whole = package(FILES, compression)
    tar = packed(layer_tar(FILES), compression)

    assert "expected a member of at most" in refused(whole[:-30])
    assert "does not end where its stream does" in refused(
        archive([VERSION, (f"data.tar.{compression}", tar[:-20])])
    )


@pytest.mark.parametrize("compression", ["gz", "xz", "zst"])
def test_bytes_behind_the_files_are_refused(compression: Compression) -> None:
    for more in (b"x", bytes(10_000)):
        content = packed(layer_tar(FILES), compression) + more

        assert "data.tar" in refused(archive([VERSION, (f"data.tar.{compression}", content)]))


@pytest.mark.parametrize("compression", ["gz", "xz", "zst"])
def test_bombs_are_refused_and_leave_nothing(
    compression: Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack_package, "_MAX_BYTES", 1 << 20)
    bomb = packed(bytes(2 << 20), compression)

    message = refused(archive([VERSION, (f"data.tar.{compression}", bomb)]))

    assert message == f"expected a data.tar.{compression} of at most 1048576 bytes unpacked, got more"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"/etc/passwd": "x"}, "an absolute path"),
        ({"../etc/passwd": "x"}, "a path with `..`"),
        ({"a": hardlink("../b")}, "a hard link out of the tree"),
        ({"a": hardlink("b")}, "which is no file"),
    ],
)
def test_files_that_leave_the_package_are_refused(files: Content, message: str) -> None:
    assert message in refused(package(files))


SMALL = {compression: package({"a": "1" * 99}, compression) for compression in ("", "gz", "xz", "zst")}


@pytest.mark.parametrize("compression", SMALL)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_package_is_refused_or_has_other_files(compression: Compression, data: st.DataObject) -> None:
    bench = Bench()
    broken = bytearray(SMALL[compression])
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(broken)))

    with suppress(RuleError):
        bench.tree(bench.run(unpack_package.RULE, package=bench.blob(bytes(broken[:end]))))


@pytest.mark.parametrize("end", range(0, len(SMALL["xz"]) - 1, 37))
def test_package_cut_off_anywhere_is_refused(end: int) -> None:
    assert refused(SMALL["xz"][:end])
