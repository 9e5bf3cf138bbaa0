from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.compare.difference import Difference, PackageChange, SectionDifference, Sizes, difference
from kitbuild.compare.files import FileChange, file_changes
from kitbuild.compare.snapshot import Content, File, ImageName, Section, Snapshot
from kitbuild.compare.values import Change


def content(text: str) -> Content:
    return Content(lambda: text)


def unread() -> str:
    raise AssertionError("this content is never read")


def file(text: str = "x", **fields: Any) -> File:
    return File("file", 0o644, size=len(text), content=content(text))._replace(**fields)


def snapshot(*sections: Section, **fields: Any) -> Snapshot:
    return Snapshot("one", "output", {section.name: section for section in sections}, **fields)


LINK = File("symlink", 0o777, target="a")


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        pytest.param(file("a"), file("b"), ("content",), id="content of the same size"),
        pytest.param(file("a"), file("bb"), ("content",), id="size"),
        pytest.param(file(), file(mode=0o600), ("mode",), id="mode"),
        pytest.param(file(), file(uid=1), ("owner",), id="uid"),
        pytest.param(file(), file(gid=1, mode=0), ("mode", "owner"), id="gid and mode"),
        pytest.param(file(), file(xattrs=(("user.a", b""),)), ("attributes",), id="xattrs"),
        pytest.param(file(), LINK, ("kind",), id="kind"),
        pytest.param(LINK, LINK._replace(target="b"), ("target",), id="target"),
        pytest.param(LINK, LINK._replace(mode=0o755), (), id="mode of a symlink"),
        pytest.param(
            File("char", 0, device=(1, 2)), File("char", 0, device=(1, 3)), ("device",), id="device"
        ),
        pytest.param(file(), file(mtime=1), (), id="time"),
        pytest.param(file(part="a"), file(part="b"), (), id="part"),
    ],
)
def test_what_differs_of_a_file_is_named(before: File, after: File, fields: tuple[str, ...]) -> None:
    found = file_changes({"a": before}, {"a": after})

    assert ([FileChange("a", before, after, fields)] if fields else []) == found


def test_times_are_compared_if_asked_for() -> None:
    found = file_changes({"a": file()}, {"a": file(mtime=1)}, times=True)

    assert [("time",)] == [change.fields for change in found]


def test_a_content_is_not_read_if_its_size_or_slice_tells() -> None:
    known = Content(unread, ("blob", 0, 1))
    before = {"a": file(content=known), "b": file("xx", content=Content(unread))}
    after = {"a": file(content=Content(unread, ("blob", 0, 1))), "b": file("x", content=Content(unread))}

    assert ["b"] == [change.path for change in file_changes(before, after)]


def test_what_changed_most_comes_first() -> None:
    before = {"a": file("x"), "b": file("x" * 9), "c": file("x")}
    after = {"a": file("xx"), "c": file("x" * 5), "d": file("x" * 3)}

    assert ["b", "c", "d", "a"] == [change.path for change in file_changes(before, after)]


def test_a_section_one_side_has_is_added_or_removed() -> None:
    web = Section("services web", {"a": file("xyz")}, image=ImageName("kit/web:v1"))

    found = difference(snapshot(), snapshot(web))

    (section,) = found.sections
    assert ("added", Sizes(0, 3), Sizes(0, 3)) == (section.state, section.size, found.total)
    assert (Change("image", None, "kit/web:v1"),) == section.image


def test_an_image_whose_name_stays_may_have_moved() -> None:
    sides = (Section("services a", {}, image=ImageName("kit/a:v1", digest * 64)) for digest in "01")

    (section,) = difference(*(snapshot(side) for side in sides)).sections

    assert (Change("image kit/a:v1 moved", f"sha256:{'0' * 64}", f"sha256:{'1' * 64}"),) == section.image


def test_what_a_document_says_is_not_told_of_its_file_again() -> None:
    path = "containers/services/a/config.json"
    sides = (
        Section("services a", {path: file(text)}, runtime={"config.json": {"hostname": text}})
        for text in "ab"
    )

    (section,) = difference(*(snapshot(side) for side in sides)).sections

    assert ((Change("hostname", "a", "b"),), ()) == (section.runtime, section.files)


