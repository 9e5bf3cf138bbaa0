"""kitbuild's root file system is LinuxKit's: held, path by path, against a model of LinuxKit's build.

What differs on purpose is in DIFFERENCES, each with a config that shows it, and in docs/linuxkit-compatibility.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.golden.site import (
    build,
    built,
    configs_of,
    golden_images,
    names,
    peer_entries,
    write_local_files,
)
from tests.support import images
from tests.support.comparison import KINDS, assert_same, booted, differing, looked_up, meant
from tests.support.cpio import Kernel
from tests.support.differences import DIFFERENCES, Difference
from tests.support.images import Made, directory, hardlink
from tests.support.peer import PeerError, initrd
from tests.support.random_systems import DATABASE, Layer, System, systems
from tests.support.unpacking import TarEntry, Unpacked, entries_of, unpacked

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[2] / "docs" / "linuxkit-compatibility.md"


# -- the golden configs


@pytest.mark.parametrize("name", names())
def test_golden_config_gives_the_paths_linuxkit_gives(name: str, tmp_path: Path) -> None:
    write_local_files(tmp_path)

    archive = built(tmp_path, configs_of(name), golden_images())

    expected = peer_entries(tmp_path, configs_of(name), golden_images())
    assert_same(unpacked(expected), unpacked(entries_of(archive)))


@pytest.mark.parametrize("name", names())
def test_golden_config_boots_into_the_paths_linuxkit_means(name: str, tmp_path: Path) -> None:
    write_local_files(tmp_path)

    assert 0 == build(tmp_path, configs_of(name), golden_images())

    expected = meant(peer_entries(tmp_path, configs_of(name), golden_images()))
    assert expected == booted((tmp_path / "out-initrd.img").read_bytes())


# -- random configs


@settings(
    max_examples=int(os.environ.get("KITBUILD_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
@given(systems())
def test_any_config_gives_the_paths_linuxkit_gives(
    tmp_path_factory: pytest.TempPathFactory, system: System
) -> None:
    folder = tmp_path_factory.mktemp("site")
    config = folder / "linuxkit.yml"
    config.write_text(system.text)
    entries = peer_entries(folder, [str(config)], system.images())
    peer = unpacked(entries)
    assume(not peer.lost)

    archive = built(folder, [str(config)], system.images())
    assert 0 == build(folder, [str(config)], system.images())

    assert_same(peer, unpacked(entries_of(archive)))
    # Of `boot` in a kernel's tar see DIFFERENCES.
    if not any(entry.name.startswith("boot") and entry.location == "kernel" for entry in entries):
        assert meant(entries) == booted((folder / "out-initrd.img").read_bytes())


# -- what is the same although it looks as if it need not be


def test_empty_and_linked_package_databases_count_as_linuxkit_counts_them(tmp_path: Path) -> None:
    made: dict[str, Made] = {
        "t/empty:v1": images.image({DATABASE: ""}),
        "t/linked:v1": images.image([(DATABASE, "P:x\n"), ("a/database", hardlink(DATABASE))]),
    }

    ours, peer = both("init: [t/empty:v1, t/linked:v1]\n", made, tmp_path)

    assert_same(peer, ours)
    assert 0 == ours.paths[DATABASE].mtime


def both(text: str, made: Mapping[str, Made], folder: Path) -> tuple[Unpacked, Unpacked]:
    """What kitbuild and LinuxKit make of a config."""
    config = folder / "linuxkit.yml"
    config.write_text(text)
    archive = built(folder, [str(config)], made)
    return unpacked(entries_of(archive)), unpacked(peer_entries(folder, [str(config)], made))


def test_sbom_is_where_linuxkit_has_it(tmp_path: Path) -> None:
    config = tmp_path / "linuxkit.yml"
    config.write_text("init: [t/init:v1]\n")

    build(tmp_path, [str(config)], golden_images(), arguments=("--format", "tar"))

    (*_, last) = entries_of((tmp_path / "out.tar").read_bytes())
    expected = TarEntry("sbom.spdx.json", "file", 0o644, content=last.content)
    assert expected == last
    assert last.content.startswith(b'{"spdxVersion":"SPDX-2.3",')


# -- what differs on purpose


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.what)
def test_difference_is_the_one_the_page_tells_of(
    difference: Difference, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = {name: images.image(*stack, cmd=["/x"]) for name, stack in difference.images.items()}
    config = tmp_path / "linuxkit.yml"
    config.write_text(difference.config)

    status = build(tmp_path, [str(config)], made, arguments=("--no-sbom", "--format", "tar"))

    ours = unpacked(entries_of((tmp_path / "out.tar").read_bytes())) if status == 0 else None
    try:
        entries = peer_entries(tmp_path, [str(config)], made)
    except PeerError:
        entries = None
    peer = entries and unpacked(entries)
    assert (difference.linuxkit is None, difference.kitbuild is None) == (peer is None, ours is None)
    # So that a difference is not a build that fails for another reason.
    assert bool(capfd.readouterr().err) == (ours is None)
    if peer:
        assert difference.linuxkit == looked_up(peer, difference.linuxkit or {})
    if ours:
        assert difference.kitbuild == looked_up(ours, difference.kitbuild or {})
    if peer and ours:
        assert set(difference.linuxkit or {}) | set(difference.kitbuild or {}) >= differing(peer, ours)


# -- the initrd


def image_of(layer: Layer) -> Made:
    return images.image(layer)


def booted_by_linuxkit(text: str, made: Mapping[str, Made], folder: Path) -> Kernel:
    """The root file system after the kernel has unpacked LinuxKit's initrd."""
    config = folder / "linuxkit.yml"
    config.write_text(text)
    kernel = Kernel()
    kernel.unpack(initrd(peer_entries(folder, [str(config)], made)))
    return kernel


