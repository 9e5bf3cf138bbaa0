"""Whole configs: what their parts hold, and what all of them together unpack to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from kitbuild.config.lower import lower, references_of
from kitbuild.config.nodes import Sources
from kitbuild.digest import Digest
from kitbuild.engine import build
from kitbuild.graph import Graph
from kitbuild.image import Platform
from kitbuild.rule import Artifact
from kitbuild.rules.fetch.layout import open_source
from kitbuild.rules.format.boot import initrd
from kitbuild.system import MTIME, Target
from kitbuild.tree import Entry
from tests.support.cpio import Kernel
from tests.support.images import Made, directory, file, hardlink, layout, symlink
from tests.support.trees import Bench, made, tar_of
from tests.unit.config.configs import config

AMD64 = Platform("linux", "amd64")


class System:
    """The parts of a config, built over images in a folder."""

    def __init__(
        self, folder: Path, text: str, images: Mapping[str, Made], files: Mapping[str, bytes]
    ) -> None:
        self.bench = Bench()
        source = open_source(str(layout(folder / "images", images)))
        loaded = config(text)
        found = {reference: source.image(reference, AMD64) for reference in references_of(loaded)}
        digests = {}
        for path, content in files.items():
            (folder / path).write_bytes(content)
            digests[str(folder / path)] = Digest.of(content)
        system = lower(loaded, Sources(found, digests), target=Target(compression="none"))
        nodes = {part.name: part.tree for part in system.parts}
        results = build(
            Graph.of({**nodes, "initrd": initrd(system)}),
            self.bench.store,
            report=lambda event: None,
        )
        self.parts: dict[str, Artifact] = {name: results[name].artifact for name in nodes}
        self.initrd = self.bench.bytes_of(results["initrd"].artifact)

    def part(self, name: str) -> dict[str, str | bytes]:
        return self.bench.plain(self.parts[name])

    def entries(self, name: str) -> dict[str, Entry]:
        return self.bench.entries(self.parts[name])

    def booted(self) -> Kernel:
        kernel = Kernel()
        kernel.unpack(self.initrd)
        assert [] == kernel.skipped
        return kernel


@pytest.fixture
def system(tmp_path: Path) -> Callable[..., System]:
    def here(text: str, files: Mapping[str, bytes] = {}, **images: Made) -> System:
        named = {f"t/{name}:v1": image for name, image in images.items()}
        return System(tmp_path, text.replace("HERE", str(tmp_path)), named, files)

    return here


INIT = made(
    {"init": file("#!", mode=0o755), "etc/passwd": "root", "bin": symlink("usr/bin"), "usr/bin/": directory()}
)


# -- files


FILES = """
    files:
      - path: one/two/secret
        contents: s
      - path: one/group
        contents: g
        mode: "0640"
      - path: /three/all
        contents: a
        mode: "0644"
        uid: 5
        gid: 6
      - path: dir/sub/
        directory: true
      - path: link
        symlink: /one
        mode: "0777"
      - path: disk
        source: HERE/disk
      - path: gone
        source: HERE/gone
        optional: true
