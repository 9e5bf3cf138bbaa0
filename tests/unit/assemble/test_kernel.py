"""What comes out of a kernel image, and the package database of several init images."""

from __future__ import annotations

from typing import Any

import pytest

from kitbuild.errors import RuleError
from kitbuild.rules.assemble import kernel, packages
from kitbuild.system import MTIME
from kitbuild.tree import Entry
from tests.support.images import directory, file, hardlink, symlink
from tests.support.tars import header
from tests.support.trees import Bench, Content, tar_of

MODULES = tar_of(
    {
        "./lib/": directory(),
        "./lib/modules/6.1/a.ko": file("ko", mtime=7),
        "./lib/modules/6.1/b.ko": hardlink("./lib/modules/6.1/a.ko"),
    }
)
IMAGE: dict[str, Any] = {
    "kernel": file("vmlinuz", mode=0o755, mtime=3, uid=4),
    "kernel.tar": MODULES,
    "ucode.cpio": "microcode",
    "other/": directory(),
}


def boot(content: Content, **options: Any) -> dict[str, str | bytes]:
    bench = Bench()
    return bench.plain(bench.run(kernel.BOOT, kernel.BootOptions(**options), image=bench.image(content)))


def refused(rule: Any, options: Any, content: Content) -> tuple[str, str | None]:
    bench = Bench()
    with pytest.raises(RuleError) as caught:
        bench.run(rule, options, image=bench.image(content))
    return caught.value.message, caught.value.hint


def test_kernel_is_put_into_boot() -> None:
    bench = Bench()

    tree = bench.run(kernel.BOOT, kernel.BootOptions(), image=bench.image(IMAGE))

    assert {"boot": "dir", "boot/kernel": b"vmlinuz"} == bench.plain(tree)
    entry = bench.entries(tree)["boot/kernel"]
    assert (0o755, 0, 0, MTIME) == (entry.mode, entry.uid, entry.gid, entry.mtime)


def test_microcode_is_put_beside_it() -> None:
    assert b"microcode" == boot(IMAGE, microcode="ucode.cpio")["boot/ucode.cpio"]


@pytest.mark.parametrize("binary", ["bzImage", "/bzImage"])
def test_kernel_may_have_another_name(binary: str) -> None:
    assert b"k" == boot({"bzImage": "k"}, binary=binary)["boot/kernel"]


def test_kernel_may_be_a_hard_link() -> None:
    assert b"k" == boot({"boot/vmlinuz": "k", "kernel": hardlink("boot/vmlinuz")})["boot/kernel"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param({"kernal": "k"}, "did you mean `kernal`?", id="slip of the finger"),
        pytest.param(
            {"a": "1", "b": hardlink("a")}, "name one of its files in the kernel section: a, b", id="few"
        ),
        pytest.param(
            {f"n{number:02}": "1" for number in range(20)},
            "name one of its files in the kernel section: n00, n01, n02, n03, n04, n05, n06, n07, ...",
            id="many",
        ),
        pytest.param({"d/": directory()}, "choose an image with one", id="no file"),
    ],
)
def test_kernel_that_is_not_there_is_told_with_what_is(content: Content, expected: str) -> None:
    message, hint = refused(kernel.BOOT, kernel.BootOptions(), content)

    assert "expected a file `kernel` in the kernel image, got none" == message
    assert hint == expected or (hint or "").startswith(expected)


@pytest.mark.parametrize("content", [directory(), symlink("vmlinuz")])
def test_kernel_that_is_no_file_is_refused(content: Any) -> None:
    assert "expected a file `kernel`" in refused(kernel.BOOT, kernel.BootOptions(), {"kernel": content})[0]


def test_microcode_that_is_not_there_is_refused() -> None:
    options = kernel.BootOptions(microcode="intel.cpio")

    assert "expected a file `intel.cpio`" in refused(kernel.BOOT, options, IMAGE)[0]


def test_modules_are_slices_of_the_layer_the_tar_lies_in() -> None:
    bench = Bench()
    layer = bench.layer(IMAGE)

    tree = bench.run(kernel.MODULES, kernel.ModulesOptions(), image=bench.image(layer))

    assert {"lib": "dir", "lib/modules/6.1/a.ko": b"ko", "lib/modules/6.1/b.ko": b"ko"} == bench.plain(tree)
    assert bench.tree(layer).blobs() == bench.tree(tree).blobs()
    assert 7_000_000_000 == bench.entries(tree)["lib/modules/6.1/a.ko"].mtime


def test_modules_tar_of_no_bytes_is_empty() -> None:
    bench = Bench()

    tree = bench.run(kernel.MODULES, kernel.ModulesOptions(), image=bench.image({"kernel.tar": ""}))

    assert {} == bench.plain(tree)


def test_modules_tar_that_is_not_there_is_refused() -> None:
    assert (
        "expected a file `modules.tar`"
        in refused(kernel.MODULES, kernel.ModulesOptions("modules.tar"), IMAGE)[0]
    )


@pytest.mark.parametrize(
    ("tar", "expected"),
    [
        pytest.param(MODULES[:700], "the archive ends inside", id="cut off"),
        pytest.param(header("../x"), "entry '../x': a path with `..`", id="upwards"),
        pytest.param(header("a", type=b"1", link=b"b"), "hard link 'a' to 'b', which is no file", id="link"),
        pytest.param(b"\x1f\x8b" + bytes(600), "a header's checksum does not fit", id="compressed"),
    ],
)
def test_broken_modules_tar_is_told_by_name(tar: bytes, expected: str) -> None:
    message, _ = refused(kernel.MODULES, kernel.ModulesOptions(), {"kernel.tar": tar})

    assert message.startswith("`kernel.tar` in the kernel image: ")
    assert expected in message


@pytest.mark.parametrize("text", ["console=ttyS0 quiet", ""])
def test_command_line_is_a_file_of_its_own(text: str) -> None:
    bench = Bench()

    tree = bench.run(kernel.CMDLINE, kernel.CmdlineOptions(text))

    assert {"boot/cmdline": text.encode()} == bench.plain(tree)
    assert Entry("boot/cmdline", "file", 0o644, mtime=MTIME) == bench.entries(tree)["boot/cmdline"]._replace(
        content=None
    )


# -- packages

DATABASE = "lib/apk/db/installed"


def joined(*images: Content) -> dict[str, str | bytes]:
    bench = Bench()
    return bench.plain(bench.run(packages.RULE, images=[bench.image(image) for image in images]))


def test_databases_of_several_images_are_joined_in_their_order() -> None:
    found = joined({DATABASE: "P:a\n"}, {"other": "1"}, {DATABASE: "P:b\n"})

    assert {DATABASE: b"P:a\n\n\nP:b\n\n\n"} == found


@pytest.mark.parametrize("images", [[], [{DATABASE: "P:a\n"}], [{DATABASE: "P:a\n"}, {"a": "1"}]])
def test_fewer_than_two_databases_are_left_alone(images: list[Content]) -> None:
    assert {} == joined(*images)


def test_joined_database_has_no_time() -> None:
    bench = Bench()
    images = [bench.image({DATABASE: file("x", mode=0o600, uid=1)})] * 2

    entry = bench.entries(bench.run(packages.RULE, images=images))[DATABASE]

    assert (0o644, 0, 0, 0) == entry[2:6]