def test_a_document_in_other_bytes_is_a_file_that_differs() -> None:
    path = "containers/services/a/config.json"
    sides = (Section("services a", {path: file(text)}, runtime={"config.json": {}}) for text in ("{}", "{ }"))

    (section,) = difference(*(snapshot(side) for side in sides)).sections

    assert [path] == [change.path for change in section.files]


def test_containers_that_change_places_are_told_and_those_that_move_up_are_not() -> None:
    def onboot(*names: str) -> Snapshot:
        return snapshot(
            *(Section(f"onboot {name}", {}, number=f"{place:03d}") for place, name in enumerate(names))
        )

    swapped = difference(onboot("a", "b", "c"), onboot("b", "a", "c"))
    moved_up = difference(onboot("a", "b", "c"), onboot("new", "a", "c"))

    assert {"onboot a": (Change("order", 1, 2),), "onboot b": (Change("order", 2, 1),)} == {
        section.name: section.settings for section in swapped.sections
    }
    assert {"onboot new", "onboot b"} == {section.name for section in moved_up.sections}


def test_files_that_are_not_known_differ_in_nothing() -> None:
    found = difference(snapshot(Section("kernel")), snapshot(Section("kernel", {"a": file()})))

    assert found.is_empty
    assert Sizes(None, 1) == found.total


@pytest.mark.parametrize(("mode", "expected"), [(0o644, {}), (0o600, {"files": ("mode",)})])
def test_a_path_that_another_section_brings_now_is_no_other_path(
    mode: int, expected: dict[str, tuple[str, ...]]
) -> None:
    before = snapshot(Section("init a", {"etc": file()}), Section("files", {"x": file()}))
    after = snapshot(Section("init a", {}), Section("files", {"x": file(), "etc": file(mode=mode)}))

    found = difference(before, after)

    assert expected == {section.name: section.files[0].fields for section in found.sections}


def test_packages_one_side_cannot_tell_differ_in_nothing() -> None:
    known, unknown = (Section("root", {}, packages) for packages in ({"musl": ("1",)}, None))

    assert difference(snapshot(known), snapshot(unknown)).is_empty


def test_flags_and_command_lines_count_if_both_sides_have_them() -> None:
    one = snapshot(cmdline="a", flags={"--arch": "amd64"})

    assert difference(one, snapshot()).is_empty
    assert not difference(one, one._replace(cmdline="b")).is_empty
    assert not difference(one, one._replace(flags={})).is_empty


def test_boot_files_that_only_hold_the_command_line_are_told_once() -> None:
    def side(word: str) -> Snapshot:
        return snapshot(cmdline=word, medium={"initrd.img": file("i"), "boot/syslinux.cfg": file(word)})

    found = difference(side("a"), side("b"))

    assert ((), (), (Change("a", "a", None), Change("b", None, "b"))) == (
        found.sections,
        found.medium,
        found.cmdline,
    )


def test_a_medium_is_told_where_the_system_does_not_explain_it() -> None:
    section = Section("root", {"a": file("a")})
    medium = {"initrd.img": file("a"), "EFI/BOOT/BOOTX64.EFI": file("a")}
    other = {"initrd.img": file("b"), "EFI/BOOT/BOOTX64.EFI": file("b")}

    alone = difference(snapshot(section, medium=medium), snapshot(section, medium=other))
    with_system = difference(
        snapshot(section, medium=medium), snapshot(Section("root", {"a": file("b")}), medium=other)
    )

    assert ["EFI/BOOT/BOOTX64.EFI", "initrd.img"] == [change.path for change in alone.medium]
    assert ["EFI/BOOT/BOOTX64.EFI"] == [change.path for change in with_system.medium]


def test_a_medium_has_a_size_that_is_no_part_of_the_total() -> None:
    section = Section("root", {"a": file("abc")})
    one, other = (snapshot(section, medium={"boot/kernel": file(text)}) for text in ("a", "bcd"))

    found = difference(one, other)

    assert Sizes(3, 3) == found.total
    assert {"root": Sizes(3, 3), "medium": Sizes(1, 3)} == found.sizes
    # Another format has another medium.
    assert {"root": Sizes(3, 3)} == difference(one, other._replace(format="iso")).sizes


