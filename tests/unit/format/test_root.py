"""The root file system as one tree is what unpacking every part in order would leave on a disk."""

from __future__ import annotations

import pytest

from kitbuild.extents import Slice
from kitbuild.node import Node
from kitbuild.rule import Artifact, NoOptions, Rule
from kitbuild.rules.format import boot, root
from kitbuild.system import MTIME, Part, System
from kitbuild.tree import Entry, Tree
from tests.support.trees import Bench

BENCH = Bench()


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, "directory", mode, mtime=5)


def file(path: str, content: bytes = b"content", mode: int = 0o644) -> Entry:
    return Entry(path, "file", mode, 7, 8, 5, BENCH.slice(content))


def laid(*parts: list[Entry], keeps_boot: tuple[bool, ...] = ()) -> Artifact:
    options = root.RootOptions(keeps_boot or (False,) * len(parts))
    return BENCH.run(root.RULE, options, parts=[BENCH.put(part) for part in parts])


def test_later_parts_lie_over_earlier_ones() -> None:
    made = laid(
        [directory("etc", 0o700), file("etc/a", b"1")], [directory("etc"), file("etc/a", b"2"), file("b")]
    )

    assert {"": "dir", "b": b"content", "etc": "dir", "etc/a": b"2"} == BENCH.plain(made)
    assert 0o755 == BENCH.entries(made)["etc"].mode


def test_owners_devices_times_and_attributes_stay() -> None:
    entries = [
        file("suid", mode=0o4755),
        Entry("null", "char", 0o666, device=(1, 3)),
        Entry("ping", "file", 0o755, xattrs=(("security.capability", b"\1"),)),
    ]

    found = BENCH.entries(laid(entries))

    assert {entry.path: entry for entry in entries} == {path: found[path] for path in found if path}


def test_root_and_directories_nobody_listed_are_there() -> None:
    found = BENCH.entries(laid([file("usr/lib/a")]))

    for path in ("", "usr", "usr/lib"):
        assert Entry(path, "directory", 0o755, mtime=MTIME) == found[path]


def test_root_that_a_part_brings_counts() -> None:
    assert 0o711 == BENCH.entries(laid([directory("", 0o711), file("a")]))[""].mode


@pytest.mark.parametrize(
    ("keeps", "left"), [(False, ["boot"]), (True, ["boot", "boot/dtb", "boot/dtb/a", "boot/kernel"])]
)
def test_boot_is_emptied_unless_it_stays(keeps: bool, left: list[str]) -> None:
    part = [
        directory("boot"),
        file("boot/kernel"),
        directory("boot/dtb"),
        file("boot/dtb/a"),
        file("boot/cmdline"),
    ]

    made = laid(part, keeps_boot=(keeps,))

    assert left == [path for path in BENCH.plain(made) if path]


def test_hard_links_share_their_file() -> None:
    link = Entry("b", "hardlink", 0o644, 7, 8, 5, target="a")

    made = laid([file("a"), link], [file("a", b"other")])

    assert {"": "dir", "a": b"other", "b": b"content"} == BENCH.plain(made)


def test_file_of_boot_with_another_name_stays_under_that() -> None:
    link = Entry("lib/kernel", "hardlink", 0o644, 7, 8, 5, target="boot/kernel")

    made = laid([directory("boot"), file("boot/kernel"), link])

    assert {"": "dir", "boot": "dir", "lib": "dir", "lib/kernel": b"content"} == BENCH.plain(made)


def part(name: str, *, in_initrd: bool = True, keeps_boot: bool = False) -> Part:
    rule: Rule[NoOptions] = Rule(f"test/{name}", 1, "", NoOptions, "tree", lambda work: Tree.of([]))
    return Part(name, Node(name, rule, NoOptions()), "", "", in_initrd=in_initrd, keeps_boot=keeps_boot)


def test_root_is_made_of_every_part_but_the_command_line() -> None:
    system = System((part("kernel"), part("cmdline", in_initrd=False), part("modules", keeps_boot=True)))

    without, whole = boot.root(system, with_boot=False), boot.root(system, with_boot=True)

    assert ["kernel", "modules"] == [node.name for node in without.inputs["parts"]]
    assert (False, True) == without.options.keeps_boot
    assert (True, True) == whole.options.keeps_boot
    assert without is boot.root(system, with_boot=False)


def test_kernel_and_command_line_go_with_a_kernel() -> None:
    kernel = part("kernel").tree
    full = boot.kernel_and_cmdline(System((), kernel=kernel, cmdline="quiet", microcode=True))
    least = boot.kernel_and_cmdline(System((), kernel=kernel))

    assert {"-kernel", "-cmdline", "-ucode.cpio"} == set(full)
    assert "quiet" == full["-cmdline"].options.text
    assert {"-kernel", "-cmdline"} == set(least)
    assert "" == least["-cmdline"].options.text
    assert {} == boot.kernel_and_cmdline(System(()))


def test_command_line_for_a_boot_loader_has_no_end_of_line() -> None:
    assert "console=ttyS0 a" == boot.cmdline(System((), cmdline="console=ttyS0 a\n\n"))


def test_entries_keep_the_content_of_the_layer() -> None:
    entry = file("a")
    assert isinstance(entry.content, Slice)

    assert entry == BENCH.entries(laid([entry]))["a"]
