"""Where the golden configs are built: their images and local files, and a build in this very process."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from kitbuild.cli.main import main
from kitbuild.config.dump import metadata
from kitbuild.config.load import load
from tests.support import images
from tests.support.command import executable
from tests.support.images import Content, Made, MadeImage, canonical, directory, file, hardlink, symlink
from tests.support.peer import Peer, initrd
from tests.support.unpacking import TarEntry

SYSTEMS = Path(__file__).parent / "systems"
# What `source:` names in the configs.
LOCAL_FILES = {"local/authorized_keys": "ssh-ed25519 AAAA me\n", "local/empty": ""}


def names() -> list[str]:
    """The golden configs by name; `over-NAME.yml` belongs to NAME, merged into it."""
    return sorted(path.stem for path in SYSTEMS.glob("*.yml") if not path.stem.startswith("over-"))


def configs_of(name: str) -> list[str]:
    """The files of a config."""
    return [str(path) for path in (SYSTEMS / f"{name}.yml", SYSTEMS / f"over-{name}.yml") if path.exists()]


def write_local_files(folder: Path) -> None:
    """Writes what the configs take from disk."""
    for name, content in LOCAL_FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def build(
    folder: Path,
    configs: Sequence[str],
    made: Mapping[str, Made],
    *,
    arguments: Sequence[str] = ("--no-sbom",),
) -> int:
    """Builds in a folder with these images, as `out*`; gives the exit status."""
    images.layout(folder / "images", made)
    line = ["build", "--quiet", "--offline", "--arch", "amd64", "--name", "out", *arguments, *configs]
    with _environment(folder), contextlib.chdir(folder):
        return main(line)


def built(folder: Path, configs: Sequence[str], made: Mapping[str, Made], *arguments: str) -> bytes:
    """The tar of a build without the SBOM."""
    status = build(folder, configs, made, arguments=("--no-sbom", "--format", "tar", *arguments))
    assert status == 0
    return (folder / "out.tar").read_bytes()


def peer_entries(folder: Path, configs: Sequence[str], made: Mapping[str, Made]) -> list[TarEntry]:
    """What LinuxKit would put into the tar."""
    # LinuxKit takes every name for a folder's, where kitbuild would refuse the config.
    with mock.patch("kitbuild.config.load.is_inside", return_value=True):
        config = load(configs)
    named = {canonical(name): image for name, image in made.items()}
    return Peer(config, named, folder=folder, metadata=lambda kind: metadata(config, kind)).entries()  # type: ignore[arg-type]


@contextlib.contextmanager
def _environment(folder: Path) -> Iterator[None]:
    changed = {
        "HOME": str(folder),
        "KITBUILD_CACHE_DIR": str(folder / "cache"),
        "KITBUILD_IMAGES": str(folder / "images"),
    }
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(("KITBUILD_", "LINUXKIT_", "XDG_"))]:
        del os.environ[name]
    os.environ.update(changed)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@cache
def golden_images() -> Mapping[str, Made]:
    """The images the golden configs name."""
    script = executable("#!/bin/sh\n")
    modules = images.layer_tar(
        {
            "./": directory(0o755, mtime=1_600_000_000),
            "./boot/dtb/": directory(mtime=1_600_000_000),
            "./boot/dtb/board.dtb": file("dtb", mtime=1_600_000_000),
            "./lib/": directory(mtime=1_600_000_000),
            "./lib/modules/6.1/": directory(mtime=1_600_000_000),
            "./lib/modules/6.1/a.ko": file("module a", uid=3, gid=4, mtime=1_600_000_000.25),
            "./lib/modules/6.1/build": symlink("/usr/src/linux", mtime=1_600_000_000),
        }
    )
    made: dict[str, Made] = {
        "t/kernel:v1": _image(
            {
                "kernel": file("the kernel", mode=0o600, uid=7, mtime=1_500_000_000),
                "kernel.tar": modules,
                "kernel-dev.tar": "not wanted",
                "intel-ucode.cpio": file(initrd([]), mode=0o640),
                "etc/": directory(),
            }
        ),
        "t/bare-kernel:v1": _image(
            {"vmlinuz": "bare kernel", "extra.tar": images.layer_tar({"lib/firmware/x": "fw"})}
        ),
        "t/packed-kernel:v1": _image({"kernel": gzip.compress(b"packed kernel", mtime=0)}),
        "t/init:v1": _image(
            {
                "./": directory(0o755, mtime=1_550_000_000),
                "bin/": directory(mtime=1_550_000_000),
                "bin/busybox": executable("busybox"),
                "bin/sh": symlink("busybox"),
                "bin/ls": hardlink("bin/busybox"),
                "dev/": directory(0o700, mtime=1_550_000_000),
                "dev/null": images.device("char", 1, 3, mode=0o666),
                "etc/": directory(0o711, uid=5, gid=6, mtime=1_550_000_000),
                "etc/passwd": "root:x:0:0::/:/bin/sh\n",
                "init": executable("init"),
                "lib/apk/db/installed": "P:busybox\n",
                "tmp/": directory(0o1777, mtime=1_550_000_000),
                "var/run": symlink("../run"),
            }
        ),
        "t/runc:v1": _image(
            {"lib/apk/db/installed": "P:runc\n", "usr/": directory(), "usr/bin/runc": executable("runc")}
        ),
        "t/containerd:v1": _image(
            {"lib/apk/db/installed": "P:containerd\n", "usr/bin/containerd": executable("containerd")},
            ({"usr/bin/containerd": executable("containerd, newer"), "etc/issue": "from containerd\n"}),
        ),
        "t/ca-certificates:v1": _image({"etc/ssl/certs/ca.pem": "certificates"}),
        "t/hello:v1": _image({"hello": script}, cmd=["/hello"]),
        "t/sysctl:v1": _image(
            {"usr/bin/sysctl": script},
            entrypoint=["/usr/bin/sysctl"],
            labels={
                "org.mobyproject.config": '{"pid": "host", "readonly": true, "capabilities": ["CAP_SYS_ADMIN"],'
                ' "binds": ["/etc/sysctl.d:/etc/sysctl.d"]}'
            },
        ),
        "t/web:v1": _image(
            ({"bin/": directory(), "bin/web": script, "data/old": "old", "data/kept": "kept"}),
            ({"data/.wh.old": "", "data/new": file("new", uid=33, gid=33), "bin/http": symlink("web")}),
            entrypoint=["/bin/web"],
            cmd=["--port", "80"],
            env=["PATH=/bin", "MODE=<prod>"],
            working_directory="/srv",
            labels={
                "org.mobyproject.config": '{"capabilities": ["CAP_NET_BIND_SERVICE"], "tmpfs": ["/tmp:size=10m"],'
                ' "binds": ["/etc/resolv.conf:/etc/resolv.conf"], "runtime": {"mkdir": ["/var/lib/web"]}}'
            },
        ),
        "t/layers:v1": _image(
            ({"a/": directory(0o750), "a/one": "one", "b/two": "two", "c": "file", "d/x": "x", "e": "e"}),
            (
                {
                    "a/": directory(0o700, mtime=9),
                    "a/.wh.one": "",
                    ".wh.b": "",
                    "c/": directory(),
                    "c/in": "in",
                }
            ),
            ({"d": file("a file now"), "e": symlink("c/in"), "c/in": "again", "f": hardlink("c/in")}),
            compression="zstd",
        ),
        "t/odd:v1": _image(
            {
                "ping": file("ping", mode=0o4755, pax={"SCHILY.xattr.security.capability": "\x01\x02\x03"}),
                "shared/": directory(0o2770, uid=1000, gid=2_500_000),
                "shared/half": file("half a second", mtime=1_700_000_000.5),
                "shared/" + "long" * 40: "long name",
                "shared/größe": symlink("ü" * 60),
                "fifo": images.device("fifo", mode=0o620),
                "disk": images.device("block", 8, 1, mode=0o660, gid=6),
                "old": file("before 1970", mtime=-5),
                "unreadable": file("secret", mode=0o000),
            },
            cmd=["/ping"],
        ),
        "t/standard:v1": _image(
            {
                ".dockerenv": "",
                "Dockerfile": "FROM x",
                "dev/": directory(0o700),
                "dev/console": "",
                "dev/shm/": directory(0o1777),
                "etc/": directory(0o700),
                "etc/hostname": "box",
                "etc/hosts": file("1.2.3.4 me\n", mode=0o600, uid=9),
                "etc/mtab": symlink("/proc/self/mounts", mtime=77),
                "etc/resolv.conf": file("nameserver 1.1.1.1\n", mode=0o640),
                "proc/": directory(0o555),
                "sys/": directory(0o555),
                "sub/Dockerfile": "stays",
                "sub/etc/hosts": "stays",
            },
            cmd=["/x"],
        ),
        "t/data:v1": _image({"data/one": "1", "data/two": file("2", uid=33), "etc/motd": "hi"}),
    }
    # As BuildKit stores them: an index with an attestation for each image. Not compressed, as they are kept so.
    parts = [
        _image({"bin/app": f"for {name}"}, architecture=name, cmd=["/bin/app"], compression="plain")
        for name in ("amd64", "arm64")
    ]
    made["t/both:v1"] = images.index(*parts, attestations=True)
    return made


def _image(*layers: dict[str, Content], **settings: Any) -> MadeImage:
    return images.image(*layers, **settings)
