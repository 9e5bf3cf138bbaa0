from __future__ import annotations

from kitbuild.content import Content, FileRow, content_of, packages_of
from kitbuild.digest import Digest
from kitbuild.extents import Slice
from kitbuild.tree import Entry, Tree


class Files:
    """Files whose contents are slices of one blob."""

    def __init__(self) -> None:
        self._bytes = b""

    def file(self, path: str, content: bytes | int) -> Entry:
        data = content if isinstance(content, bytes) else b"x" * content
        offset, self._bytes = len(self._bytes), self._bytes + data
        blob = Digest("ab" * 32, 1 << 20)
        return Entry(path, "file", 0o644, content=Slice(blob, offset, len(data)) if data else None)

    def read(self, part: Slice) -> bytes:
        return self._bytes[part.offset : part.offset + part.size]


def tree(*entries: Entry) -> Tree:
    return Tree.of(entries)


def test_files_are_told_by_section_largest_first() -> None:
    files = Files()
    kernel = tree(files.file("boot/kernel", 900))
    web = tree(files.file("srv/small", 5), files.file("srv/large", 50))

    content = content_of([("kernel", kernel), ("web", web)], files.read)

    rows = (
        FileRow("kernel", "", "boot/kernel", 900),
        FileRow("web", "", "srv/large", 50),
        FileRow("web", "", "srv/small", 5),
    )
    assert Content(rows, 3, 955) == content


def test_a_later_part_replaces_a_file() -> None:
    files = Files()
    first = tree(files.file("etc/a", 100), files.file("etc/b", 10))
    second = tree(files.file("etc/a", 7))

    content = content_of([("init", first), ("files", second)], files.read)

    rows = (FileRow("init", "", "etc/b", 10), FileRow("files", "", "etc/a", 7))
    assert Content(rows, 2, 17) == content


def test_a_file_over_a_directory_takes_what_was_in_it_away() -> None:
    files = Files()
    first = tree(files.file("etc/a/deep", 100))
    second = tree(files.file("etc/a", 7))

    content = content_of([("init", first), ("files", second)], files.read)

    assert Content((FileRow("files", "", "etc/a", 7),), 1, 7) == content


def test_a_file_below_a_link_is_told_where_it_lands() -> None:
    files = Files()
    first = tree(Entry("bin", "symlink", 0o777, target="usr/bin"), Entry("usr/bin", "directory", 0o755))
    second = tree(files.file("bin/sh", 7))

    content = content_of([("init", first), ("shell", second)], files.read)

    assert (FileRow("shell", "", "usr/bin/sh", 7),) == content.rows


def test_a_hard_link_takes_no_space_of_its_own() -> None:
    files = Files()
    linked = tree(files.file("bin/a", 40), Entry("bin/b", "hardlink", 0o755, target="bin/a"))

    assert 40 == content_of([("init", linked)], files.read).size


def test_no_parts_are_no_content() -> None:
    assert Content() == content_of([], Files().read)


def test_dpkg_says_which_package_owns_a_file() -> None:
    files = Files()
    root = tree(
        files.file("var/lib/dpkg/info/libc6:amd64.list", b"/.\n/lib\n/lib/libc.so.6\n"),
        files.file("lib/libc.so.6", 9),
        files.file("lib/other", 9),
    )

    owners = packages_of(root, files.read)

    assert "libc6" == owners["lib/libc.so.6"]
    assert "lib/other" not in owners


def test_distroless_images_say_it_in_sums() -> None:
    files = Files()
    root = tree(
        files.file("var/lib/dpkg/status.d/tzdata.md5sums", b"d41d8cd98f00  usr/share/zoneinfo/UTC\n"),
        files.file("usr/share/zoneinfo/UTC", 9),
    )

    assert {"usr/share/zoneinfo/UTC": "tzdata"} == packages_of(root, files.read)


def test_apk_says_it_by_folder_in_either_place() -> None:
    files = Files()
    database = b"P:musl\nV:1\nF:\nR:init\nF:lib\nR:libc.so\nZ:Q1\n\nP:zlib\nF:usr/lib\nR:libz.so\n"
    for place in ("lib/apk/db/installed", "usr/lib/apk/db/installed"):
        found = packages_of(tree(files.file(place, database)), files.read)

        assert {"init": "musl", "lib/libc.so": "musl", "usr/lib/libz.so": "zlib"} == found


def test_a_database_speaks_of_the_container_it_is_in() -> None:
    files = Files()
    lower = "containers/services/web/lower"
    root = tree(
        files.file(f"{lower}/lib/apk/db/installed", b"P:nginx\nF:usr/sbin\nR:nginx\n"),
        files.file(f"{lower}/usr/sbin/nginx", 9),
        files.file("usr/sbin/nginx", 9),
    )

    assert {f"{lower}/usr/sbin/nginx": "nginx"} == packages_of(root, files.read)


def test_a_path_is_followed_through_the_links_of_a_merged_usr() -> None:
    files = Files()
    root = tree(
        files.file("var/lib/dpkg/info/dash.list", b"/bin/dash\n"),
        Entry("bin", "symlink", 0o777, target="usr/bin"),
        files.file("usr/bin/dash", 9),
    )

    assert {"usr/bin/dash": "dash"} == packages_of(root, files.read)


def test_what_only_looks_like_a_database_owns_nothing() -> None:
    files = Files()
    root = tree(
        files.file("srv/installed", b"P:x\nR:y\n"),
        files.file("home/apk/db/installed", b"P:x\nR:y\n"),
        files.file("var/lib/dpkg/info/x.postinst", b"/bin/sh\n"),
        Entry("lib/apk/db/installed", "file", 0o644),
    )

    assert {} == packages_of(root, files.read)


def test_a_database_that_is_no_text_harms_nobody() -> None:
    files = Files()
    root = tree(files.file("lib/apk/db/installed", b"\xff\xfe\x00P:\nR:\n"), files.file("a", 3))

    assert 2 == content_of([("init", root)], files.read).files


def test_small_files_are_summed_up_by_folder_beyond_the_most() -> None:
    files = Files()
    large = [files.file(f"large/{number}", 100 + number) for number in range(4)]
    small = [files.file(f"small/{number}", 1) for number in range(16)]

    content = content_of([("init", tree(*large, *small))], files.read, most=8)

    assert 20 == content.files
    assert 16 == content.left_out
    assert content.size == sum(row.size for row in content.rows)
    assert FileRow("init", "", "small", 16, 16) == content.rows[-1]
    assert 5 == len(content.rows)


def test_they_are_summed_up_by_section_if_there_are_too_many_folders() -> None:
    files = Files()
    entries = [files.file(f"folder{number}/file", 1) for number in range(20)]

    content = content_of([("init", tree(*entries))], files.read, most=8)

    assert FileRow("init", "", "", 16, 16) == content.rows[0]
    assert (5, 20) == (len(content.rows), content.size)
