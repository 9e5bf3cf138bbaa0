"""Boot loaders as real packages, images and folders bring them."""

from __future__ import annotations

import os
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import pytest

from kitbuild.cache.directory import DirectoryStore, open_directory
from kitbuild.config.loaders import LOADERS, World, loaders
from kitbuild.digest import Digest
from kitbuild.engine import build
from kitbuild.errors import BuildError, MissingBlobError
from kitbuild.event import Event, NodeStarted
from kitbuild.graph import Graph
from kitbuild.image import Platform
from kitbuild.local_file import local_file
from kitbuild.resolve import Resolver
from kitbuild.rules.fetch import open_source
from kitbuild.tree import Tree
from kitbuild.work import StoreWork
from tests.support import images
from tests.support.command import Site

pytestmark = pytest.mark.integration

KNOWN = [
    pytest.param(name, architecture, id=f"{name} {architecture}")
    for name, known in LOADERS.items()
    for architecture in known
]


def _lacking() -> str:
    """What this machine lacks to fetch packages of Debian 12, nothing if it can."""
    try:
        release = Path("/etc/os-release").read_text()
    except OSError:
        release = ""
    if "VERSION_CODENAME=bookworm" not in release:
        return "mirrors of another system than Debian 12"
    return "" if Path("/usr/lib/apt/apt-helper").exists() else "no apt"


@pytest.fixture(scope="module", autouse=True)
def _debian() -> None:
    if lacking := _lacking():
        if os.environ.get("KITBUILD_NO_SKIP") == "1":
            pytest.fail(lacking)
        pytest.skip(lacking)


class Lab(NamedTuple):
    """A cache to bring boot loaders into."""

    store: DirectoryStore

    def tree(self, name: str, architecture: str, *sources: str, world: World | None = None) -> Tree:
        """A boot loader as the formats get it."""
        return self.built(name, architecture, *sources, world=world)[0]

    def built(
        self, name: str, architecture: str, *sources: str, world: World | None = None
    ) -> tuple[Tree, list[str]]:
        """The same, and the names of the rules that ran for it."""
        given = {name: sources} if sources else {}
        graph = Graph.of(
            loaders([name], architecture, sources=given, world=world or self.world(offline=False))
        )
        ran: list[str] = []

        def report(event: Event) -> None:
            if isinstance(event, NodeStarted):
                ran.append(event.node.rule.name)

        result = build(graph, self.store, report=report)[name]
        with StoreWork(options=None, inputs={}, store=self.store) as work:
            return work.tree(result.artifact), ran

    def world(self, *, offline: bool, layout: Path | None = None) -> World:
        """What lies outside: perhaps an image layout."""
        sources = [f"layout:{layout}"] if layout else []
        resolver = Resolver(sources, self.store, open_source=open_source, offline=True)
        platform = Platform("linux", "amd64")
        return World(
            lambda reference: resolver.images([reference], platform)[reference],
            lambda path: local_file(path, self.store),
            offline,
        )

    def contents(self, tree: Tree) -> dict[str, bytes]:
        """The files of a tree."""
        with StoreWork(options=None, inputs={}, store=self.store) as work:
            return {entry.path: work.read(entry.content) for entry in tree if entry.content}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """One cache for all tests, so that no package is fetched twice."""
    return Lab(open_directory(tmp_path_factory.mktemp("lab") / "cache"))


@pytest.fixture
def empty(tmp_path: Path) -> Lab:
    """A cache with nothing in it."""
    return Lab(open_directory(tmp_path / "cache"))


def packages_of(lab: Lab, name: str, folder: Path) -> list[Path]:
    """The default packages of a boot loader as files of the user's."""
    lab.tree(name, "amd64")
    written = []
    for package in LOADERS[name]["amd64"].packages:
        path = folder / package.path.rpartition("/")[2]
        path.write_bytes(lab.store.path(Digest(package.hex, package.size)).read_bytes())
        written.append(path)
    return written


def failure_of(lab: Lab, name: str, *sources: str, world: World | None = None) -> tuple[str, str]:
    """What a build that cannot bring a boot loader says: message and hint."""
    with pytest.raises(BuildError) as raised:
        lab.tree(name, "amd64", *sources, world=world)
    ((_, error),) = raised.value.failures
    return error.message, error.hint or ""


@pytest.mark.parametrize(("name", "architecture"), KNOWN)
def test_pinned_packages_are_on_the_mirrors_and_have_all_files(
    lab: Lab, name: str, architecture: str
) -> None:
    contents = lab.contents(lab.tree(name, architecture))

    wanted = {file.name for file in LOADERS[name][architecture].files if file.name}
    assert wanted <= set(contents)
    for file, content in contents.items():
        if file.endswith((".efi", ".stub")):
            assert content.startswith(b"MZ")
    if name == "syslinux":
        assert contents["syslinux"].startswith(b"\x7fELF")
        assert len(contents["mbr.bin"]) <= 440 >= len(contents["altmbr.bin"])
    if name == "raspberry-pi":
        assert {"start.elf", "start4.elf", "fixup.dat", "fixup4.dat"} < set(contents)
        assert b"Broadcom" in contents["LICENCE.broadcom"]


@pytest.mark.parametrize(("name", "architecture"), KNOWN)
def test_what_was_fetched_once_is_there_offline(lab: Lab, name: str, architecture: str) -> None:
    lab.tree(name, architecture)

    _, ran = lab.built(name, architecture, world=lab.world(offline=True))

    assert ran == []


