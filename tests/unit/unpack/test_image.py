"""Layers over each other, each expectation by hand from OCI image-spec, layer.md."""

from __future__ import annotations

from typing import Any

import pytest

from kitbuild.errors import ImageError, RuleError
from kitbuild.rules.unpack import image, layer
from tests.support.images import device, directory, file, hardlink, symlink
from tests.support.tars import END, entry, header
from tests.support.trees import Bench, Content, tar_of

Plain = dict[str, str | bytes]


def flat(*layers: Content) -> Plain:
    bench = Bench()
    return bench.plain(bench.image(*layers))


BASE: dict[str, Any] = {
    "d/": directory(),
    "d/a": "1",
    "d/b": "2",
    "d/e/": directory(),
    "d/e/c": "3",
    "f": "4",
}


def test_image_of_no_layers_is_empty() -> None:
    assert {} == flat()


def test_whiteout_takes_a_file_away() -> None:
    assert {"d": "dir", "d/b": b"2", "d/e": "dir", "d/e/c": b"3"} == flat(BASE, {"d/.wh.a": "", ".wh.f": ""})


def test_whiteout_takes_a_directory_away_with_all_that_is_in_it() -> None:
    assert {"f": b"4"} == flat(BASE, {".wh.d": ""})


def test_whiteout_takes_a_directory_away_that_no_layer_lists() -> None:
    assert {"f": b"4"} == flat({"usr/share/doc/a": "1", "f": "4"}, {".wh.usr": ""})


def test_whiteout_of_nothing_does_nothing() -> None:
    assert {"f": b"4"} == flat({"f": "4"}, {".wh.g": "", "x/.wh.y": "", "f/.wh.z": ""})


@pytest.mark.parametrize(
    "upper",
    [
        pytest.param([("f", "new"), (".wh.f", "")], id="before its whiteout"),
        pytest.param([(".wh.f", ""), ("f", "new")], id="after its whiteout"),
    ],
)
def test_file_made_anew_in_the_layer_that_whites_it_out_is_there(upper: Content) -> None:
    assert b"new" == flat(BASE, upper)["f"]


@pytest.mark.parametrize(
    "upper",
    [
        pytest.param([("d/", directory()), ("d/.wh..wh..opq", ""), ("d/new", "5")], id="first"),
        pytest.param([("d/", directory()), ("d/new", "5"), ("d/.wh..wh..opq", "")], id="last"),
        pytest.param(
            [("d/.wh..wh..opq", ""), ("d/new", "5"), ("d/", directory())], id="before its directory"
        ),
        pytest.param([("d/new", "5"), ("d/.wh..wh..opq", hardlink("d/new"))], id="as a hard link"),
        pytest.param([("d/new", "5"), ("d/.wh..wh..opq", device("char"))], id="as a device"),
    ],
)
def test_opaque_directory_hides_only_what_is_below(upper: Content) -> None:
    assert {"d": "dir", "d/new": b"5", "f": b"4"} == flat(BASE, upper)


def test_opaque_root_hides_everything_below() -> None:
    assert {"new": b"5"} == flat(BASE, {".wh..wh..opq": "", "new": "5"})


def test_opaque_directory_hides_deep_entries_too() -> None:
    assert {"d": "dir", "d/e": "dir", "f": b"4"} == flat(BASE, {"d/e/": directory(), "d/.wh..wh..opq": ""})


def test_opaque_directory_that_no_layer_lists_hides_what_is_below() -> None:
    assert {"a/b/new": b"1"} == flat({"a/b/c/d": "0"}, {"a/.wh..wh..opq": "", "a/b/new": "1"})


def test_opaque_directory_of_nothing_is_empty() -> None:
    assert {"new": "dir"} == flat({}, {"new/": directory(), "new/.wh..wh..opq": ""})


def test_whiteout_may_be_a_hard_link() -> None:
    upper = [(".wh.f", ""), ("d/.wh.a", hardlink(".wh.f")), ("d/.wh.e", hardlink("d/.wh.a"))]

    assert {"d": "dir", "d/b": b"2"} == flat(BASE, upper)


def test_whiteout_may_be_a_hard_link_to_something_below() -> None:
    assert "f" not in flat(BASE, {".wh.f": hardlink("d/a")})


def test_whiteout_of_a_symlink_does_not_touch_its_target() -> None:
    lower = {"d/": directory(), "d/a": "1", "l": symlink("d"), "f": symlink("d/a")}

    assert {"d": "dir", "d/a": b"1"} == flat(lower, {".wh.l": "", ".wh.f": ""})