FILES = st.builds(
    file,
    st.sampled_from(["", "a", "b", "cc"]),
    mode=st.sampled_from([0o644, 0o755]),
    uid=st.integers(0, 1),
    kind=st.sampled_from(["file", "symlink", "directory"]),
)
PATHS = st.sampled_from(
    ["a", "b", "containers/services/a/config.json", "isolinux/boot.cat", "initrd.img", "x.cfg"]
)
VALUES = st.dictionaries(st.sampled_from(["command", "env", "image", "x"]), st.sampled_from([1, "a", ["b"]]))
SECTIONS = st.builds(
    Section,
    st.sampled_from(["kernel", "onboot a", "onboot b", "services a", "root"]),
    st.none() | st.dictionaries(PATHS, FILES, max_size=3),
    st.none() | st.dictionaries(st.sampled_from("pq"), st.sampled_from([("1",), ("1", "2")])),
    st.none() | st.builds(ImageName, st.sampled_from("ij"), st.sampled_from(["", "0" * 64, "1" * 64])),
    st.none() | VALUES,
    st.none() | st.fixed_dictionaries({"config.json": VALUES}),
    st.sampled_from(["", "000", "001"]),
)
SNAPSHOTS = st.builds(
    Snapshot,
    st.just("x"),
    st.sampled_from(["config", "output", "record"]),
    st.lists(SECTIONS, max_size=4).map(lambda several: {one.name: one for one in several}),
    st.just(""),
    st.none() | st.sampled_from(["a", "a b=1", "b=2 a"]),
    st.none() | st.dictionaries(st.sampled_from(["--arch"]), st.sampled_from("xy")),
    st.dictionaries(st.sampled_from("pq"), st.just(("3",))),
    st.none() | st.dictionaries(PATHS, FILES, max_size=3),
    st.dictionaries(st.sampled_from([".iso", ".tar"]), st.integers(0, 3)),
    st.just(()),
    st.just(()),
)


@given(before=SNAPSHOTS, after=SNAPSHOTS)
def test_the_other_way_round_the_same_differs(before: Snapshot, after: Snapshot) -> None:
    assert difference(before, after) == inverse(difference(after, before))


@given(one=SNAPSHOTS)
def test_nothing_differs_from_itself(one: Snapshot) -> None:
    found = difference(one, one)

    assert found.is_empty
    assert all(sizes.growth == 0 for sizes in found.sizes.values())


def inverse(one: Difference) -> Difference:
    return one._replace(
        before=one.after,
        after=one.before,
        total=swapped(one.total),
        sizes=swapped_all(one.sizes),
        outputs=swapped_all(one.outputs),
        sections=tuple(inverse_section(section) for section in one.sections),
        cmdline=turned(one.cmdline),
        flags=turned(one.flags),
        packages=tuple(inverse_package(package) for package in one.packages),
        medium=tuple(inverse_file(file) for file in one.medium),
    )


def inverse_section(one: SectionDifference) -> SectionDifference:
    states = {"added": "removed", "removed": "added", "changed": "changed"}
    return one._replace(
        state=states[one.state],  # type: ignore[arg-type]
        size=swapped(one.size),
        image=turned(one.image),
        settings=turned(one.settings),
        runtime=turned(one.runtime),
        packages=tuple(inverse_package(package) for package in one.packages),
        files=tuple(inverse_file(file) for file in one.files),
    )


def turned(several: tuple[Change, ...]) -> tuple[Change, ...]:
    return tuple(change.reversed() for change in several)


def swapped(sizes: Sizes) -> Sizes:
    return Sizes(sizes.after, sizes.before)


def swapped_all(sizes: Mapping[str, Sizes]) -> dict[str, Sizes]:
    return {name: swapped(one) for name, one in sizes.items()}


def inverse_package(one: PackageChange) -> PackageChange:
    return one._replace(before=one.after, after=one.before)


def inverse_file(one: FileChange) -> FileChange:
    return one._replace(before=one.after, after=one.before)