"""


def test_directories_above_a_file_can_be_entered_by_who_may_read_it(system: Callable[..., System]) -> None:
    entries = system(FILES, {"disk": b"from disk"}).entries("files")

    modes = {path: (entry.kind, oct(entry.mode), entry.uid, entry.gid) for path, entry in entries.items()}
    assert {
        "one": ("directory", "0o700", 0, 0),
        "one/two": ("directory", "0o700", 0, 0),
        "one/two/secret": ("file", "0o600", 0, 0),
        "one/group": ("file", "0o640", 0, 0),
        "three": ("directory", "0o755", 5, 6),
        "three/all": ("file", "0o644", 5, 6),
        "dir": ("directory", "0o700", 0, 0),
        "dir/sub": ("directory", "0o700", 0, 0),
        "link": ("symlink", "0o777", 0, 0),
        "disk": ("file", "0o600", 0, 0),
    } == modes
    assert {MTIME} == {entry.mtime for entry in entries.values()}


@pytest.mark.parametrize(
    ("mode", "expected"), [("0600", 0o700), ("0640", 0o750), ("0644", 0o755), ("0060", 0o070)]
)
def test_mode_of_the_directories_above(system: Callable[..., System], mode: str, expected: int) -> None:
    text = f'files: [{{path: d/f, contents: "", mode: "{mode}"}}]'

    assert expected == system(text).entries("files")["d"].mode


def test_owner_may_be_a_service_by_its_name(system: Callable[..., System]) -> None:
    found = system(
        """
        services:
          - {name: web, image: t/app:v1, uid: 100, gid: 200}
        files:
          - {path: etc/web/conf, contents: c, uid: web, gid: web}
        """,
        app=made({"app": "x"}),
    )

    entries = found.entries("files")

    (uid, gid) = entries["etc/web/conf"][3:5]
    assert (uid, gid) == entries["etc/web"][3:5]
    assert uid >= 100


def test_files_replace_what_init_images_bring(system: Callable[..., System]) -> None:
    found = system(
        """
        init: [t/init:v1]
        files:
          - {path: etc/passwd, contents: mine, mode: "0644"}
          - {path: usr/bin/tool, contents: t, mode: "0755"}
          - {path: init, symlink: /bin/tool}
          - {path: usr/share, contents: a file}
        """,
        init=made(
            {
                "init": file("#!", mode=0o755),
                "sbin/init": hardlink("init"),
                "etc/passwd": "root",
                "etc/shadow": hardlink("etc/passwd"),
                "bin": symlink("usr/bin"),
                "usr/bin/": directory(),
                "usr/share/doc/x": "1",
            }
        ),
    )

    plain = found.booted().plain()

    assert (0o100644, 0, 0, b"mine") == plain["etc/passwd"]
    assert (0o100644, 0, 0, b"root") == plain["etc/shadow"]
    assert (0o100755, 0, 0, b"t") == plain["usr/bin/tool"]
    assert b"/bin/tool" == plain["init"][3]
    assert b"#!" == plain["sbin/init"][3]
    assert b"a file" == plain["usr/share"][3]
    assert (0o040755, 0, 0, (0, 0)) == plain["etc"]


def test_files_may_reach_into_a_container(system: Callable[..., System]) -> None:
    found = system(
        """
        services: [{name: web, image: t/app:v1}]
        files: [{path: containers/services/web/lower/app, contents: mine}]
        """,
        app=made({"app": "x", "alias": hardlink("app")}),
    )

    plain = found.booted().plain()

    assert b"mine" == plain["containers/services/web/lower/app"][3]
    assert b"x" == plain["containers/services/web/lower/alias"][3]


# -- containers that share an image


def test_image_of_several_containers_is_unpacked_once(system: Callable[..., System]) -> None:
    found = system(
        """
        onboot:
          - {name: one, image: t/app:v1}
          - {name: two, image: t/app:v1, readonly: true}
        services:
          - {name: three, image: t/app:v1}
          - {name: other, image: t/other:v1, readonly: true}
        """,
        app=made({"app": "x"}),
        other=made({"app": "x"}),
    )

    plain = found.booted().plain()
    apps = [path for path in plain if path.endswith("/app")]

    assert ["containers/onboot/000-one/lower/app", "containers/services/other/rootfs/app"] == sorted(apps)
    for bundle in ("onboot/001-two", "services/three"):
        assert plain[f"containers/{bundle}/rootfs"][0] == 0o040755
    assert "containers/onboot/001-two/tmp" not in plain
    assert "containers/services/three/tmp" in plain
    for bundle in ("onboot/000-one", "services/three"):
        runtime = plain[f"containers/{bundle}/runtime.json"][3]
        assert isinstance(runtime, bytes)
        assert b"lowerdir=/containers/onboot/000-one/lower" in runtime


# -- all together


def test_packages_of_several_init_images_are_joined(system: Callable[..., System]) -> None:
    database = "lib/apk/db/installed"
    found = system(
        "init: [t/a:v1, t/b:v1]",
        a=made({database: "P:a\n"}),
        b=made({database: "P:b\n", "lib/x": hardlink(database)}),
    )

    plain = found.booted().plain()

    assert b"P:a\n\n\nP:b\n\n\n" == plain[database][3]
    assert b"P:b\n" == plain["lib/x"][3]


def test_init_images_lie_over_each_other_and_over_the_kernels_modules(system: Callable[..., System]) -> None:
    modules = tar_of({"lib/modules/6.1/a.ko": "ko", "boot/System.map": "map"})
    found = system(
        """
        kernel: {image: t/kernel:v1, cmdline: quiet}
        init: [t/init:v1, t/more:v1]
        volumes: [{name: data, image: t/data:v1}, {name: blank}]
        """,
        kernel=made({"kernel": "k", "kernel.tar": modules}),
        init=INIT,
        more=made({"bin/sh": "sh", "boot/own": "dropped", "init": file("#!2", mode=0o755)}),
        data=made({"d": "1"}),
    )

    plain = found.booted().plain()

    assert (b"ko", b"sh", b"#!2", b"map") == tuple(
        plain[path][3] for path in ("lib/modules/6.1/a.ko", "usr/bin/sh", "init", "boot/System.map")
    )
    assert {"boot", "boot/System.map"} == {path for path in plain if path.startswith("boot")}
    assert b"1" == plain["containers/volumes/data/lower/d"][3]
    assert {"lower", "tmp", "merged"} == {
        path.rpartition("/")[2] for path in plain if path.startswith("containers/volumes/blank/")
    }