def test_whiteout_below_a_symlink_does_not_touch_its_target() -> None:
    lower = {"d/": directory(), "d/a": "1", "l": symlink("d")}

    assert {"d": "dir", "d/a": b"1", "l": "dir", "l/b": b"2"} == flat(
        lower, {"l/": directory(), "l/.wh.a": "", "l/.wh..wh..opq": "", "l/b": "2"}
    )


def test_bare_whiteout_names_nothing() -> None:
    expected = flat(BASE)

    assert expected == flat(BASE, {".wh.": "", "d/.wh.": ""})


def test_whiteouts_never_reach_the_image() -> None:
    assert {"a": b"1"} == flat({".wh.x": "", "a": "1", "b/.wh..wh..opq": ""})


def test_metadata_of_aufs_never_reaches_the_image() -> None:
    names = {".wh..wh.aufs": "", ".wh..wh.orph/": directory(), ".wh..wh.plnk/": directory()}

    assert {"a": b"1"} == flat({"a": "1", **names}, {**names, ".wh..wh.plnk/8.1": "2"})


def test_file_that_aufs_keeps_for_hard_links_is_found() -> None:
    upper = {
        ".wh..wh.plnk/": directory(),
        ".wh..wh.plnk/89.123": file("shared", mode=0o755),
        "a": hardlink(".wh..wh.plnk/89.123"),
        "b": hardlink(".wh..wh.plnk/89.123"),
    }
    bench = Bench()

    tree = bench.image({}, upper)

    assert {"a": b"shared", "b": b"shared"} == bench.plain(tree)
    assert {"a", "b"} == bench.names_sharing(tree, "b")


def test_name_that_only_looks_like_a_whiteout_stays() -> None:
    assert {"x.wh.y": b"1", ".wha": b"2"} == flat({"x.wh.y": "1", ".wha": "2"})


def test_directory_over_a_directory_takes_its_attributes_and_keeps_its_children() -> None:
    bench = Bench()

    tree = bench.entries(bench.image(BASE, {"d/": directory(0o700, uid=5, mtime=9)}))

    assert (0o700, 5, 9_000_000_000) == (tree["d"].mode, tree["d"].uid, tree["d"].mtime)
    assert "d/e/c" in tree


def test_directory_that_the_upper_layer_does_not_list_keeps_its_attributes() -> None:
    bench = Bench()

    tree = bench.entries(bench.image({"d/": directory(0o1777)}, {"d/new": "1"}))

    assert 0o1777 == tree["d"].mode


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(
            {"x/": directory(), "x/a": "1"}, {"x": "file"}, {"x": b"file"}, id="file over directory"
        ),
        pytest.param({"x": "file"}, {"x/": directory()}, {"x": "dir"}, id="directory over file"),
        pytest.param({"x": "f"}, {"x/a": "1"}, {"x/a": b"1"}, id="child over file"),
        pytest.param(
            {"x": symlink("y"), "y": "y"}, {"x": "new"}, {"x": b"new", "y": b"y"}, id="file over symlink"
        ),
        pytest.param(
            {"x/": directory(), "x/a": "1"}, {"x": symlink("y")}, {"x": "-> y"}, id="symlink over directory"
        ),
        pytest.param(
            {"x": symlink("y"), "y/": directory(), "y/a": "1"},
            {"x/": directory(), "x/b": "2"},
            {"x": "dir", "x/b": b"2", "y": "dir", "y/a": b"1"},
            id="directory over symlink",
        ),
        pytest.param({"x": device("char", 1, 3)}, {"x": "f"}, {"x": b"f"}, id="file over device"),
        pytest.param({"x": "f"}, {"x": device("fifo")}, {"x": "fifo"}, id="fifo over file"),
    ],
)
def test_kinds_may_change(first: Content, second: Content, expected: Plain) -> None:
    assert expected == flat(first, second)


def test_kinds_may_change_over_three_layers() -> None:
    layers: list[Content] = [
        {"x/": directory(), "x/a": "1", "y": "file"},
        {"x": symlink("y"), ".wh.y": "", "y/": directory(), "y/b": "2"},
        {"x/": directory(), "x/c": "3"},
    ]

    assert {"x": "-> y", "y": "dir", "y/b": b"2"} == flat(*layers[:2])
    assert {"x": "dir", "x/c": b"3", "y": "dir", "y/b": b"2"} == flat(*layers)


# -- hard links


def test_hard_link_to_a_file_of_a_lower_layer_shares_it() -> None:
    bench = Bench()

    tree = bench.image({"a": "1"}, {"z": hardlink("a")})

    assert {"a": b"1", "z": b"1"} == bench.plain(tree)
    assert {"a", "z"} == bench.names_sharing(tree, "z")


