"""ISO images from the nodes that the formats give, and as their rule lays them out."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Slice
from kitbuild.node import Node
from kitbuild.rule import Artifact
from kitbuild.rules.assemble.kernel import CMDLINE, CmdlineOptions
from kitbuild.rules.format import iso, iso_bios, iso_efi, iso_efi_initrd, iso_image, kernel_iso
from kitbuild.rules.format.iso_image import IsoOptions
from kitbuild.system import MTIME, Part, System, Target
from kitbuild.tree import Entry
from tests.support import fat
from tests.support.iso import boot_entries, content, read, read_joliet
from tests.support.kernels import kernel
from tests.support.syslinux import MODULE, syslinux_program
from tests.support.trees import Bench

BENCH = Bench()
KERNEL, INITRD, GRUB = kernel(size=9000), b"initrd" * 5000, b"grub" * 30_000
ISOLINUX, BOOT_CODE = bytes(range(200)) * 20, b"h" * 432
ROOT = [
    Entry("", "directory", 0o755, mtime=MTIME),
    Entry("boot", "directory", 0o755, mtime=MTIME),
    Entry("boot/kernel", "file", 0o644, mtime=MTIME, content=BENCH.slice(KERNEL)),
    Entry("boot/ucode.cpio", "file", 0o644, mtime=MTIME, content=BENCH.slice(b"microcode")),
    Entry("null", "char", 0o666, mtime=MTIME, device=(1, 3)),
]
GOLDEN = {
    "root": "8b496d6e32561871",
    "bios": "547b83b3ebf2659c",
    "efi": "851a8766c2cf2f12",
    "initrd": "e5572cea679d57e0",
    "hybrid": "31db085d92fe253a",
}
FROM_ROOT = IsoOptions("LinuxKit", joliet=True, kernel="boot/kernel", cmdline="quiet root=/dev/sr0")
FROM_INITRD = IsoOptions(
    "ISOIMAGE", paths=("kernel", "initrd.img"), kernel="kernel", initrd="initrd.img", cmdline="quiet"
)


def stored(content: bytes) -> Artifact:
    return BENCH.blob(Extents.whole(BENCH.blob(content).digest).encode())._replace(kind="extents")


def bios(**files: bytes) -> dict[str, Any]:
    given = {"isolinux": ISOLINUX, "syslinux": syslinux_program(), "isohdpfx": BOOT_CODE, **files}
    return {"isolinux": [stored(content) for content in given.values()]}


def efi(program: bytes = GRUB) -> dict[str, Any]:
    return {"grub": stored(program)}


def root(entries: list[Entry] = ROOT) -> dict[str, Any]:
    return {"root": BENCH.put(entries)}


def initrd(kernel: bytes = KERNEL) -> dict[str, Any]:
    return {"files": [stored(kernel), stored(INITRD)]}


def made(options: IsoOptions, **inputs: Any) -> bytes:
    return BENCH.bytes_of(BENCH.run(iso_image.RULE, options, **inputs))


def texts(image: bytes) -> dict[str, bytes]:
    return {path: content(image, found) for path, found in read(image).items() if found.kind == "file"}


def efi_image(image: bytes) -> fat.Volume:
    """The file system that EFI firmware starts."""
    entry = boot_entries(image)[-1]
    start = entry.sector * 2048
    part = image[start : start + entry.sectors * 512]
    return fat.Volume(lambda offset, size: part[offset : offset + size])


def test_root_alone_is_the_tree_with_joliet_and_nothing_else() -> None:
    image = made(IsoOptions("LinuxKit", joliet=True), **root())

    assert {entry.path for entry in ROOT} == set(read(image))
    assert {"", "boot", "boot/kernel", "boot/ucode.cpio"} == set(read_joliet(image))
    assert b"LinuxKit".ljust(32) == image[16 * 2048 + 40 : 16 * 2048 + 72]


def test_bios_iso_has_isolinux_with_its_module_and_config() -> None:
    image = made(FROM_ROOT, **root(), **bios())

    found = texts(image)
    assert MODULE == found["isolinux/ldlinux.c32"]
    assert (
        b"DEFAULT linux\nLABEL linux\n    KERNEL /boot/kernel\n    APPEND quiet root=/dev/sr0\n"
        == found["isolinux/isolinux.cfg"]
    )
    assert (ISOLINUX[:8], ISOLINUX[64:]) == (
        found["isolinux/isolinux.bin"][:8],
        found["isolinux/isolinux.bin"][64:],
    )
    (entry,) = boot_entries(image)
    assert (0, 4, read(image)["isolinux/isolinux.bin"].sector) == entry


def test_bios_iso_is_a_disk_that_knows_where_isolinux_is() -> None:
    image = made(FROM_ROOT._replace(disk="bios"), **root(), **bios())

    sector = read(image)["isolinux/isolinux.bin"].sector
    assert BOOT_CODE + struct.pack("<Q", sector * 4) == image[:440]
    assert 0 == len(image) % (1 << 20)


def test_microcode_is_loaded_before_the_root_is_mounted() -> None:
    options = FROM_ROOT._replace(initrd="boot/ucode.cpio", efi="amd64")

    found = texts(made(options, **root(), **bios(), **efi()))

    assert b"    INITRD /boot/ucode.cpio\n" in found["isolinux/isolinux.cfg"]
    assert b"\tinitrd /boot/ucode.cpio\n" in found["EFI/BOOT/grub.cfg"]


def test_efi_iso_starts_grub_out_of_an_image_that_has_no_name() -> None:
    image = made(FROM_INITRD._replace(efi="amd64"), **initrd(), **efi())

    config = (
        b"set timeout=0\nset gfxpayload=text\nmenuentry 'LinuxKit ISO Image' {\n"
        b"\tlinux /kernel quiet text\n\tinitrd /initrd.img\n}\n"
    )
    assert {
        "kernel": KERNEL,
        "initrd.img": INITRD,
        "EFI/BOOT/grub.cfg": config,
        "boot/grub/grub.cfg": config,
    } == texts(image)
    volume = efi_image(image)
    assert {"EFI/BOOT/BOOTX64.EFI": GRUB} == {path: file.content() for path, file in volume.files.items()}


def test_efi_image_has_the_size_that_linuxkit_gives_it() -> None:
    image = made(FROM_INITRD._replace(efi="amd64"), **initrd(), **efi())

    (entry,) = boot_entries(image)
    assert (0xEF, (len(GRUB) // 1024 + 511) // 32 * 32 * 2) == entry[:2]


def test_efi_image_for_arm64_has_its_own_name() -> None:
    options = FROM_INITRD._replace(efi="arm64")

    volume = efi_image(made(options, **initrd(kernel("arm64")), **efi()))

    assert {"EFI/BOOT/BOOTAA64.EFI"} == set(volume.files)


def test_iso_for_both_is_started_by_both_and_is_a_disk_with_both() -> None:
    image = made(FROM_INITRD._replace(efi="amd64", disk="both"), **initrd(), **efi(), **bios())

    assert [0, 0xEF] == [entry.platform for entry in boot_entries(image)]
    first = boot_entries(image)[1].sector * 4
    assert (first,) == struct.unpack_from("<Q", image, 1024 + 128 + 32)
    assert BOOT_CODE == image[:432]


def test_grub_on_a_disk_finds_the_iso_by_a_file_that_only_this_one_has() -> None:
    options = FROM_INITRD._replace(efi="amd64", disk="both")
    images = [made(options, **initrd(), **efi(program), **bios()) for program in (GRUB, GRUB)]
    images.append(made(options._replace(cmdline="other"), **initrd(), **efi(), **bios()))

    marks = [
        {path for path in texts(image) if path.startswith("boot/grub/") and not path.endswith(".cfg")}
        for image in images
    ]
    assert marks[0] == marks[1] != marks[2]
    (mark,) = marks[0]
    config = f"search --no-floppy --file --set=root /{mark}\nconfigfile /EFI/BOOT/grub.cfg\n".encode()
    volume = efi_image(images[0])
    assert [config] * 2 == [
        volume.files[f"{folder}/grub.cfg"].content() for folder in ("EFI/BOOT", "boot/grub")
    ]


def test_payload_stays_slices_on_four_kib() -> None:
    artifact = BENCH.run(iso_image.RULE, IsoOptions("LinuxKit"), **root())

    with BENCH.work() as work:
        extents = work.extents(artifact)
    position, places = 0, {}
    for part in extents.parts:
        if isinstance(part, Slice):
            places[part.blob] = position
        position += part.size
    content = ROOT[2].content
    assert content is not None
    assert 0 == places[content.blob] % 4096


def test_loaders_replace_what_the_images_had_in_their_place() -> None:
    entries = [*ROOT, Entry("isolinux", "file", 0o600, 5, 5, MTIME, BENCH.slice(b"old"))]

    found = read(made(FROM_ROOT, **root(entries), **bios()))

    assert ("directory", 0) == (found["isolinux"].kind, found["isolinux"].uid)
    assert "isolinux/isolinux.bin" in found


@pytest.mark.parametrize("efi_for", ["", "amd64"])
def test_what_is_named_like_a_loaders_file_stays_without_that_loader(efi_for: str) -> None:
    folder = Entry("isolinux", "directory", 0o755, mtime=MTIME)
    entries = [*ROOT, folder, Entry("isolinux/boot.cat", "file", 0o600, content=BENCH.slice(b"mine"))]
    options = IsoOptions("LinuxKit", kernel="boot/kernel", efi=efi_for)

    assert b"mine" == texts(made(options, **root(entries), **(efi() if efi_for else {})))["isolinux/boot.cat"]


def test_symlink_above_a_loaders_file_is_refused() -> None:
    entries = [*ROOT, Entry("isolinux", "symlink", 0o777, target="boot")]

    with pytest.raises(RuleError, match="expected a directory above `isolinux/isolinux"):
        made(FROM_ROOT, **root(entries), **bios())


def test_kernel_that_grub_cannot_start_is_refused() -> None:
    with pytest.raises(RuleError, match="expected a kernel with an EFI stub for amd64"):
        made(FROM_INITRD._replace(efi="amd64"), **initrd(b"x" * 5000), **efi())


def test_file_that_is_no_loader_is_refused() -> None:
    with pytest.raises(
        RuleError, match="expected a boot loader's file of at most 16777216 bytes, got one of 16777217"
    ):
        made(FROM_ROOT, **root(), **bios(isolinux=bytes((16 << 20) + 1)))


def test_images_are_what_they_were() -> None:
    images = {
        "root": made(IsoOptions("LinuxKit", joliet=True), **root()),
        "bios": made(FROM_ROOT._replace(disk="bios"), **root(), **bios()),
        "efi": made(FROM_ROOT._replace(joliet=False, efi="amd64"), **root(), **efi()),
        "initrd": made(FROM_INITRD._replace(efi="amd64"), **initrd(), **efi()),
        "hybrid": made(FROM_INITRD._replace(efi="amd64", disk="both"), **initrd(), **efi(), **bios()),
    }

    assert GOLDEN == {name: hashlib.sha256(image).hexdigest()[:16] for name, image in images.items()}


def system(architecture: str = "amd64", *, microcode: bool = False, cmdline: str = "quiet\n") -> System:
    tree = Node("tree", CMDLINE, CmdlineOptions("x"))
    target = Target(architecture=architecture, loaders={"syslinux": tree, "grub": tree})
    part = Part("kernel", tree, "s", "kernel")
    return System((part,), kernel=tree, microcode=microcode, cmdline=cmdline, target=target)


@pytest.mark.parametrize(
    ("output_format", "names"),
    [
        (kernel_iso.FORMAT, {"-kernel", "-cmdline", ".iso"}),
        (iso_bios.FORMAT, {".iso"}),
        (iso_efi.FORMAT, {"-efi.iso"}),
        (iso_efi_initrd.FORMAT, {"-efi-initrd.iso"}),
        (iso.FORMAT, {"-hybrid.iso"}),
    ],
)
def test_formats_have_the_files_of_linuxkit(output_format: Any, names: set[str]) -> None:
    assert names == set(output_format.outputs(system()))


@pytest.mark.parametrize(
    ("architecture", "cmdline", "bios_cmdline", "efi_cmdline"),
    [
        ("amd64", "quiet\n", "quiet root=/dev/sr0", "quiet root=/dev/sr0"),
        ("amd64", "root=/dev/vda\n", "root=/dev/vda", "root=/dev/vda"),
        ("arm64", "quiet", "quiet root=/dev/sr0", "quiet root=/dev/vda"),
        ("amd64", "", "root=/dev/sr0", "root=/dev/sr0"),
    ],
)
def test_root_on_the_iso_is_said_unless_the_config_says_it(
    architecture: str, cmdline: str, bios_cmdline: str, efi_cmdline: str
) -> None:
    made = system(architecture, cmdline=cmdline)

    nodes = [iso_image.root_iso(made, efi=False), iso_image.root_iso(made, efi=True)]

    assert [bios_cmdline, efi_cmdline] == [node.options.cmdline for node in nodes]


def test_isos_of_the_root_load_microcode_if_there_is_any() -> None:
    nodes = [iso_image.root_iso(system(microcode=microcode), efi=True) for microcode in (False, True)]

    assert ["", "boot/ucode.cpio"] == [node.options.initrd for node in nodes]


def test_iso_for_arm64_is_for_efi_alone() -> None:
    node = iso.FORMAT.outputs(system("arm64"))["-hybrid.iso"]

    assert ("isolinux" in node.inputs, "arm64") == (False, node.options.efi)


def test_key_names_the_version_of_pycdlib() -> None:
    from importlib.metadata import version

    assert {"pycdlib": f"pycdlib-{version('pycdlib')}"} == iso_image.RULE.tools(FROM_ROOT)
