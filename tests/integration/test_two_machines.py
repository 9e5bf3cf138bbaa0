"""Two machines that have nothing in common but a remote cache: what one has built the other only fetches."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import images
from tests.support.cache_servers import KINDS, CacheServer, cache_server
from tests.support.command import Site, digest_of, executable, small_images
from tests.support.counting_proxy import CountingProxy, counting_proxy
from tests.support.formats import kernel_image
from tests.support.loaders import loader_settings
from tests.support.registry import tool

pytestmark = pytest.mark.integration

FORMATS = ("kernel+initrd", "iso-bios", "raw-efi", "tar", "kernel+squashfs", "qcow2-efi")
# Registries take a dozen requests for what others take in one; what is fetched from them is the same.
FORMATS_OF_OCI = ("kernel+initrd", "tar")
# They hold the files of the layers as they are, nearly all of them: the layers are what is fetched least.
MADE_OF_LAYERS = ("iso-bios", "tar")
# Little enough for a quick test, so much that what is said about it is lost in two of a hundred.
SERVICE_BYTES = 12_000_000
NOBODY = 65534
CONFIG = """\
kernel:
  image: t/kernel:v1
  cmdline: console=ttyS0
init:
  - t/init:v1
  - t/tools:v1
onboot:
  - name: hello
    image: t/hello:v1
services:
  - name: web
    image: t/web:v1
  - name: large
    image: t/large:v1
files:
  - path: etc/note
    contents: first
"""


def large_image() -> images.MadeImage:
    """Content that nobody can compress, half of it in a layer that is needed for little else."""
    chance = random.Random(7)
    return images.image(
        {"bin/large": executable(chance.randbytes(SERVICE_BYTES))},
        {"bin/.wh.gone": b"", "etc/large": b"large"},
        entrypoint=["/bin/large"],
    )


class Build(NamedTuple):
    """Which nodes ran, and digest and size of every output by name."""

    ran: list[str]
    outputs: Mapping[str, tuple[str, int]]


class Machine(Site):
    """A site with a cache where its user has it, and a user, a umask and an environment of its own."""

    def __init__(self, folder: Path, *, is_second: bool) -> None:
        super().__init__(folder, config=CONFIG)
        images.layout(
            folder / "images",
            {**small_images(), "t/kernel:v1": kernel_image("amd64"), "t/large:v1": large_image()},
        )
        del self.environment["KITBUILD_CACHE_DIR"]
        self.local = folder / "home/.cache/kitbuild"
        self.environment["KITBUILD_BOOT_LOADERS"] = loader_settings("amd64")
        self._prefix: list[str] = []
        self._umask = "022"
        if is_second:
            (folder / "another place for what is short-lived").mkdir()
            self.local = folder / "elsewhere/kitbuild"
            self._umask = "077"
            self.environment |= {
                "XDG_CACHE_HOME": str(folder / "elsewhere"),
                "TMPDIR": str(folder / "another place for what is short-lived"),
                "TZ": "Pacific/Auckland",
                "LC_ALL": "C",
                "LANG": "de_DE.ISO-8859-1",
                "PYTHONHASHSEED": "77",
                "USER": "nobody",
                "SOURCE_DATE_EPOCH": "1",
            }
            if os.geteuid() == 0:
                self._prefix = as_nobody(folder)

    def build(self, *arguments: str, formats: str) -> Build:
        """Builds; it must have nothing to complain of."""
        ended = self.run(
            *("build", "--json", "--format", formats, "--size", "64M", *arguments, "linuxkit.yml"),
            shell=f'umask {self._umask}; exec {" ".join(self._prefix)} "$@"',
        )
        assert "" == ended.stderr
        events = [json.loads(line) for line in ended.stdout.splitlines()]
        assert [] == [event for event in events if event["event"] == "warned"]
        written = [self.folder / event["path"] for event in events if event["event"] == "output-written"]
        return Build(
            sorted(event["node"] for event in events if event["event"] == "node-finished"),
            {path.name: (digest_of(path), path.stat().st_size) for path in written},
        )

    def forget(self) -> None:
        """A machine that has never built."""
        shutil.rmtree(self.local, ignore_errors=True)
        for path in self.folder.glob("linuxkit[-.]*"):
            if path.suffix != ".yml":
                path.unlink()

    def disk_bytes(self, names: Iterable[str]) -> int:
        """What outputs take of a disk: zeros, which no cache has to give, are holes."""
        found = [(self.folder / name).stat() for name in names]
        return sum(min(file.st_size, 512 * file.st_blocks) for file in found)

    def has(self, hexdigits: str) -> bool:
        """True if the local cache has this content."""
        return (self.local / "blobs" / hexdigits[:2] / hexdigits[2:]).exists()


def as_nobody(folder: Path) -> list[str]:
    """What runs a command as another user, who may go through the folders of tests and own no more than this one."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    right = "+dac_override"
    user = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    return [tool("setpriv"), *user, "--inh-caps", right, "--ambient-caps", right]


