"""Unified kernel images and the disks for EFI, from the nodes that the formats give."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Slice, Zeros
from kitbuild.node import Node
from kitbuild.rule import Artifact
from kitbuild.rules.assemble.kernel import CMDLINE, CmdlineOptions
from kitbuild.rules.format import efi_disk, raw_efi, reading, uki
from kitbuild.rules.format.efi_disk import EfiDiskOptions
from kitbuild.rules.format.uki import UkiOptions
from kitbuild.system import System, Target
from tests.support.kernels import kernel
from tests.support.pe import Program, program
from tests.support.trees import Bench

MIB, GIB = 1 << 20, 1 << 30
KERNEL, INITRD = kernel(size=30_000), b"initrd" * 5000
STUB = program()
BENCH = Bench()


def stored(content: bytes) -> Artifact:
    return BENCH.blob(Extents.whole(BENCH.blob(content).digest).encode())._replace(kind="extents")


def image(cmdline: str = "quiet text", *, architecture: str = "amd64", **files: bytes) -> bytes:
    return BENCH.bytes_of(image_artifact(UkiOptions(architecture, cmdline), **files))


def image_artifact(options: UkiOptions, **files: bytes) -> Artifact:
    given = {"stub": STUB, "kernel": KERNEL, "initrd": INITRD, **files}
    return BENCH.run(uki.RULE, options, **{name: stored(content) for name, content in given.items()})


def disk(files: dict[str, bytes], **options: Any) -> Extents:
    settings = EfiDiskOptions(tuple(files), "amd64", **options)
    artifact = BENCH.run(efi_disk.RULE, settings, files=[stored(content) for content in files.values()])
    with BENCH.work() as work:
        return work.extents(artifact)


def grub_files(**files: bytes) -> dict[str, bytes]:
    return {"EFI/BOOT/BOOTX64.EFI": b"grub" * 1000, "kernel": KERNEL, "initrd.img": INITRD, **files}


def system(
    architecture: str = "amd64", *, disk_bytes: int = 0, cmdline: str = "console=ttyS0 $x\n"
) -> System:
    tree = Node("tree", CMDLINE, CmdlineOptions("x"))
    target = Target(
        architecture=architecture, disk_bytes=disk_bytes, loaders={"systemd-boot": tree, "grub": tree}
    )
    return System((), kernel=tree, cmdline=cmdline, target=target)


def partition(disk: Extents) -> tuple[int, int]:
    """The first byte of the only partition, and how many it has."""
    (entries,) = disk.cut(1024, 128).parts[:1]
    assert isinstance(entries, Literal)
    first, last = struct.unpack_from("<QQ", entries.content, 32)
    return first * 512, (last - first + 1) * 512


def inputs(node: Node) -> dict[str, str]:
    """What a disk's node puts where: paths, and the names of the nodes."""
    return dict(zip(node.options.paths, (file.name for file in node.inputs["files"]), strict=True))


def test_image_has_the_sections_of_the_specification() -> None:
    found = Program.read(image())

    assert [".text", ".osrel", ".cmdline", ".initrd", ".linux"] == [each.name for each in found.sections]
    assert b'NAME="LinuxKit"' == found.section(".osrel").content
    assert b"quiet text" == found.section(".cmdline").content
    assert INITRD == found.section(".initrd").content
    assert KERNEL == found.section(".linux").content


def test_kernel_gets_the_memory_that_its_own_header_asks_for() -> None:
    kernel = program(content=KERNEL, image_bytes=5 * MIB)

    found = Program.read(image(kernel=kernel))

    assert 5 * MIB == found.section(".linux").memory_bytes
    assert found.sections[-1].name == ".linux"
    assert found.image_bytes >= found.section(".linux").address + 5 * MIB


def test_command_line_keeps_bytes_that_are_no_text() -> None:
    found = Program.read(image("na\u00efve \udce9 text"))

    assert b"na\xc3\xafve \xe9 text" == found.section(".cmdline").content


def test_payload_of_the_image_is_sliced_on_pages() -> None:
    with BENCH.work() as work:
        parts = work.extents(image_artifact(UkiOptions("amd64", "text"))).parts

    places = {}
    place = 0
    for part in parts:
        if isinstance(part, Slice):
            places[part.size] = place
        place += part.size
    assert [0, 0] == [places[len(content)] % 4096 for content in (KERNEL, INITRD)]