def test_packages_are_those_that_dpkg_unpacks(lab: Lab, tmp_path: Path) -> None:
    contents = lab.contents(lab.tree("systemd-boot", "amd64"))
    (package,) = packages_of(lab, "systemd-boot", tmp_path)

    archive = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True).stdout

    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        stub = tar.extractfile("./usr/lib/systemd/boot/efi/linuxx64.efi.stub")
        assert stub is not None
        assert contents["linux.efi.stub"] == stub.read()


def test_mirrors_are_known_where_their_lists_are_not(
    empty: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "apt.conf").write_text(f'Dir::State::lists "{tmp_path}/lists";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))

    assert len(empty.tree("syslinux", "amd64")) == 5


def test_package_with_another_digest_is_refused_and_nothing_is_kept(empty: Lab) -> None:
    (package,) = LOADERS["systemd-boot"]["amd64"].packages
    wrong = "0" * 64

    message, hint = failure_of(empty, "systemd-boot", f"package:{package.path}@sha256:{wrong}")

    assert message.startswith(
        f"no mirror of this machine gave {package.path}: `/usr/lib/apt/apt-helper` failed"
    )
    assert "`--boot-loader systemd-boot=FOLDER`" in hint
    with pytest.raises(MissingBlobError):
        empty.store.path(Digest(package.hex, package.size))


def test_offline_a_package_that_was_never_fetched_is_told(empty: Lab) -> None:
    message, hint = failure_of(empty, "systemd-boot", world=empty.world(offline=True))

    assert message == "the package is not in the cache, and mirrors are not asked offline"
    assert hint.startswith("build once without `--offline`, or give the boot loader with ")


def test_pinned_package_of_the_user_is_the_default_if_it_is_the_same(lab: Lab) -> None:
    packages = LOADERS["syslinux"]["amd64"].packages
    sources = [f"package:{package.path}@sha256:{package.hex}" for package in packages]
    default = lab.tree("syslinux", "amd64")

    tree, ran = lab.built("syslinux", "amd64", *sources)

    assert tree == default
    assert ran == []


def test_packages_folders_and_images_with_the_same_files_give_the_same(lab: Lab, tmp_path: Path) -> None:
    expected = lab.tree("syslinux", "amd64")
    contents = lab.contents(expected)
    folder = tmp_path / "usr/lib/any"
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    layout = tmp_path / "images"
    layer = {f"usr/share/{name}": images.file(content, mode=0o755) for name, content in contents.items()}
    images.layout(layout, {"t/syslinux:v1": images.image(layer)})
    (tmp_path / "debs").mkdir()
    packages = [str(path) for path in packages_of(lab, "syslinux", tmp_path / "debs")]

    assert expected == lab.tree("syslinux", "amd64", str(tmp_path / "usr"))
    assert expected == lab.tree("syslinux", "amd64", *packages)
    assert expected == lab.tree(
        "syslinux", "amd64", "image:t/syslinux:v1", world=lab.world(offline=True, layout=layout)
    )


def test_changed_file_of_a_folder_changes_the_boot_loader(empty: Lab, tmp_path: Path) -> None:
    (tmp_path / "grub.efi").write_bytes(b"MZ one")
    before = empty.contents(empty.tree("grub", "amd64", str(tmp_path)))

    (tmp_path / "grub.efi").write_bytes(b"MZ another")

    assert before == {"grub.efi": b"MZ one"}
    assert {"grub.efi": b"MZ another"} == empty.contents(empty.tree("grub", "amd64", str(tmp_path)))


def test_settings_reach_the_graph(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("vendor/grub/gcdx64.efi", b"MZ")
    site.write("kitbuild.toml", 'boot-loaders = ["systemd-boot=vendor/grub", "grub=vendor/grub"]\n')
    site.write("vendor/grub/systemd-bootx64.efi", b"MZ")
    site.write("vendor/grub/linuxx64.efi.stub", b"MZ")

    shown = site.run("graph", "--image-format", "uki", "--arch", "amd64", "linuxkit.yml").stdout.decode()

    assert "boot loader systemd-boot: linuxx64.efi.stub" in shown
    assert ".deb" not in shown
    assert "boot loader grub" not in shown


def test_image_of_a_boot_loader_may_be_missing_in_a_graph_but_not_in_a_build(tmp_path: Path) -> None:
    site = Site(tmp_path)
    command = [
        "--arch",
        "amd64",
        "--offline",
        "--boot-loader",
        "systemd-boot=image:t/none:v1",
        "linuxkit.yml",
    ]

    shown = site.run("graph", "--image-format", "uki", *command).stdout.decode()
    failed = site.run("build", "--format", "uki", *command, status=1)

    assert "boot loader systemd-boot: image docker.io/t/none:v1" in shown
    assert failed.lines[0] == (
        "error: boot loader systemd-boot: docker.io/t/none:v1 is in none of the given sources, "
        "and registries are not asked offline"
    )


def test_misspelt_boot_loader_is_told_before_anything_runs(tmp_path: Path) -> None:
    site = Site(tmp_path)

    failed = site.run("build", "--boot-loader", "sislinux=/x", "linuxkit.yml", status=2)

    assert failed.lines == [
        "error: expected the name of a boot loader before `=`, got `sislinux`",
        "hint: did you mean `syslinux`?",
    ]
