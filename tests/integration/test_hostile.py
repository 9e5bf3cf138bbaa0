"""Images that want to do harm, given to the command line: one clear error, and nothing left behind."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import images
from tests.support.command import Site
from tests.support.images import directory, file, hardlink, symlink
from tests.support.tars import END, base256, entry, header, padded, pax
from tests.support.trees import made, tar_of

pytestmark = pytest.mark.integration

CONFIG = "init:\n  - t/bad:v1\n"
LAYER = "docker.io/t/bad:v1: layer 2 of 2"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site", config=CONFIG)


def refused(site: Site, bad: images.Made, *options: str) -> str:
    """The one error a build with this image gives; everything else is as it was before."""
    good = made({"kernel": "k", "kernel.tar": tar_of({})})
    images.layout(site.folder / "images", {"t/bad:v1": bad, "t/kernel:v1": good})
    before = sorted(site.folder.iterdir())

    finished = site.run("build", "--quiet", *options, "linuxkit.yml", status=1)

    assert finished.stdout == b""
    errors = [line for line in finished.stderr.splitlines() if "error" in line]
    assert len(errors) == 1, finished.stderr
    assert {site.folder / "cache"} >= set(site.folder.iterdir()) - set(before)
    assert not list((site.folder / "cache").rglob("tmp/*"))
    return finished.stderr


def sparse(real_size: int) -> bytes:
    records = {"GNU.sparse.size": str(real_size), "GNU.sparse.map": "0,1"}
    return pax(records) + entry("a", b"x") + END


def piled(count: int) -> bytes:
    return b"".join(pax({f"k{number}": b"v" * (1 << 20)}) for number in range(count)) + header("a") + END


LAYERS: dict[str, tuple[Any, str]] = {
    "absolute path": ({"/etc/passwd": "x"}, "entry '/etc/passwd': an absolute path"),
    "path upwards": ({"a/../../b": "x"}, "entry 'a/../../b': a path with `..`"),
    "path up": ({"../b": "x"}, "entry '../b': a path with `..`"),
    "hard link upwards": (
        {"a": hardlink("../../etc/shadow")},
        "entry 'a': a hard link out of the tree, to '../../etc/shadow'",
    ),
    "hard link to a directory": (
        {"d/": directory(), "a": hardlink("d")},
        "entry 'a': hard link to a directory",
    ),
    "absurd size": (
        header("a", size=base256(1 << 60, 12)) + END,
        "entry 'a': the archive ends inside this entry",
    ),
    "negative size": (header("a", size=base256(-512, 12)) + END, "a size of -512 bytes"),
    "header that leads back": (
        header("b") + header("x", size=base256(-1024, 12), type=b"x") + END,
        "after entry 'b': an extended header is cut off or too large",
    ),
    "absurd sparse file": (sparse(1 << 62), "entry 'a': sparse files of 4611686018427387904 bytes"),
    "unknown type": (header("a", type=b"Q") + END, "entry 'a': expected a file, link, directory"),
    "no archive": (b"not a tar archive" * 100, "expected an octal number, got b"),
    "cut off": (tar_of({"a": "x" * 5000})[:3000], "entry 'a': the archive ends inside this entry"),
    "damaged header": (header("a").replace(b"0000644", b"0000645"), "a header's checksum does not fit"),
    "deep path": ({"d/" * 100_000: directory()}, "a path of more than 4095 bytes"),
    "control characters": (
        {"a\x1b[2J\r\nerror: all is well\x07/..": "x"},
        "entry 'a\\x1b[2J\\r\\nerror: all is well\\x07/..': a path with `..`",
    ),
    "symlinks in a loop": (
        {"a": symlink("b"), "b": symlink("a"), "a/x": "1"},
        "entry 'a/x': too many symlinks above 'a'",
    ),
    "root that is a symlink": (
        header("./", type=b"2", link=b"/etc") + END,
        "expected a directory as the root",
    ),
    "extended headers without end": (piled(40), "an extended header is cut off or too large"),
    "device number that does not fit": (
        header("a", type=b"3", major=base256(1 << 40, 8)) + END,
        "entry 'a': expected device numbers of 12 and 20 bits",
    ),
    "directories nobody lists": (
        [(f"{number}" + "/d" * 2000, file()) for number in range(200)],
        "bytes of names",
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_hostile_layer_is_refused_by_image_layer_and_entry(site: Site, case: str) -> None:
    content, expected = LAYERS[case]

    stderr = refused(site, made({"good": "1"}, content))

    assert LAYER in stderr
    assert expected in stderr
    assert len(stderr) < 1000
    assert not {"\x1b", "\r", "\x07"} & set(stderr)


def test_hard_link_to_nothing_is_refused_by_its_made(site: Site) -> None:
    stderr = refused(site, made({"a": hardlink("gone")}))

    assert "docker.io/t/bad:v1: hard link 'a' to 'gone', which is no file" in stderr


def test_hostile_modules_are_refused_by_their_tar(site: Site) -> None:
    site.write("linuxkit.yml", "kernel:\n  image: t/bad:v1\n")

    stderr = refused(site, made({"kernel": "k", "kernel.tar": header("../x") + END}))

    assert "`kernel.tar` in the kernel image: entry '../x': a path with `..`" in stderr


@pytest.mark.parametrize("format", ["tar", "docker", "kernel+initrd", "tar-kernel-initrd"])
def test_no_format_writes_anything_of_a_hostile_made(site: Site, format: str) -> None:
    site.write("linuxkit.yml", "kernel:\n  image: t/kernel:v1\ninit:\n  - t/bad:v1\n")

    assert "an absolute path" in refused(site, made({"/x": "1"}), "--format", format)


def measured(run: Callable[[], object]) -> tuple[int, float]:
    """The most memory (bytes) a child took so far, and the seconds of this run."""
    start = time.monotonic()
    run()
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, time.monotonic() - start


def test_hostile_layers_take_little_memory_and_time(site: Site) -> None:
    pairs = b"".join(b"%d\n1\n" % number for number in range(0, 200_000, 2))
    endless = pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"})
    cases = [
        endless + entry("a", padded(b"99999999\n" + pairs)) + END,
        pax([("GNU.sparse.offset", "1"), ("GNU.sparse.numbytes", "0")] * 60_000) + entry("a") + END,
        tar_of([(f"l{number}", hardlink(f"l{number + 1}")) for number in range(20_000)]),
        tar_of([(f"{number}/" + "d/" * 2000 + "f", "") for number in range(100)]),
        piled(40),
    ]
    for case in cases:
        memory, seconds = measured(lambda case=case: refused(site, made(case)))  # type: ignore[misc]

        assert memory < 600 << 20, memory >> 20
        assert seconds < 20


def test_decompression_bomb_is_stopped(site: Site) -> None:
    images.layout(
        site.folder / "images", {"t/bad:v1": images.image({"a": b"\0" * (64 << 20)}, compress=_bomb)}
    )

    stderr = site.run("build", "--quiet", "linuxkit.yml", status=1).stderr

    assert "docker.io/t/bad:v1" in stderr
    assert "expected content with diff ID" in stderr or "bomb" in stderr
    assert not list((site.folder / "cache").rglob("tmp/*"))


def _bomb(tar: bytes) -> bytes:
    import gzip

    return gzip.compress(tar + bytes(64 << 20), mtime=0)


def test_strange_but_harmless_names_are_built(site: Site) -> None:
    names = {"new\nline": "1", "bell\x07": "2", "caf\udce9": "3", "-rf": "4", "a b": "5", "TRAILER!!!": "6"}
    images.layout(site.folder / "images", {"t/bad:v1": made(dict(names))})

    finished = site.run("build", "--output", "-", "--format", "tar", "linuxkit.yml")

    assert all(name.encode("utf-8", "surrogateescape") in finished.stdout for name in names)