@pytest.mark.parametrize(
    ("kernel", "stub", "message"),
    [
        pytest.param(kernel(stub=False), STUB, "EFI stub for amd64, got one without", id="no EFI stub"),
        pytest.param(kernel("arm64"), STUB, "EFI stub for amd64, got one for arm64", id="other kernel"),
        pytest.param(KERNEL, program(machine=0xAA64), "boot stub for amd64", id="other stub"),
        pytest.param(KERNEL, b"text", "boot stub for amd64", id="no stub"),
        pytest.param(KERNEL, program(room=3), "room for 4 more sections", id="no room"),
    ],
)
def test_image_is_refused(kernel: bytes, stub: bytes, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        image(kernel=kernel, stub=stub)


def test_image_of_an_architecture_takes_its_kernel_and_stub() -> None:
    made = image(architecture="arm64", kernel=kernel("arm64"), stub=program(machine=0xAA64))

    found = Program.read(made)

    assert 0xAA64 == found.machine


def test_image_is_made_of_the_command_line_with_the_word_text() -> None:
    node = uki.uki(system())

    assert UkiOptions("amd64", "console=ttyS0 $x text") == node.options
    assert ["systemd-boot: linux.efi.stub"] == [each.name for each in node.inputs["stub"]]


def test_disk_with_systemd_boot_has_the_files_of_the_specification() -> None:
    assert {
        "EFI/BOOT/BOOTX64.EFI": "systemd-boot: systemd-boot.efi",
        "EFI/Linux/linuxkit.efi": "uki",
        "loader/loader.conf": "systemd-boot: config",
    } == inputs(efi_disk.efi_disk(system()))


def test_disk_with_grub_has_its_config_where_either_grub_looks() -> None:
    node = efi_disk.grub_disk(system("arm64"))

    assert {
        "EFI/BOOT/BOOTAA64.EFI": "grub: grub.efi",
        "EFI/BOOT/grub.cfg": "GRUB: config of a disk",
        "boot/grub/grub.cfg": "GRUB: config of a disk",
        "kernel": "kernel: kernel",
        "initrd.img": "initrd",
    } == inputs(node)
    config = node.inputs["files"][1].options.text
    assert "linux /kernel console=ttyS0 '$x' text" in config
    assert "initrd /initrd.img" in config


def test_formats_share_the_image_and_the_disk() -> None:
    one = system()

    assert raw_efi.FORMAT.outputs(one)["-efi.img"] is efi_disk.efi_disk(one)
    assert uki.FORMAT.outputs(one)[".efi"] is efi_disk.efi_disk(one).inputs["files"][1]
    assert efi_disk.efi_disk(one) is not efi_disk.efi_disk(one, default_bytes=GIB)


def test_size_that_was_asked_for_goes_to_the_disk() -> None:
    assert 7 * MIB == efi_disk.efi_disk(system(disk_bytes=7 * MIB)).options.disk_bytes


@pytest.mark.parametrize(
    ("options", "disk_bytes", "partition_bytes"),
    [
        # Files and 1 MiB, and around that 4 MiB, as LinuxKit has it.
        pytest.param({}, 6 * MIB, 2 * MIB, id="as small as can be"),
        pytest.param({"disk_bytes": 64 * MIB}, 64 * MIB, 62 * MIB, id="asked for"),
        pytest.param({"disk_bytes": 3 * MIB}, 3 * MIB, MIB, id="just enough"),
        pytest.param({"disk_bytes": 64 * MIB + 1000}, 64 * MIB + 1000, 62 * MIB, id="no whole MiB"),
        pytest.param({"default_bytes": GIB}, GIB, GIB - 2 * MIB, id="default"),
        pytest.param(
            {"default_bytes": GIB, "disk_bytes": 9 * MIB}, 9 * MIB, 7 * MIB, id="asked for, not the default"
        ),
    ],
)
def test_sizes_of_disk_and_partition(options: dict[str, int], disk_bytes: int, partition_bytes: int) -> None:
    made = disk(grub_files(), **options)

    assert disk_bytes == made.size
    assert (MIB, partition_bytes) == partition(made)


def test_default_that_is_too_small_becomes_the_next_whole_gib() -> None:
    made = disk(grub_files(), default_bytes=MIB)

    assert GIB == made.size


def test_size_that_is_too_small_is_refused() -> None:
    with pytest.raises(RuleError, match="disk of at least 3 MiB for kernel and initrd, got 2 MiB") as caught:
        disk(grub_files(), disk_bytes=3 * MIB - 1)

    assert "give `--size 3M` or more" == caught.value.hint


def test_kernel_that_grub_cannot_start_is_refused() -> None:
    with pytest.raises(RuleError, match="expected a kernel with an EFI stub for amd64, got one for arm64"):
        disk(grub_files(kernel=kernel("arm64")))


def test_kernel_for_grub_on_x86_needs_no_stub() -> None:
    assert 6 * MIB == disk(grub_files(kernel=kernel(size=30_000, stub=False))).size


def test_partition_with_an_image_is_as_large_as_with_fat32_however_it_is() -> None:
    files = {"EFI/Linux/linuxkit.efi": bytes(3 * MIB - 20_000)}

    made = disk(files)

    # 3 MiB - 20,000 bytes, 16 KiB before the tables and 12 sectors of tables are more than 3 MiB.
    assert (MIB, 4 * MIB) == partition(made)
    assert 8 * MIB == made.size


def test_files_of_the_disk_are_slices_on_pages() -> None:
    made = disk(grub_files())

    places = {}
    place = 0
    for part in made.parts:
        if isinstance(part, Slice):
            places[part.size] = place
        place += part.size
    assert [0, 0] == [places[len(content)] % 4096 for content in (KERNEL, INITRD)]


def test_bytes_are_those_they_have_always_been() -> None:
    files = {
        "EFI/BOOT/BOOTX64.EFI": b"loader",
        "EFI/Linux/linuxkit.efi": image(),
        "loader/loader.conf": b"timeout 0\n",
    }

    content = BENCH.bytes_of(BENCH.blob(disk(files).encode())._replace(kind="extents"))

    assert (
        "e8c3cca647b35639a689884328af3013d0a321dd73f29fd0c933f7191c62aecc"
        == hashlib.sha256(image()).hexdigest()
    )
    assert (
        "d56b6de87997631408964d5328fb5974836ad16265e0116cff557f76c8f056bb"
        == hashlib.sha256(content).hexdigest()
    )


@pytest.mark.parametrize(
    ("size", "expected"), [(0, b""), (3, b"abc"), (7, b"abcd\0\0e"), (99, b"abcd\0\0ef")]
)
def test_head_is_read_over_all_kinds_of_parts(size: int, expected: bytes) -> None:
    blob = BENCH.slice(b"xefx")
    assert blob is not None
    file = Extents.of([Literal(b"abcd"), Zeros(2), blob._replace(offset=1, size=2)])

    with BENCH.work() as work:
        assert expected == reading.head(file, size, work)
