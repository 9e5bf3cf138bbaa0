"""Boot loaders: what each consists of, where it comes from unless somebody says otherwise, and the nodes for it.

None is taken from the machine that builds unless it is said so: the packages here are named by their digest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, RuleError, UsageError
from kitbuild.image import Image
from kitbuild.node import Node
from kitbuild.reference import Reference
from kitbuild.rule import NoOptions
from kitbuild.rules.assemble import loader as assemble
from kitbuild.rules.assemble.loader import Wanted
from kitbuild.rules.fetch import file as fetch_file
from kitbuild.rules.fetch import layer as fetch_layer
from kitbuild.rules.fetch import package as fetch_package
from kitbuild.rules.unpack import image as unpack_image
from kitbuild.rules.unpack import layer as unpack_layer
from kitbuild.rules.unpack import package as unpack_package
from kitbuild.suggest import one_of

_SECTION = "boot loaders"
# A folder is searched, since distributions and tarballs spread the files; but not a whole disk.
_MOST_FOLDERS_DEEP = 8
_MOST_ENTRIES = 20_000


class Package(NamedTuple):
    """A Debian package by its path on a mirror; `size` is in bytes, 0 if not known."""

    path: str
    hex: str
    size: int = 0


class Loader(NamedTuple):
    """A boot loader for one architecture: its files, and the packages that have them."""

    files: tuple[Wanted, ...]
    packages: tuple[Package, ...]


def _systemd_boot(architecture: str) -> tuple[Wanted, ...]:
    """Its files for an architecture as EFI abbreviates it."""
    return (
        Wanted("systemd-boot.efi", ("systemd-boot.efi", f"systemd-boot{architecture}.efi")),
        Wanted("linux.efi.stub", ("linux.efi.stub", f"linux{architecture}.efi.stub")),
    )


def _grub(architecture: str) -> tuple[Wanted, ...]:
    # `gcd` is the one with everything in it that looks for grub.cfg on the medium it was started from.
    return (Wanted("grub.efi", ("grub.efi", f"gcd{architecture}.efi", f"boot{architecture}.efi")),)


_SYSLINUX = (
    Wanted("syslinux", ("bin/syslinux", "syslinux")),
    *(Wanted(name, (name,)) for name in ("isolinux.bin", "isohdpfx.bin", "mbr.bin", "altmbr.bin")),
)
_RASPBERRY_PI = (
    Wanted("bootcode.bin", ("bootcode.bin",)),
    Wanted("", ("fixup*.dat",)),
    Wanted("", ("start*.elf",)),
    # Who passes the firmware on has to pass its licence on; Debian keeps that where it keeps all of them.
    Wanted("LICENCE.broadcom", ("LICENCE.broadcom", "doc/raspi-firmware/copyright")),
    Wanted("u-boot.bin", ("rpi_3/u-boot.bin", "u-boot.bin")),
)

# Those of Debian 12.
_GRUB_AMD64 = Package(
    "pool/main/g/grub2/grub-efi-amd64-bin_2.06-13+deb12u2_amd64.deb",
    "c04786d9f64fbf7cd181013266a8af52b463599cc54189915d03f1459e743135",
    1_577_400,
)
_GRUB_ARM64 = Package(
    "pool/main/g/grub2/grub-efi-arm64-bin_2.06-13+deb12u2_arm64.deb",
    "04e469e0221a357bfe0a1f0fc558f08a92edf99ef13c321aa9ea1e04951a2914",
    1_408_104,
)
_FIRMWARE = Package(
    "pool/non-free-firmware/r/raspi-firmware/raspi-firmware_1.20220830+ds-1_all.deb",
    "0094ced47a7fbb6a220ff83e7b43aa637a5d8f6802461e2e4e474597fb796f62",
    4_815_784,
)
_U_BOOT = Package(
    "pool/main/u/u-boot/u-boot-rpi_2023.01+dfsg-2+deb12u3_arm64.deb",
    "3722f286cfafca03f4cac7adade04fccf66158ad8467501b9deabd154162b5e8",
    378_496,
)
_SYSLINUX_AMD64 = Package(
    "pool/main/s/syslinux/syslinux_6.04~git20190206.bf6db5b4+dfsg1-3+b1_amd64.deb",
    "07a34a8b09e19ef44285d45c24aefd1119cf3c1580223cbca0dc58f8dd33ee33",
    202_844,
)
_ISOLINUX = Package(
    "pool/main/s/syslinux/isolinux_6.04~git20190206.bf6db5b4+dfsg1-3_all.deb",
    "cb14af88adc2c3844976cd2de61571d2af94d2fb65c277fe4acf3dc8a5d25aae",
    108_396,
)
_SYSTEMD_BOOT_AMD64 = Package(
    "pool/main/s/systemd/systemd-boot-efi_252.39-1~deb12u2_amd64.deb",
    "8f2b81bdcfafc466882a0cae460272dbf10d8d97c6a3c1c6ea33038c155a2f5e",
    113_136,
)
_SYSTEMD_BOOT_ARM64 = Package(
    "pool/main/s/systemd/systemd-boot-efi_252.39-1~deb12u2_arm64.deb",
    "d75fbbfa90d37d409e7e65f1149afd770bc17daa3f15f49ef651f608fe7e1dbc",
    95_472,
)

# By name and architecture.
LOADERS: Mapping[str, Mapping[str, Loader]] = {
    "grub": {"amd64": Loader(_grub("x64"), (_GRUB_AMD64,)), "arm64": Loader(_grub("aa64"), (_GRUB_ARM64,))},
    "raspberry-pi": {"arm64": Loader(_RASPBERRY_PI, (_FIRMWARE, _U_BOOT))},
    "syslinux": {"amd64": Loader(_SYSLINUX, (_SYSLINUX_AMD64, _ISOLINUX))},
    "systemd-boot": {
        "amd64": Loader(_systemd_boot("x64"), (_SYSTEMD_BOOT_AMD64,)),
        "arm64": Loader(_systemd_boot("aa64"), (_SYSTEMD_BOOT_ARM64,)),
    },
}


class World(NamedTuple):
    """What is asked outside: for the image of a reference, and for the digest of a file.

    An image that was not found may be an answer too, if nobody wants to run its node; else it is raised. With
    `offline` no mirror is asked for a package.
    """

    image: Callable[[Reference], Image | ImageError]
    digest: Callable[[Path], Digest]
    offline: bool = False


def loaders(
    names: Iterable[str], architecture: str, *, sources: Mapping[str, Sequence[str]], world: World
) -> dict[str, Node]:
    """A tree of files for every named boot loader, each from its source or, without one, from the packages above.

    `sources` are as the settings have them. Raises UsageError for a source that names no boot loader, or cannot be
    used.
    """
    for name in sources:
        if name not in LOADERS:
            raise UsageError(
                f"expected the name of a boot loader before `=`, got `{name}`", hint=one_of(name, LOADERS)
            )
    return {
        name: _Lowering(name, LOADERS[name][architecture], world=world).node(sources.get(name, ()))
        for name in dict.fromkeys(names)
    }


class _Lowering:
    """The nodes of one boot loader. Their names begin with its own: a config may name the same image."""

    def __init__(self, name: str, loader: Loader, *, world: World) -> None:
        self._name = name
        self._title = f"boot loader {name}"
        self._loader = loader
        self._world = world
        self._trees: list[Node] = []
        self._files: dict[str, Node] = {}
        self._names: set[str] = set()
        self._hint = f"mend or remove the source of `{name}`: it is a folder, or a file that ends in .deb"

    def node(self, sources: Sequence[str]) -> Node:
        for package in () if sources else self._loader.packages:
            self._trees.append(self._package(package))
        for source in dict.fromkeys(sources):
            self._take(source)
        label = " and ".join(sources or (package.path for package in self._loader.packages))
        options = assemble.LoaderOptions(self._loader.files, tuple(self._files), self._name, label)
        inputs = {"trees": tuple(self._trees), "files": tuple(self._files.values())}
        given = {name: nodes for name, nodes in inputs.items() if nodes}
        return Node(self._title, assemble.RULE, options, given, _SECTION)

    def _take(self, source: str) -> None:
        kind, colon, rest = source.partition(":")
        if kind == "image" and colon:
            self._trees.append(self._image(Reference.parse(rest)))
        elif kind == "package" and colon:
            path, _, digest = rest.rpartition("@sha256:")
            self._trees.append(self._package(Package(path, digest)))
        elif source.endswith(".deb"):
            self._trees.append(self._unpacked(self._file(Path(source), Path(source).name)))
        else:
            self._search(Path(source))

    def _package(self, package: Package) -> Node:
        source = f"package:{package.path}"
        options = fetch_package.PackageOptions(
            package.hex, package.size, source, self._name, self._world.offline
        )
        name = self._unused(package.path.rpartition("/")[2], package.path)
        return self._unpacked(Node(name, fetch_package.RULE, options, section=_SECTION))

    def _unpacked(self, package: Node) -> Node:
        inputs = {"package": (package,)}
        return Node(f"{package.name}: files", unpack_package.RULE, NoOptions(), inputs, _SECTION)

    def _image(self, reference: Reference) -> Node:
        try:
            image, label = self._world.image(reference), str(reference)
        except ImageError as error:
            raise type(error)(f"{self._title}: {error.message}", hint=error.hint) from error
        name = f"{self._title}: image {label}"
        if isinstance(image, ImageError):
            absent = unpack_image.AbsentOptions(label, image.message, image.hint or "")
            return Node(name, unpack_image.ABSENT, absent, section=_SECTION)
        layers = tuple(self._layer(image, number) for number in range(len(image.layers)))
        return Node(name, unpack_image.RULE, unpack_image.ImageOptions(label), {"layers": layers}, _SECTION)

    def _layer(self, image: Image, number: int) -> Node:
        layer = image.layers[number]
        label = f"{image.reference}: layer {number + 1} of {len(image.layers)}"
        name = f"{self._title}: layer {number + 1}"
        options = fetch_layer.LayerOptions(
            layer.diff_id, str(image.reference), image.source, layer.media_type, layer.blob, layer.name
        )
        tar = Node(f"{name}: tar", fetch_layer.RULE, options, section=_SECTION)
        return Node(name, unpack_layer.RULE, unpack_layer.LayerOptions(label), {"tar": (tar,)}, _SECTION)

    def _file(self, path: Path, name: str) -> Node:
        try:
            digest = self._world.digest(path)
        except RuleError as error:
            raise UsageError(f"{self._title}: {error.message}", hint=self._hint) from error
        options = fetch_file.FileOptions(digest.hex, digest.size, str(path))
        return Node(self._unused(name, str(path)), fetch_file.RULE, options, section=_SECTION)

    def _unused(self, short: str, long: str) -> str:
        """The name of a node, long if the short one is taken."""
        name = f"{self._title}: {long if short in self._names else short}"
        self._names.add(short)
        return name

    def _search(self, folder: Path) -> None:
        """Adds the files of a folder that the boot loader may consist of, by their path in it."""
        try:
            paths = [
                path
                for path in _paths_in(folder, self._title)
                if assemble.may_be(path, self._loader.files) and (folder / path).is_file()
            ]
        except OSError as error:
            message = f"{self._title}: cannot read `{error.filename or folder}`: {error.strerror}"
            raise UsageError(message, hint=self._hint) from error
        taken = [path for wanted in self._loader.files for path in assemble.chosen(wanted, paths).values()]
        if not taken and any(path.suffix == ".deb" for path in folder.iterdir()):
            raise UsageError(
                f"{self._title}: expected its files in `{folder}`, got packages",
                hint=f"name them: `--boot-loader {self._name}={folder}/A.deb+{folder}/B.deb`",
            )
        self._files.update((path, self._file(folder / path, path)) for path in dict.fromkeys(taken))


def _paths_in(folder: Path, title: str) -> Iterator[str]:
    """What is in a folder and in those below it but no folder, relative to it; links are not followed."""
    left = [""]
    entries = 0
    while left:
        place = left.pop()
        with os.scandir(folder / place) as found:
            for entry in found:
                entries += 1
                if entries > _MOST_ENTRIES:
                    raise UsageError(
                        f"{title}: expected a folder of at most {_MOST_ENTRIES} files, got more: `{folder}`",
                        hint="name the folder below it that has the files",
                    )
                path = f"{place}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if path.count("/") < _MOST_FOLDERS_DEEP:
                        left.append(f"{path}/")
                else:
                    yield path
