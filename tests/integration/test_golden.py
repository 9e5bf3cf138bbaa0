"""The graphs of the golden configs and their root file systems, path by path, are those in tests/golden/systems."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.golden.site import (
    LOCAL_FILES,
    SYSTEMS,
    build,
    built,
    configs_of,
    golden_images,
    names,
    write_local_files,
)
from tests.support import images
from tests.support.graphs import graph_of, lowered, text_of
from tests.support.unpacking import Found, Unpacked, entries_of, unpacked

pytestmark = pytest.mark.integration

REGENERATE = "python -m pytest tests/integration/test_golden.py --regenerate"
LETTERS = {"directory": "d", "file": "-", "symlink": "l", "char": "c", "block": "b", "fifo": "p"}


@pytest.mark.parametrize("name", names())
def test_config_gives_the_root_file_system_written_down(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    write_local_files(tmp_path)
    golden = SYSTEMS / f"{name}.txt"

    found = unpacked(entries_of(built(tmp_path, configs_of(name), golden_images())))

    text = listing(found)
    if request.config.getoption("--regenerate"):
        golden.write_text(text)
    assert [] == found.lost
    assert golden.is_file(), f"no {golden}; write it with: {REGENERATE}"
    assert golden.read_text() == text, f"another root file system; if that is meant: {REGENERATE}"


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.layout(tmp_path_factory.mktemp("images"), golden_images())


@pytest.mark.parametrize("name", names())
def test_config_gives_the_graph_written_down(name: str, layout: Path, request: pytest.FixtureRequest) -> None:
    golden = SYSTEMS / f"{name}.graph.txt"

    text = text_of(graph_of(lowered(configs_of(name), layout, present=LOCAL_FILES)))

    if request.config.getoption("--regenerate"):
        golden.write_text(text)
    assert golden.is_file(), f"no {golden}; write it with: {REGENERATE}"
    assert golden.read_text() == text, f"another graph; if that is meant: {REGENERATE}"


@pytest.mark.parametrize("name", names())
def test_every_member_of_the_tar_says_where_it_comes_from(name: str, tmp_path: Path) -> None:
    write_local_files(tmp_path)

    entries = list(entries_of(built(tmp_path, configs_of(name), golden_images())))

    assert [] == [entry.name for entry in entries if not entry.source or not entry.location]


def test_every_listing_and_every_graph_has_a_config() -> None:
    graphs = {path.name.removesuffix(".graph.txt") for path in SYSTEMS.glob("*.graph.txt")}
    listings = {path.stem for path in SYSTEMS.glob("*.txt") if not path.name.endswith(".graph.txt")}

    assert names() == sorted(graphs)
    assert names() == sorted(listings)


def listing(found: Unpacked) -> str:
    """A root file system as text, a line for each path: type and mode, owner, size or device, time, path, and what
    is in it: the beginning of a file's sha256, where a link leads, and a file's other names.
    """
    return "".join(f"{line}\n" for line in _lines(found))


def _lines(found: Unpacked) -> Iterator[str]:
    for path, entry in sorted(found.paths.items()):
        size = "{}:{}".format(*entry.device) if entry.kind in ("char", "block") else str(entry.size)
        owner = f"{entry.uid}:{entry.gid}"
        fields = [f"{LETTERS[entry.kind]}{entry.mode:04o}", f"{owner:<9}", f"{size:>5}", _time(entry.mtime)]
        yield " ".join([*fields, path or ".", *_rest(path, entry)])


def _rest(path: str, entry: Found) -> Iterator[str]:
    if entry.kind == "symlink":
        yield f"-> {entry.target}"
    if entry.kind == "file":
        yield f"sha256:{entry.sha256[:12]}"
    others = [name for name in entry.names if name != path]
    if others:
        yield f"also {', '.join(others)}"
    for name, value in entry.xattrs:
        yield f"{name}=0x{value.hex()}"


def _time(nanoseconds: int | None) -> str:
    if nanoseconds is None:
        return "unknown".ljust(20)
    seconds, rest = divmod(nanoseconds, 10**9)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"


def test_kernel_is_taken_out_of_its_compression_on_demand(tmp_path: Path) -> None:
    config = tmp_path / "packed.yml"
    config.write_text("kernel: {image: t/packed-kernel:v1, tar: none}\n")

    build(tmp_path, [str(config)], golden_images())
    packed = (tmp_path / "out-kernel").read_bytes()
    build(tmp_path, [str(config)], golden_images(), arguments=("--no-sbom", "--decompress-kernel"))

    assert b"packed kernel" == gzip.decompress(packed)
    assert b"packed kernel" == (tmp_path / "out-kernel").read_bytes()