@pytest.mark.parametrize("third", [{"a": "new"}, {".wh.a": ""}, {"a/": directory()}, {"a": symlink("z")}])
def test_hard_link_outlives_its_target(third: Content) -> None:
    assert b"1" == flat({"a": "1"}, {"z": hardlink("a")}, third)["z"]


def test_other_names_stay_shared_when_the_first_one_goes() -> None:
    bench = Bench()

    tree = bench.image({"a": "1", "b": hardlink("a"), "c": hardlink("a")}, {"a": "new"})

    assert {"a": b"new", "b": b"1", "c": b"1"} == bench.plain(tree)
    assert {"b", "c"} == bench.names_sharing(tree, "c")


def test_hard_link_into_a_directory_that_is_whited_out_keeps_the_file() -> None:
    assert {"z": b"3"} == flat(BASE, {"z": hardlink("d/e/c")}, {".wh.d": "", ".wh.f": ""})


def test_hard_link_may_stand_before_its_target() -> None:
    bench = Bench()

    tree = bench.image([("a", hardlink("z")), ("b", hardlink("a")), ("z", "1")])

    assert {"a": b"1", "b": b"1", "z": b"1"} == bench.plain(tree)
    assert {"a", "b", "z"} == bench.names_sharing(tree, "b")


def test_hard_link_before_its_target_does_not_lead_to_the_layer_below() -> None:
    assert {"a": b"new", "z": b"new"} == flat({"z": "old"}, [("a", hardlink("z")), ("z", "new")])


def test_early_hard_link_outlives_its_target() -> None:
    assert b"1" == flat([("a", hardlink("z")), ("z", "1")], {"z": "new"})["a"]


def test_chain_of_hard_links_leads_to_the_layer_below() -> None:
    assert b"1" == flat({"x": "1"}, [("c", hardlink("b")), ("b", hardlink("a")), ("a", hardlink("x"))])["c"]


def test_hard_link_takes_the_files_attributes_not_its_own() -> None:
    bench = Bench()

    tree = bench.entries(bench.image({"a": file("1", mode=0o4755, uid=3), "z": hardlink("a", mode=0o600)}))

    assert (0o4755, 3) == (tree["z"].mode, tree["z"].uid)


def test_path_that_comes_twice_is_what_comes_last() -> None:
    bench = Bench()

    tree = bench.image(
        [("a", "1"), ("b", hardlink("a")), ("a", "2"), ("c/", directory()), ("c/x", ""), ("c", "3")]
    )

    assert {"a": b"2", "b": b"1", "c": b"3"} == bench.plain(tree)


# -- names


def test_root_and_dots_are_the_same_path_in_every_layer() -> None:
    bench = Bench()

    tree = bench.image({"./": directory(0o755), "./a": "1"}, {"a": "2", ".": directory(0o700)})

    assert {"": "dir", "a": b"2"} == bench.plain(tree)
    assert 0o700 == bench.entries(tree)[""].mode


def test_names_that_are_not_utf_8_stay_as_they_are() -> None:
    assert {"caf\udce9": b"x", "ü": b"y"} == flat(entry(b"caf\xe9", b"x") + entry("ü".encode(), b"y") + END)


# -- below symlinks


@pytest.mark.parametrize("target", ["usr/lib", "/usr/lib", "./usr//lib/", "../../usr/lib"])
def test_entry_below_a_symlinked_directory_goes_where_it_leads(target: str) -> None:
    lower = {"usr/lib/": directory(), "lib": symlink(target)}

    expected = {"lib": f"-> {target}", "usr/lib": "dir", "usr/lib/x": b"1"}
    assert expected == flat(lower, {"lib/x": "1"})
    assert expected == flat({**lower, "lib/x": "1"})


def test_links_through_several_layers_are_followed() -> None:
    found = flat({"a": symlink("b")}, {"b": symlink("/c/d")}, {"c/d/": directory()}, {"a/x": "1"})

    assert b"1" == found["c/d/x"]


def test_hard_link_below_a_symlinked_directory_finds_its_target() -> None:
    lower = {"usr/lib/x": "1", "lib": symlink("usr/lib")}

    assert b"1" == flat(lower, {"lib/y": hardlink("lib/x")})["usr/lib/y"]


def test_links_that_would_leave_the_root_stay_in_it() -> None:
    found = flat({"up": symlink("../../../../etc"), "up/passwd": "x"})

    assert b"x" == found["etc/passwd"]


def test_links_in_a_loop_are_refused_by_image_and_entry() -> None:
    bench = Bench()

    with pytest.raises(RuleError) as caught:
        bench.image({"a": symlink("b"), "b": symlink("a"), "a/x": "1"})

    message = "t/image:v1: layer 1 of 1: entry 'a/x': too many symlinks above 'a'"
    assert message == caught.value.message