def booted_by_kitbuild(text: str, made: Mapping[str, Made], folder: Path) -> Kernel:
    config = folder / "linuxkit.yml"
    config.write_text(text)
    assert 0 == build(folder, [str(config)], made)
    kernel = Kernel()
    kernel.unpack((folder / "out-initrd.img").read_bytes())
    return kernel


INITRD_DIFFERENCES = [
    pytest.param(
        "hard links in the initrd",
        {"t/a:v1": image_of({"a": "text", "d/": directory(), "d/b": hardlink("a")})},
        {"d/b": ("symlink", "../a")},
        {"d/b": ("file", "text")},
        id="hard links in the initrd",
    ),
    pytest.param(
        "a file whose directory comes later or never",
        {"t/a:v1": image_of({"never/a": "a", "later/b": "b", "later/": directory(0o700)})},
        {"never": None, "never/a": None, "later": ("directory", ""), "later/b": None},
        {
            "never": ("directory", ""),
            "never/a": ("file", "a"),
            "later": ("directory", ""),
            "later/b": ("file", "b"),
        },
        id="a file whose directory comes later or never",
    ),
]


@pytest.mark.parametrize(("_what", "made", "linuxkit", "kitbuild"), INITRD_DIFFERENCES)
def test_difference_in_the_initrd_is_the_one_the_page_tells_of(
    _what: str, made: Mapping[str, Made], linuxkit: Any, kitbuild: Any, tmp_path: Path
) -> None:
    peer = booted_by_linuxkit("init: [t/a:v1]\n", made, tmp_path)
    ours = booted_by_kitbuild("init: [t/a:v1]\n", made, tmp_path)

    assert linuxkit == {path: looked_up_in(peer, path) for path in linuxkit}
    assert kitbuild == {path: looked_up_in(ours, path) for path in kitbuild}


def looked_up_in(kernel: Kernel, path: str) -> tuple[str, str] | None:
    found = kernel.plain().get(path)
    if found is None:
        return None
    mode, *_, rest = found
    assert isinstance(mode, int)
    return KINDS[mode >> 12], rest.decode() if isinstance(rest, bytes) else ""


@pytest.mark.parametrize(("folder", "kept"), [("./boot/", True), ("boot/", False)])
def test_boot_in_the_tar_of_a_kernel_stays_in_the_initrd_however_it_is_spelled(
    folder: str, kept: bool, tmp_path: Path
) -> None:
    layer: Layer = {folder: directory(), f"{folder}board.dtb": "dtb"}
    modules = images.layer_tar(layer)
    made: dict[str, Made] = {"t/a:v1": image_of({"kernel": "k", "kernel.tar": modules})}

    peer = booted_by_linuxkit("kernel: {image: t/a:v1}\n", made, tmp_path)
    ours = booted_by_kitbuild("kernel: {image: t/a:v1}\n", made, tmp_path)

    assert kept == ("boot/board.dtb" in peer.plain())
    assert "boot/board.dtb" in ours.plain()
    assert not {"boot/kernel", "boot/cmdline"} & ours.plain().keys()


def test_the_page_has_a_row_for_every_difference() -> None:
    rows = re.findall(r"^\| (.*?) \|", PAGE.read_text(), re.MULTILINE)

    wanted = [difference.what for difference in DIFFERENCES]
    wanted += [str(parameters.values[0]) for parameters in INITRD_DIFFERENCES]
    wanted += ["`boot/` in the kernel's tar", "directories that nobody listed"]
    assert [] == sorted(set(wanted) - set(rows))
