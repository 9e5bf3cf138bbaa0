"""ISO images: a root file system or kernel and initrd, and the boot loaders that find them there.

For BIOS the firmware starts ISOLINUX, for EFI a GRUB in a small FAT image without a name in the ISO; both read their
config and everything else from the ISO.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kitbuild.draft import Draft
from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Slice, Zeros
from kitbuild.extents import Literal as Bytes
from kitbuild.node import Node
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format import boot
from kitbuild.rules.format.reading import head, loader_content
from kitbuild.rules.layout import boot_config, efi_kernel, fat, iso9660, isohybrid, syslinux
from kitbuild.system import MTIME, System
from kitbuild.tree import Entry, Tree

_EFI_IMAGE = "EFI/BOOT/boot.img"
_ISOLINUX, _ISOLINUX_MODULE = "isolinux/isolinux.bin", "isolinux/ldlinux.c32"
_ISOLINUX_CONFIG, _ISOLINUX_CATALOG = "isolinux/isolinux.cfg", "isolinux/boot.cat"
# Sectors that BIOS loads of ISOLINUX, which loads the rest itself.
_ISOLINUX_SECTORS = 4
_KIBIBYTE = 1024

Disk = Literal["", "bios", "both"]


class IsoOptions(NamedTuple):
    """`paths` are where the `files` go, in their order.

    `kernel` and `initrd` are the paths from which the loaders start the system, none if the kernel is empty. `efi`
    is the architecture whose firmware starts it. `disk`: what partition tables make it a disk too.
    """

    label: str
    joliet: bool = False
    paths: tuple[str, ...] = ()
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    efi: str = ""
    disk: Disk = ""


class _Image:
    """An ISO in the making: its entries, the contents that are not in them, its boot entries."""

    def __init__(self, tree: Tree) -> None:
        self.draft = Draft(tree)
        self.contents: dict[str, Extents] = {}
        self.boots: list[iso9660.Boot] = []

    def put(self, path: str, content: Extents) -> None:
        """Adds a file, in place of whatever has its path."""
        if self.draft.put(Entry(path, "file", 0o644, mtime=MTIME)) != path:
            raise RuleError(
                f"expected a directory above `{path}`, got a symlink in the root file system",
                hint="remove the symlink from the image, or choose a format with an initrd",
            )
        self.contents[path] = content


def run(work: Work[IsoOptions]) -> Extents:
    """The ISO: its metadata in one blob, everything else slices that start at multiples of 4 KiB."""
    options = work.options
    roots = work.artifacts("root")
    image = _Image(work.tree(roots[0]) if roots else Tree.of([]))
    for path, file in zip(options.paths, work.artifacts("files"), strict=True):
        image.put(path, work.extents(file))
    if work.artifacts("isolinux"):
        _add_isolinux(image, work)
    if options.efi:
        _add_grub(image, work)
    image.draft.fill(lambda path: Entry(path, "directory", 0o755, mtime=MTIME))
    tree = image.draft.tree()
    if options.efi:
        efi_kernel.check_for_grub(_head(tree, image.contents, work), options.efi)
    volume = iso9660.volume(
        tree,
        image.contents,
        label=options.label,
        joliet=options.joliet,
        boots=tuple(image.boots),
        catalog=_ISOLINUX_CATALOG if work.artifacts("isolinux") else "",
    )
    return _as_disk(_stored(volume, work), volume, work)


def _add_isolinux(image: _Image, work: Work[IsoOptions]) -> None:
    options = work.options
    program, installer, _ = (loader_content(work.extents(file), work) for file in work.artifacts("isolinux"))
    config = boot_config.syslinux(
        kernel=f"/{options.kernel}",
        cmdline=options.cmdline,
        initrd=f"/{options.initrd}" if options.initrd else "",
    )
    files = {
        _ISOLINUX: program,
        _ISOLINUX_MODULE: syslinux.loader(installer).module,
        _ISOLINUX_CONFIG: config,
        _ISOLINUX_CATALOG: b"",
    }
    for path, content in files.items():
        image.put(path, Extents.of([Bytes(content)]))
    image.boots.append(iso9660.Boot(_ISOLINUX, _ISOLINUX_SECTORS, has_table=True))


def _add_grub(image: _Image, work: Work[IsoOptions]) -> None:
    options = work.options
    config = boot_config.grub(
        kernel=f"/{options.kernel}",
        cmdline=options.cmdline,
        initrd=f"/{options.initrd}" if options.initrd else "",
    )
    for path in boot_config.GRUB_CONFIGS:
        image.put(path, Extents.of([Bytes(config)]))
    mark = ""
    if options.disk:
        mark = f"boot/grub/{_identity(image, config)}"
        image.put(mark, Extents.of([]))
    fat_image = _efi_image(work.extents(work.artifact("grub")), options.efi, mark)
    image.put(_EFI_IMAGE, fat_image)
    sectors = fat_image.size // 512
    # 16 bits; more than they can say is all there are.
    sectors = sectors if sectors <= 0xFFFF else 0
    image.boots.append(iso9660.Boot(_EFI_IMAGE, sectors, is_efi=True, is_hidden=True))


def _identity(image: _Image, config: bytes) -> str:
    """What this ISO is told apart by from others in the same machine."""
    everything = [part for content in image.contents.values() for part in content.parts]
    return Extents.of([*everything, Bytes(config)]).identity("mark").hex()[:32]


def _efi_image(program: Extents, architecture: str, mark: str) -> Extents:
    """A FAT file system with GRUB, of the size that LinuxKit gives it.

    GRUB knows the CD that it was started from. On a disk it knows its partition alone, and looks for the file `mark`.
    """
    files = {boot_config.EFI_PROGRAMS[architecture]: program}
    if mark:
        lines = f"search --no-floppy --file --set=root /{mark}\nconfigfile /{boot_config.GRUB_CONFIGS[0]}\n"
        files |= dict.fromkeys(boot_config.GRUB_CONFIGS, Extents.of([Bytes(lines.encode("ascii"))]))
    least = fat.size_for({path: content.size for path, content in files.items()})
    size = (program.size // _KIBIBYTE + 511) // 32 * 32 * _KIBIBYTE
    return fat.file_system(files, size=max(size, least)).extents


def _stored(volume: iso9660.Volume, work: Work[IsoOptions]) -> Extents:
    with work.writer() as writer:
        writer.write(volume.metadata)
        blob = writer.commit()
    parts: list[Slice | Zeros | Bytes] = [Slice(blob, 0, blob.size)]
    position = blob.size
    for place, content in volume.contents:
        parts += [Zeros(place - position), *content.parts]
        position = place + content.size
    return Extents.of([*parts, Zeros(volume.size - position)])


def _as_disk(iso: Extents, volume: iso9660.Volume, work: Work[IsoOptions]) -> Extents:
    if not work.options.disk:
        return iso
    isolinux = work.artifacts("isolinux")
    boot_code = loader_content(work.extents(isolinux[-1]), work) if isolinux else b""
    place = volume.places[_ISOLINUX] if isolinux else 0
    if work.options.disk == "bios":
        return isohybrid.bios(iso, boot_code=boot_code, place=place)
    start = volume.places[_EFI_IMAGE]
    length = dict(volume.contents)[start].size
    return isohybrid.both(iso, efi=(start, length), boot_code=boot_code, place=place)


def _head(tree: Tree, contents: Mapping[str, Extents], work: Work[IsoOptions]) -> bytes:
    """The first bytes of the kernel, wherever it came from."""
    path = work.options.kernel
    slices = [entry.content for entry in tree if entry.path == path and entry.content]
    content = contents[path] if path in contents else Extents.of(slices)
    return head(content, efi_kernel.HEAD_BYTES, work)


def _tools(_options: Any) -> Mapping[str, str]:
    """The version of pycdlib, without the tenth of a second that its import takes."""
    from importlib.util import find_spec

    spec = find_spec("pycdlib")
    assert spec is not None and spec.origin is not None
    found = [path.stem for path in Path(spec.origin).parent.parent.glob("pycdlib-*.dist-info")]
    if len(found) == 1:
        return {"pycdlib": found[0]}
    from importlib.metadata import version

    return {"pycdlib": f"pycdlib-{version('pycdlib')}"}


RULE: Rule[Any] = Rule(
    name="format/iso",
    version=1,
    summary="lay out an ISO image",
    options=IsoOptions,
    inputs={
        "root": Input("tree", optional=True),
        "files": Input("extents", many=True),
        # isolinux.bin, the installer that ldlinux.c32 is taken from, isohdpfx.bin.
        "isolinux": Input("extents", many=True),
        "grub": Input("extents", optional=True),
    },
    output="extents",
    run=run,
    tools=_tools,
)


def plain_iso(system: System) -> Node:
    """The root file system alone, for a kernel that is started without the ISO."""
    options = IsoOptions("LinuxKit", joliet=True)
    return _node(system, "ISO", options, {"root": (boot.root(system, with_boot=False),)})


def root_iso(system: System, *, efi: bool) -> Node:
    """An ISO that is the root file system, with the loader for BIOS or EFI."""
    device = "/dev/vda" if efi and system.target.architecture == "arm64" else "/dev/sr0"
    cmdline = boot.cmdline(system)
    if "root=" not in cmdline:
        cmdline = f"{cmdline} root={device}".lstrip()
    options = IsoOptions(
        "ISOIMAGE" if efi else "LinuxKit",
        joliet=not efi,
        kernel="boot/kernel",
        initrd="boot/ucode.cpio" if system.microcode else "",
        cmdline=cmdline,
        efi=system.target.architecture if efi else "",
        disk="" if efi else "bios",
    )
    inputs = {"root": (boot.root(system, with_boot=True),)}
    return _node(system, "EFI root ISO" if efi else "BIOS root ISO", options, inputs)


def initrd_iso(system: System, *, disk: Disk = "") -> Node:
    """An ISO with kernel and initrd for EFI, or for `both` kinds of firmware, on a CD and on a disk."""
    options = IsoOptions(
        "ISOIMAGE",
        paths=("kernel", "initrd.img"),
        kernel="kernel",
        initrd="initrd.img",
        cmdline=boot.cmdline(system),
        efi=system.target.architecture,
        disk=disk,
    )
    inputs = {"files": (boot.kernel(system), boot.initrd_with_microcode(system))}
    return _node(system, "hybrid ISO" if disk else "EFI initrd ISO", options, inputs)


def _node(system: System, name: str, options: IsoOptions, inputs: Mapping[str, Iterable[Node]]) -> Node:
    given = {key: tuple(nodes) for key, nodes in inputs.items()}
    if options.disk and system.target.architecture == "amd64":
        files = ("isolinux.bin", "syslinux", "isohdpfx.bin")
        given["isolinux"] = tuple(boot.loader_file(system, "syslinux", file) for file in files)
    if options.efi:
        given["grub"] = (boot.loader_file(system, "grub", "grub.efi"),)
    return system.once(name, lambda: Node(name, RULE, options, given))
