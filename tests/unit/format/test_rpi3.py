"""The Raspberry Pi 3 format: what U-Boot finds on the card, and what it is told to do."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import zlib
from collections.abc import Mapping

import pytest

from kitbuild.errors import RuleError
from kitbuild.node import Node
from kitbuild.rule import Artifact
from kitbuild.rules.format import root, rpi3, uimage
from kitbuild.rules.format.file import FILE, FileOptions
from kitbuild.system import System, Target
from kitbuild.tree import Entry
from tests.support.kernels import kernel as fake_kernel
from tests.support.trees import Bench

BENCH = Bench()
LIMITS = uimage.KernelOptions(end=1 << 24, most_bytes=1 << 20)
TREE = "boot/dtb/broadcom/bcm2837-rpi-3-b"
KERNEL = fake_kernel("arm64")


def tree(files: Mapping[str, bytes]) -> Artifact:
    return BENCH.put(
        Entry(path, "file", 0o644, content=BENCH.slice(content)) for path, content in files.items()
    )


def extents(content: bytes) -> Artifact:
    return BENCH.run(FILE, FileOptions("a"), tree=tree({"a": content}))


def uimage_kernel(content: bytes, options: uimage.KernelOptions = LIMITS) -> bytes:
    return BENCH.bytes_of(BENCH.run(uimage.KERNEL, options, kernel=extents(content)))


def image(*, text_offset: int = 0, size: int = 0) -> bytes:
    """A kernel that says where it goes and how much memory it takes."""
    return KERNEL[:8] + struct.pack("<QQ", text_offset, size) + KERNEL[24:]


def made(files: Mapping[str, bytes], *, cmdline: str = "console=ttyAMA0") -> bytes:
    output = BENCH.run(
        rpi3.RULE,
        rpi3.Rpi3Options(cmdline),
        loader=tree({"u-boot.bin": b"u-boot", "start.elf": b"firmware", "bootcode.bin": b""}),
        root=tree(files),
        kernel=BENCH.run(uimage.KERNEL, LIMITS, kernel=extents(KERNEL)),
        initrd=BENCH.run(uimage.RAMDISK, uimage.RamdiskOptions(100), initrd=extents(b"initrd")),
    )
    return BENCH.bytes_of(output)


def read(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        files = {member.name: opened.extractfile(member) for member in opened}
        return {name: file.read() for name, file in files.items() if file}


def test_card_holds_what_the_firmware_and_u_boot_look_for() -> None:
    found = read(
        made({f"{TREE}.dtb": b"1", f"{TREE}-plus.dtb": b"2", "boot/dtb/broadcom/bcm2711-rpi-4-b.dtb": b"3"})
    )

    assert [
        "boot.scr",
        "boot.script",
        "bootcode.bin",
        "config.txt",
        "dtb/broadcom/bcm2837-rpi-3-b-plus.dtb",
        "dtb/broadcom/bcm2837-rpi-3-b.dtb",
        "initrd.uimg",
        "kernel.uimg",
        "start.elf",
        "u-boot.bin",
    ] == list(found)
    assert (b"1", b"2") == (found[f"{TREE[5:]}.dtb"], found[f"{TREE[5:]}-plus.dtb"])
    assert b"kernel=u-boot.bin" in found["config.txt"].splitlines()
    assert found["boot.scr"].endswith(found["boot.script"])
    assert b"initrd" == found["initrd.uimg"][64:]


def test_hard_linked_device_trees_are_files_like_any_others() -> None:
    blob = Entry("boot/dtb/a", "file", 0o644, content=BENCH.slice(b"tree"))
    link = Entry(f"{TREE}.dtb", "hardlink", 0o644, target="boot/dtb/a")

    output = BENCH.run(
        rpi3.RULE,
        rpi3.Rpi3Options(""),
        loader=tree({}),
        root=BENCH.put([blob, link]),
        kernel=extents(b""),
        initrd=extents(b""),
    )

    assert b"tree" == read(BENCH.bytes_of(output))["dtb/broadcom/bcm2837-rpi-3-b.dtb"]


def test_missing_device_tree_is_an_error() -> None:
    with pytest.raises(
        RuleError, match="no device tree of a Raspberry Pi 3 in the root file system"
    ) as caught:
        made({"boot/dtb/broadcom/bcm2711-rpi-4-b.dtb": b"4"})

    assert "kernel.tar" in str(caught.value.hint)


def test_command_line_follows_that_of_linuxkit() -> None:
    first = rpi3.boot_script("console=ttyAMA0 quiet").splitlines()[0]

    assert first.startswith(b"setenv bootargs 'dwc_otg.lpm_enable=0 earlyprintk console=tty1 ")
    assert first.endswith(b" root=/dev/ram0 rw console=ttyAMA0 quiet'")


@pytest.mark.parametrize(
    ("cmdline", "written"),
    [
        pytest.param("", b" rw'", id="nothing"),
        pytest.param("a='b c'", rb" rw a='\''b c'\'''", id="quotes"),
        pytest.param("a=\\b", rb" rw a=\\b'", id="a backslash"),
        pytest.param("a=$b;c", b" rw a=$b;c'", id="what is taken as it is"),
    ],
)
def test_command_line_reaches_the_kernel_as_written(cmdline: str, written: bytes) -> None:
    """Each of these was booted in U-Boot 2023.01."""
    assert rpi3.boot_script(cmdline).splitlines()[0].endswith(written)


def test_plain_kernel_is_compressed_and_a_compressed_one_is_not() -> None:
    plain = uimage_kernel(KERNEL)
    compressed = gzip.compress(KERNEL, mtime=0)

    assert KERNEL == gzip.decompress(plain[64:])
    assert compressed == uimage_kernel(compressed)[64:]
    for found in (plain, uimage_kernel(compressed)):
        assert (len(found) - 64, zlib.crc32(found[64:])) == struct.unpack_from(">12xI8xI", found)


@pytest.mark.parametrize(
    ("text_offset", "address"),
    [pytest.param(0x80000, 0x80000, id="until Linux 5.9"), pytest.param(0, 0x200000, id="since")],
)
@pytest.mark.parametrize("is_compressed", [True, False])
def test_kernel_goes_where_it_says(text_offset: int, address: int, is_compressed: bool) -> None:
    content = image(text_offset=text_offset)

    found = uimage_kernel(gzip.compress(content) if is_compressed else content)

    assert (address, address) == struct.unpack_from(">16xII", found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            b"MZ\0\0zimg" + bytes(99), "expected an arm64 kernel, plain or compressed", id="EFI zboot"
        ),
        pytest.param(b"", "expected an arm64 kernel, plain or compressed", id="nothing"),
        pytest.param(
            gzip.compress(b"text"), "expected an arm64 kernel, plain or compressed", id="another file"
        ),
        pytest.param(b"\x1f\x8b damaged", "the kernel looks like gzip, but is damaged", id="damaged"),
        pytest.param(
            image(size=(1 << 24) - 0x200000 + 1),
            "at most 14680064 bytes of memory, got 14680065",
            id="memory",
        ),
    ],
)
def test_kernel_that_would_not_start_is_an_error(content: bytes, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        uimage_kernel(content)


def test_kernel_that_would_lie_over_the_initrd_is_an_error() -> None:
    with pytest.raises(RuleError, match="expected a kernel of at most 10 bytes, got"):
        uimage_kernel(KERNEL, uimage.KernelOptions(end=1 << 24, most_bytes=10))


def test_initrd_that_memory_has_no_room_for_is_an_error() -> None:
    with pytest.raises(RuleError, match="expected an initrd of at most 3 bytes, got 4"):
        BENCH.run(uimage.RAMDISK, uimage.RamdiskOptions(3), initrd=extents(b"four"))


def test_format_is_for_arm64_and_takes_the_firmware_with_it() -> None:
    loader = Node("loader", root.RULE, root.RootOptions(()))
    kernel = Node("kernel", root.RULE, root.RootOptions(()))
    system = System((), kernel=kernel, cmdline="quiet\n", target=Target(loaders={"raspberry-pi": loader}))

    (output,) = rpi3.FORMAT.outputs(system).values()

    assert {"arm64": ("raspberry-pi",)} == rpi3.FORMAT.loaders
    assert (loader,) == output.inputs["loader"]
    assert rpi3.Rpi3Options("quiet") == output.options


def test_fixed_files_give_fixed_bytes() -> None:
    content = made({f"{TREE}.dtb": b"tree"})

    assert content == made({f"{TREE}.dtb": b"tree"})
    # The kernel in it is compressed, which other machines may do otherwise.
    del (files := read(content))["kernel.uimg"]
    text = "".join(f"{name} {hashlib.sha256(found).hexdigest()}\n" for name, found in files.items())
    assert (
        "984d0a5881ac062999f45caba69fa96febed2ddf0b5c40b409202f4c91025aa4"
        == hashlib.sha256(text.encode()).hexdigest()
    )
