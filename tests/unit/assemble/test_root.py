"""What init images, containers and volumes become: the entries every LinuxKit root has."""

from __future__ import annotations

from typing import Any

import pytest

from kitbuild.rules.assemble import container, init, volume
from kitbuild.rules.assemble.root import chain
from kitbuild.system import MTIME
from kitbuild.tree import Entry
from tests.support.images import device, directory, file, hardlink, symlink
from tests.support.trees import Bench, Content

HOSTS = b"""\
127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""
RESOLV_CONF = b"\n# no resolv.conf configured\n"
STANDARD: dict[str, str | bytes] = {
    "dev": "dir",
    "dev/pts": "dir",
    "dev/shm": "dir",
    "etc": "dir",
    "etc/hosts": HOSTS,
    "etc/mtab": "-> /proc/mounts",
    "etc/resolv.conf": "-> /run/resolvconf/resolv.conf",
    "proc": "dir",
    "sys": "dir",
}
INSIDE = STANDARD | {"etc/resolv.conf": RESOLV_CONF}


def laid_down(*layers: Content) -> tuple[dict[str, str | bytes], dict[str, Entry]]:
    bench = Bench()
    root = bench.run(init.RULE, image=bench.image(*layers))
    return bench.plain(root), bench.entries(root)


def below(folder: str, entries: dict[str, str | bytes]) -> dict[str, str | bytes]:
    return {f"{folder}/{path}": value for path, value in entries.items()}


# -- the standard entries


def test_texts_have_the_lengths_linuxkit_gives_them() -> None:
    assert (160, 29) == (len(HOSTS), len(RESOLV_CONF))


def test_init_image_gets_the_standard_entries() -> None:
    plain, entries = laid_down({"init": file("#!", mode=0o755)})

    assert {**STANDARD, "init": b"#!"} == plain
    assert {
        "dev": 0o755,
        "dev/pts": 0o755,
        "dev/shm": 0o755,
        "etc": 0o755,
        "etc/hosts": 0o644,
        "etc/mtab": 0o755,
        "etc/resolv.conf": 0o644,
        "proc": 0o755,
        "sys": 0o755,
    } == {path: entries[path].mode for path in STANDARD}
    assert {(0, 0, MTIME)} == {
        (entries[path].uid, entries[path].gid, entries[path].mtime) for path in STANDARD
    }


def test_what_container_engines_leave_is_dropped() -> None:
    left = {
        ".dockerenv": "",
        "Dockerfile": "FROM",
        "dev/console": device("char", 5, 1),
        "dev/pts/": directory(0o700),
        "dev/shm/": directory(0o1777),
        "etc/hostname": "abc",
    }

    plain, entries = laid_down({**left, "dev/null": device("char", 1, 3), "sub/Dockerfile": "kept"})

    assert {**STANDARD, "dev/null": "char", "sub/Dockerfile": b"kept"} == plain
    assert 0o755 == entries["dev/pts"].mode


def test_standard_directories_are_roots_whatever_the_image_says() -> None:
    content = {f"{path}/": directory(0o700, uid=5, mtime=1) for path in ("dev", "etc", "proc", "sys")}

    _, entries = laid_down({**content, "etc/app": "1"})

    for path in ("dev", "etc", "proc", "sys"):
        assert Entry(path, "directory", 0o755, mtime=MTIME) == entries[path]
    assert "etc/app" in entries


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"etc/hosts": "own", "etc/resolv.conf": "own"}, id="files"),
        pytest.param(
            {"etc/hosts": symlink("/run/hosts"), "etc/resolv.conf": symlink("../run/r")}, id="symlinks"
        ),
        pytest.param(
            {"etc/hosts/": directory(), "etc/hosts/x": "1", "etc/resolv.conf/": directory()}, id="directories"
        ),
        pytest.param({"etc/hosts": device("fifo"), "etc/resolv.conf": device("char", 1, 3)}, id="devices"),
    ],
)
def test_hosts_and_resolv_conf_are_the_systems_own(content: dict[str, Any]) -> None:
    assert STANDARD == laid_down(content)[0]


@pytest.mark.parametrize("name", ["etc/hosts", "etc/resolv.conf", "etc/hostname", ".dockerenv"])
@pytest.mark.parametrize("other", ["a", "usr/share/z"])
def test_other_names_of_a_dropped_file_keep_it(name: str, other: str) -> None:
    plain, entries = laid_down({name: file("own", mode=0o600), other: hardlink(name)})

    assert {**STANDARD, other: b"own"} == plain
    assert ("file", 0o600) == (entries[other].kind, entries[other].mode)


def test_hosts_is_no_second_name_of_another_file() -> None:
    plain, _ = laid_down({"a": "own", "etc/hosts": hardlink("a"), "etc/resolv.conf": hardlink("a")})

    assert {**STANDARD, "a": b"own"} == plain


@pytest.mark.parametrize(
    ("content", "expected"), [("own", b"own"), (symlink("/proc/self/mounts"), "-> /proc/self/mounts")]
)
def test_mtab_of_the_image_stays_with_the_systems_time(content: Any, expected: str | bytes) -> None:
    plain, entries = laid_down({"etc/mtab": content})

    assert expected == plain["etc/mtab"]
    assert MTIME == entries["etc/mtab"].mtime


def test_etc_that_is_a_symlink_becomes_a_directory() -> None:
    plain, _ = laid_down({"etc": symlink("usr/etc"), "usr/etc/app": "1"})

    assert {**STANDARD, "usr/etc/app": b"1"} == plain


def test_times_of_the_image_stay() -> None:
    assert 5_000_000_000 == laid_down({"a": file("1", mtime=5)})[1]["a"].mtime


# -- containers


def bundle(*, readonly: bool, content: Content | None) -> tuple[Bench, Any]:
    bench = Bench()
    options = container.ContainerOptions("containers/services/web", readonly, '{"c":"ü"}', '{"r":2}')
    images = () if content is None else bench.image(content)
    return bench, bench.run(container.RULE, options, image=images)


BUNDLE: dict[str, str | bytes] = {
    "containers": "dir",
    "containers/services": "dir",
    "containers/services/web": "dir",
    "containers/services/web/config.json": '{"c":"ü"}'.encode(),
    "containers/services/web/runtime.json": b'{"r":2}',
}
WEB = "containers/services/web"


def test_writable_container_has_its_image_below_and_the_ends_of_an_overlay() -> None:
    bench, tree = bundle(readonly=False, content={"app": "x", "alias": hardlink("app")})

    lower = below(f"{WEB}/lower", {**INSIDE, "app": b"x", "alias": b"x"})
    ends = {f"{WEB}/lower": "dir", f"{WEB}/tmp": "dir", f"{WEB}/rootfs": "dir"}
    assert BUNDLE | lower | ends == bench.plain(tree)
    assert {f"{WEB}/lower/app", f"{WEB}/lower/alias"} == bench.names_sharing(tree, f"{WEB}/lower/app")


def test_readonly_container_has_its_image_as_its_root() -> None:
    bench, tree = bundle(readonly=True, content={"app": "x"})

    assert BUNDLE | {f"{WEB}/rootfs": "dir"} | below(f"{WEB}/rootfs", {**INSIDE, "app": b"x"}) == bench.plain(
        tree
    )


@pytest.mark.parametrize(("readonly", "expected"), [(True, ["rootfs"]), (False, ["rootfs", "tmp"])])
def test_container_of_an_image_that_lies_elsewhere_has_only_mount_points(
    readonly: bool, expected: list[str]
) -> None:
    bench, tree = bundle(readonly=readonly, content=None)

    assert BUNDLE | {f"{WEB}/{name}": "dir" for name in expected} == bench.plain(tree)


def test_root_of_an_image_gives_the_root_of_the_container_its_attributes() -> None:
    bench, tree = bundle(readonly=True, content={"./": directory(0o711, uid=7)})

    assert (0o711, 7) == bench.entries(tree)[f"{WEB}/rootfs"][2:4]


def test_parents_an_image_does_not_list_are_made() -> None:
    bench, tree = bundle(readonly=True, content={"usr/local/bin/app": "x"})

    entries = bench.entries(tree)

    assert (
        Entry(f"{WEB}/rootfs/usr/local", "directory", 0o755, mtime=MTIME)
        == entries[f"{WEB}/rootfs/usr/local"]
    )


def test_container_files_are_roots() -> None:
    bench, tree = bundle(readonly=True, content=None)

    entry = bench.entries(tree)[f"{WEB}/config.json"]

    assert (0o644, 0, 0, MTIME) == entry[2:6]


def test_empty_texts_are_empty_files() -> None:
    bench = Bench()

    tree = bench.entries(bench.run(container.RULE, container.ContainerOptions("c", True, "", "")))

    assert (None, None) == (tree["c/config.json"].content, tree["c/runtime.json"].content)


# -- volumes


def test_blank_volume_is_its_folders() -> None:
    bench = Bench()

    tree = bench.run(volume.CONTENT, volume.VolumeOptions("containers/volumes/data"))

    names = ["containers", "containers/volumes", "containers/volumes/data", "containers/volumes/data/lower"]
    assert dict.fromkeys(names, "dir") == bench.plain(tree)


def test_volume_with_an_image_has_it_below_with_the_link_for_resolv_conf() -> None:
    bench = Bench()
    options = volume.VolumeOptions("containers/volumes/data")

    tree = bench.plain(bench.run(volume.CONTENT, options, image=bench.image({"a": "1", "b": hardlink("a")})))

    lower = "containers/volumes/data/lower"
    assert below(lower, {**STANDARD, "a": b"1", "b": b"1"}).items() <= tree.items()
    assert 4 + 9 + 2 == len(tree)


def test_volume_has_the_ends_of_an_overlay() -> None:
    bench = Bench()

    tree = bench.entries(bench.run(volume.MOUNTS, volume.VolumeOptions("v")))

    assert [Entry(f"v/{name}", "directory", 0o755, mtime=MTIME) for name in ("merged", "tmp")] == [
        *tree.values()
    ]


# -- pieces


def test_chain_goes_from_the_outermost_directory_to_the_folder() -> None:
    assert ["a", "a/b", "a/b/c"] == [entry.path for entry in chain("a/b/c")]