def formats_of(kind: str) -> Sequence[str]:
    return FORMATS_OF_OCI if kind == "oci" else FORMATS


class World:
    """A server, the machine that has built everything and kept it there, and the machine that has nothing."""

    def __init__(self, folder: Path, server: CacheServer, proxy: CountingProxy | None) -> None:
        self.server = server
        self.proxy = proxy
        self.first = Machine(folder / "first", is_second=False)
        self.second = Machine(folder / "a second, with blanks", is_second=True)
        url = server.url(proxy.host if proxy else "")
        self.reading = ["--remote-cache", url]
        self.made: dict[str, Mapping[str, tuple[str, int]]] = {}
        for formats in formats_of(server.kind):
            built = self.first.build(*self.reading, "--remote-cache-write", formats=formats)
            assert built.ran
            self.made[formats] = built.outputs
        layers = [layer for made in (large_image(), *small_images().values()) for layer in made.diff_ids]
        self.layers = [layer.removeprefix("sha256:") for layer in layers]

    def fetched(self) -> int:
        """How many bytes came from the server since it was asked last."""
        assert self.proxy
        down = self.proxy.down
        self.proxy.reset()
        return down


@pytest.fixture(scope="module", params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        server = stack.enter_context(cache_server(request.param, folder / "server"))
        proxy = stack.enter_context(counting_proxy(server.host)) if server.host else None
        yield World(folder, server, proxy)


@pytest.mark.parametrize(
    ("world", "formats"),
    [(kind, formats) for kind in KINDS for formats in formats_of(kind)],
    indirect=["world"],
)
def test_second_machine_builds_nothing_and_fetches_what_it_asks_for(world: World, formats: str) -> None:
    world.second.forget()
    if world.proxy:
        world.proxy.reset()

    built = world.second.build(*world.reading, formats=formats)

    assert [] == built.ran
    assert world.made[formats] == built.outputs
    if world.proxy:
        asked_for = world.second.disk_bytes(world.made[formats])
        assert SERVICE_BYTES < world.fetched() <= 1.02 * asked_for
    if formats not in MADE_OF_LAYERS:
        assert [] == [layer for layer in world.layers if world.second.has(layer)]


def test_second_machine_builds_every_format_at_once(world: World) -> None:
    # The others write files that these write too.
    together = ",".join(name for name in world.made if name not in ("tar", "kernel+squashfs"))
    world.second.forget()

    built = world.second.build(*world.reading, "--require-cached", formats=together)

    made = {name: file for formats in together.split(",") for name, file in world.made[formats].items()}
    assert ([], made) == (built.ran, built.outputs)


def test_after_a_change_the_second_machine_builds_the_difference(world: World) -> None:
    world.second.forget()
    for machine in (world.first, world.second):
        machine.change("linuxkit.yml", "contents: first", "contents: second")
    try:
        by_first = world.first.build("--cache-dir", str(world.first.local), formats="kernel+initrd")
        by_second = world.second.build(*world.reading, formats="kernel+initrd")
    finally:
        for machine in (world.first, world.second):
            machine.change("linuxkit.yml", "contents: second", "contents: first")

    assert 0 < len(by_first.ran) < 8
    assert by_first.ran == by_second.ran
    assert by_first.outputs == by_second.outputs
    assert by_first.outputs != world.made["kernel+initrd"]


def test_a_second_build_of_the_second_machine_asks_nobody(world: World) -> None:
    world.second.forget()
    world.second.build(*world.reading, formats="kernel+initrd")
    if world.proxy:
        world.proxy.reset()

    built = world.second.build(*world.reading, formats="kernel+initrd")

    assert [] == built.ran
    if world.proxy:
        assert (0, 0) == (world.proxy.connections, world.proxy.down)