def test_links_in_a_loop_over_several_layers_are_refused() -> None:
    bench = Bench()

    with pytest.raises(RuleError, match="t/image:v1: too many symlinks above 'a'"):
        bench.image({"a": symlink("b"), "b": symlink("a")}, {"a/x": "1"})


# -- what has to survive


def test_devices_modes_attributes_and_large_ids_survive_further_layers() -> None:
    capability = "\1\0\0\2\0 \0\0"
    lower = {
        "null": device("char", 1, 3, mode=0o666),
        "disk": device("block", 259, 70_000),
        "su": file("x", mode=0o6755, uid=4_000_000_000, gid=3_000_000),
        "ping": file("x", pax={"SCHILY.xattr.security.capability": capability}),
        "tmp/": directory(0o1777),
    }
    bench = Bench()

    tree = bench.entries(bench.image(lower, {"other": "1"}, {"tmp/x": "2"}))

    assert (0o666, (1, 3)) == (tree["null"].mode, tree["null"].device)
    assert (259, 70_000) == tree["disk"].device
    assert (0o6755, 4_000_000_000, 3_000_000) == (tree["su"].mode, tree["su"].uid, tree["su"].gid)
    assert (("security.capability", capability.encode()),) == tree["ping"].xattrs
    assert 0o1777 == tree["tmp"].mode


def test_file_over_a_file_has_no_attributes_of_the_old_one() -> None:
    bench = Bench()

    tree = bench.entries(bench.image({"a": file("1", pax={"SCHILY.xattr.user.a": "x"})}, {"a": "2"}))

    assert () == tree["a"].xattrs


def test_typical_image_of_several_layers() -> None:
    found = flat(
        {
            "bin": symlink("usr/bin"),
            "usr/bin/": directory(),
            "usr/bin/busybox": file("bb", mode=0o755),
            "usr/bin/sh": hardlink("usr/bin/busybox"),
            "etc/passwd": "root",
            "var/cache/apk/index": "i",
            "tmp/": directory(0o1777),
        },
        {"bin/app": "app", "etc/passwd": "root,app", "var/cache/apk/.wh.index": "", "tmp/x": ""},
        {"tmp/": directory(0o1777), "tmp/.wh..wh..opq": "", "usr/bin/.wh.busybox": "", "var/.wh.cache": ""},
    )

    assert {
        "bin": "-> usr/bin",
        "usr/bin": "dir",
        "usr/bin/sh": b"bb",
        "usr/bin/app": b"app",
        "etc/passwd": b"root,app",
        "tmp": "dir",
    } == found


# -- errors


def test_error_of_a_layer_names_image_and_layer() -> None:
    bench = Bench()
    options = layer.LayerOptions("t/image:v1: layer 2 of 3")

    with pytest.raises(RuleError) as caught:
        bench.run(layer.RULE, options, tar=bench.blob(header("/etc/x") + END))

    assert "t/image:v1: layer 2 of 3: entry '/etc/x': an absolute path" == caught.value.message


def test_hard_link_to_nothing_names_the_image() -> None:
    bench = Bench()

    with pytest.raises(RuleError) as caught:
        bench.image({"a": hardlink("gone")}, {"b": "1"})

    assert "t/image:v1: hard link 'a' to 'gone', which is no file" == caught.value.message


def test_absent_image_fails_with_its_reason() -> None:
    options = image.AbsentOptions("t/image:v1", "no source has `t/image:v1`", "push it first")

    with pytest.raises(ImageError) as caught:
        Bench().run(image.ABSENT, options)

    assert ("no source has `t/image:v1`", "push it first") == (caught.value.message, caught.value.hint)


def test_labels_do_not_shape_the_tree() -> None:
    assert layer.RULE.unkeyed == layer.LayerOptions._fields
    assert image.RULE.unkeyed == image.ImageOptions._fields


def test_layer_is_read_where_it_lies() -> None:
    bench = Bench()
    tar = bench.blob(tar_of({"a": "1", "b": hardlink("a")}))

    tree = bench.tree(bench.run(layer.RULE, layer.LayerOptions(), tar=tar))

    assert (tar.digest,) == tree.blobs()


def test_single_layer_with_nothing_to_apply_is_the_image() -> None:
    bench = Bench()
    plain = bench.layer({"a": "1", "b": hardlink("a")})
    hiding = bench.layer({"a": "1", ".wh.b": ""})

    assert bench.run(image.RULE, image.ImageOptions(), layers=[plain]) == plain
    assert bench.run(image.RULE, image.ImageOptions(), layers=[hiding]) != hiding
