"""Boot loaders: what is known of them, and the nodes that bring them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kitbuild.config import loaders as module
from kitbuild.config.loaders import LOADERS, World, loaders
from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError, RuleError, UsageError
from kitbuild.graph import Graph
from kitbuild.image import Image, ImageConfig, Layer, Platform
from kitbuild.local_file import local_file
from kitbuild.node import Node
from kitbuild.reference import Reference
from kitbuild.tree import is_inside
from tests.support.trees import Bench
from tests.support.work import MemoryNotes

REFERENCE = Reference.parse("t/grub:v1")
HEX = "0123456789abcdef" * 4


def image(reference: Reference) -> Image:
    layers = (Layer(HEX, "a layer"), Layer(HEX[::-1], "a layer"))
    return Image(reference, "layout:/images", Platform("linux", "amd64"), layers, ImageConfig())


def no_image(reference: Reference) -> ImageError:
    return ImageNotFoundError(f"{reference} is nowhere", hint="look again")


def digest(path: Path) -> Digest:
    return local_file(path, MemoryNotes())


WORLD = World(image, digest)


def lowered(*sources: str, name: str = "grub", world: World = WORLD) -> Node:
    return loaders([name], "amd64", sources={name: sources} if sources else {}, world=world)[name]


def names(node: Node) -> list[str]:
    return [one.name for one in Graph.of({"": node})]


def refused(*sources: str, name: str = "grub", world: World = WORLD) -> UsageError:
    with pytest.raises(UsageError) as raised:
        lowered(*sources, name=name, world=world)
    return raised.value


@pytest.mark.parametrize(
    ("name", "architecture"), [(name, one) for name, known in LOADERS.items() for one in known]
)
def test_packages_are_pinned_by_path_digest_and_size(name: str, architecture: str) -> None:
    packages = LOADERS[name][architecture].packages

    assert packages
    for package in packages:
        assert is_inside(package.path)
        assert package.path.startswith("pool/")
        assert package.path.endswith((f"_{architecture}.deb", "_all.deb"))
        assert Digest.parse(package.hex, package.size).size > 0


def test_boot_loaders_have_the_files_that_formats_ask_for() -> None:
    files = {
        name: {wanted.name or wanted.candidates[0] for wanted in known["amd64"].files}
        for name, known in LOADERS.items()
        if "amd64" in known
    }

    assert files == {
        "grub": {"grub.efi"},
        "syslinux": {"syslinux", "isolinux.bin", "isohdpfx.bin", "mbr.bin", "altmbr.bin"},
        "systemd-boot": {"systemd-boot.efi", "linux.efi.stub"},
    }
    assert {"bootcode.bin", "fixup*.dat", "start*.elf", "LICENCE.broadcom", "u-boot.bin"} == {
        wanted.name or wanted.candidates[0] for wanted in LOADERS["raspberry-pi"]["arm64"].files
    }


def test_without_a_source_the_packages_are_fetched() -> None:
    node = lowered(name="syslinux")

    assert names(node) == [
        "boot loader syslinux: syslinux_6.04~git20190206.bf6db5b4+dfsg1-3+b1_amd64.deb",
        "boot loader syslinux: syslinux_6.04~git20190206.bf6db5b4+dfsg1-3+b1_amd64.deb: files",
        "boot loader syslinux: isolinux_6.04~git20190206.bf6db5b4+dfsg1-3_all.deb",
        "boot loader syslinux: isolinux_6.04~git20190206.bf6db5b4+dfsg1-3_all.deb: files",
        "boot loader syslinux",
    ]
    assert {one.section for one in Graph.of({"": node})} == {"boot loaders"}


@pytest.mark.parametrize("offline", [False, True])
def test_packages_know_whether_mirrors_may_be_asked(offline: bool) -> None:
    fetched = Graph.of({"": lowered(world=World(image, digest, offline))}).nodes[0]

    assert fetched.options.offline is offline
    assert fetched.options.loader == "grub"


def test_package_of_the_users_choice_takes_the_place_of_the_default() -> None:
    fetched, *_ = Graph.of({"": lowered(f"package:pool/x/g+1.deb@sha256:{HEX}")})

    assert fetched.name == "boot loader grub: g+1.deb"
    assert fetched.options[:3] == (HEX, 0, "package:pool/x/g+1.deb")


def test_packages_of_one_name_are_two_nodes() -> None:
    node = lowered(f"package:a/g.deb@sha256:{HEX}", f"package:b/g.deb@sha256:{HEX[::-1]}")

    assert [name for name in names(node) if name.endswith(".deb")] == [
        "boot loader grub: g.deb",
        "boot loader grub: b/g.deb",
    ]


def test_image_is_fetched_layer_by_layer() -> None:
    assert names(lowered(f"image:{REFERENCE}")) == [
        "boot loader grub: layer 1: tar",
        "boot loader grub: layer 1",
        "boot loader grub: layer 2: tar",
        "boot loader grub: layer 2",
        "boot loader grub: image docker.io/t/grub:v1",
        "boot loader grub",
    ]


def test_image_that_was_not_found_is_a_node_that_cannot_run() -> None:
    absent, _ = Graph.of({"": lowered(f"image:{REFERENCE}", world=World(no_image, digest))})

    assert absent.rule.name == "unpack/absent"
    assert absent.options == ("docker.io/t/grub:v1", "docker.io/t/grub:v1 is nowhere", "look again")


def test_image_that_was_not_found_is_an_error_where_it_would_be_needed() -> None:
    def nowhere(reference: Reference) -> ImageError:
        raise no_image(reference)

    with pytest.raises(ImageNotFoundError) as raised:
        lowered(f"image:{REFERENCE}", world=World(nowhere, digest))

    assert raised.value.message == "boot loader grub: docker.io/t/grub:v1 is nowhere"
    assert raised.value.hint == "look again"


def test_boot_loaders_share_no_names_of_nodes() -> None:
    sources = {name: (f"image:{REFERENCE}",) for name in ("grub", "systemd-boot")}

    assert len(Graph.of(loaders(["grub", "systemd-boot"], "amd64", sources=sources, world=WORLD))) == 12


def test_of_a_folder_only_the_files_wanted_are_taken(tmp_path: Path) -> None:
    for path in ("deep/down/gcdx64.efi", "gcdx64.efi", "grubx64.efi", "secret"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())

    node = lowered(str(tmp_path))

    assert names(node) == ["boot loader grub: gcdx64.efi", "boot loader grub"]
    assert node.options.paths == ("gcdx64.efi",)
    (fetched,) = node.inputs["files"]
    assert fetched.options == (*Digest.of(b"gcdx64.efi"), str(tmp_path / "gcdx64.efi"))


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "any").write_bytes(b"grub")
    (tmp_path / "elsewhere" / "bootx64.efi").write_bytes(b"grub")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "grub.efi").symlink_to("../elsewhere/any")
    (folder / "below").symlink_to("../elsewhere")
    (folder / "loop").symlink_to("loop")

    assert lowered(str(folder)).options.paths == ("grub.efi",)


def test_files_of_packages_and_folders_come_together(tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(b"!<arch>\n")
    (tmp_path / "grub.efi").write_bytes(b"grub")

    assert names(lowered(str(tmp_path / "a.deb"), str(tmp_path))) == [
        "boot loader grub: grub.efi",
        "boot loader grub: a.deb",
        "boot loader grub: a.deb: files",
        "boot loader grub",
    ]


def test_folder_without_the_files_fails_when_it_is_used_naming_it(tmp_path: Path) -> None:
    bench = Bench()
    node = lowered(str(tmp_path))

    with pytest.raises(RuleError, match=f"expected a file `grub.efi` or .* in {tmp_path}, got none"):
        bench.run(node.rule, node.options)


def test_unknown_boot_loader_is_refused_even_if_no_format_wants_one() -> None:
    with pytest.raises(UsageError) as raised:
        loaders([], "riscv64", sources={"gruv": ("/x",)}, world=WORLD)

    assert raised.value.message == "expected the name of a boot loader before `=`, got `gruv`"
    assert raised.value.hint == "did you mean `grub`?"


def _file(folder: Path) -> str:
    (folder / "file").touch()
    return str(folder / "file")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda folder: str(folder / "none"), "cannot read `{}/none`: No such file or directory"),
        (_file, "cannot read `{}/file`: Not a directory"),
        (lambda folder: str(folder / "none.deb"), "cannot read `{}/none.deb`: No such file or directory"),
    ],
)
def test_source_that_cannot_be_read_is_refused(
    tmp_path: Path, source: Callable[[Path], str], message: str
) -> None:
    error = refused(source(tmp_path))

    assert error.message == f"boot loader grub: {message.format(tmp_path)}"
    assert error.hint == "mend or remove the source of `grub`: it is a folder, or a file that ends in .deb"


def test_whole_disks_are_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ENTRIES", 3)
    for number in range(4):
        (tmp_path / str(number)).touch()

    error = refused(str(tmp_path))

    assert error.message == f"boot loader grub: expected a folder of at most 3 files, got more: `{tmp_path}`"
    assert error.hint == "name the folder below it that has the files"


def test_folder_of_packages_is_told_how_to_name_them(tmp_path: Path) -> None:
    (tmp_path / "grub.deb").write_bytes(b"!<arch>\n")

    error = refused(str(tmp_path))

    assert f"boot loader grub: expected its files in `{tmp_path}`, got packages" == error.message
    assert error.hint is not None
    assert "--boot-loader grub=" in error.hint


def test_folders_are_searched_to_a_certain_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_FOLDERS_DEEP", 1)
    for path in ("one/grub.efi", "one/two/bootx64.efi"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()

    assert lowered(str(tmp_path)).options.paths == ("one/grub.efi",)
    (tmp_path / "one/grub.efi").unlink()
    assert lowered(str(tmp_path)).options.paths == ()
