"""FAT volumes and partition tables, read back and checked by the programs that others use for them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Zeros
from kitbuild.rules.layout import fat, gpt, mbr
from tests.support.fat import write
from tests.support.registry import tool

pytestmark = pytest.mark.integration

MEBIBYTE, GIBIBYTE = 1 << 20, 1 << 30


def text(content: bytes) -> Extents:
    return Extents.of([Literal(content)])


FILES = {
    "EFI/BOOT/BOOTX64.EFI": text(b"MZ" * 50_000),
    "EFI/Linux/linuxkit.efi": Extents.of([Literal(b"head"), Zeros(MEBIBYTE // 2)]),
    "loader/loader.conf": text(b"timeout 0\n"),
    "Grüße an alle.txt": text(b"hallo"),
    "empty": text(b""),
}


def run(*command: str | Path) -> str:
    """What a program says; it must end well."""
    tool(str(command[0]))
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def checked(image: Path) -> str:
    """What fsck.fat says of a volume in which it finds nothing to complain of, not even in words."""
    said = run("fsck.fat", "-n", "-v", image)
    # What it does, not what it finds.
    found = [line for line in said.splitlines() if not line.startswith("Checking")]
    assert not re.search(r"(?i)warn|differ|invalid|wrong|bad|unused|not |dirty|label", "\n".join(found)), said
    return said


def copied(image: Path, folder: Path) -> dict[str, bytes]:
    """All files of a volume, by mtools."""
    folder.mkdir()
    run("mcopy", "-s", "-n", "-i", image, "::/", folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def content(extents: Extents) -> bytes:
    return b"".join(part.content if isinstance(part, Literal) else bytes(part.size) for part in extents.parts)


@pytest.mark.parametrize(
    "size", [0, 2 * MEBIBYTE, 17 * MEBIBYTE, 300 * MEBIBYTE, 600 * MEBIBYTE, 3 * GIBIBYTE, 30 * GIBIBYTE]
)
def test_volumes_of_every_size_are_sound_and_give_their_files_back(tmp_path: Path, size: int) -> None:
    made = fat.file_system(FILES, size=size, hidden_sectors=2048)
    image = write(made.extents, tmp_path / "volume")

    said = checked(image)

    assert f"{made.extents.size // 512} sectors total" in said or size
    assert {path: content(file) for path, file in FILES.items()} == copied(image, tmp_path / "files")


@pytest.mark.parametrize(
    "clusters",
    [
        4068,
        4069,
        4084,
        4085,
        4086,
        4101,
        65508,
        65509,
        65524,
        65525,
        65526,
        2 * 65508,
        2 * 65508 + 1,
        2 * 65541,
    ],
)
def test_readers_agree_on_the_kind_of_volumes_next_to_the_limits(tmp_path: Path, clusters: int) -> None:
    made = fat.file_system({"file": Extents.of([Zeros(clusters * 4096)]), "other": text(b"1")})
    image = write(made.extents, tmp_path / "volume")

    said = checked(image)
    info = run("minfo", "-i", image, "::")

    assert f"{made.kind} bit entries" in said
    assert f'disk type="FAT{made.kind}   "' in info
    assert str(clusters * 4096) in run("mdir", "-i", image, "::/file").replace(" ", "")
    assert "1" == run("mtype", "-i", image, "::/other")


def test_the_time_of_every_file_is_that_of_kitbuild(tmp_path: Path) -> None:
    image = write(fat.file_system(FILES).extents, tmp_path / "volume")

    listed = run("mdir", "-/", "-a", "-i", image, "::/")

    dated = [line for line in listed.splitlines() if re.search(r"\d{4}-\d\d-\d\d", line)]
    assert len(dated) > len(FILES)
    assert all("2017-04-18  16:30" in line for line in dated), listed


def test_attributes_are_those_given(tmp_path: Path) -> None:
    made = fat.file_system({"a": text(b"1"), "b": text(b"2")}, attributes={"b": 0x27})
    image = write(made.extents, tmp_path / "volume")

    listed = run("mattrib", "-i", image, "::/a", "::/b")

    assert [["A", "::/a"], ["A", "SHR", "::/b"]] == [line.split() for line in listed.splitlines()]


NAMES = st.text(st.sampled_from("aAbBz.~1 éß日_+-[]"), min_size=1, max_size=20).filter(
    lambda name: name[-1] not in ". " and name[0] != " "
)
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=9000), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=40)
@given(TREES, st.sampled_from([0, 2 * MEBIBYTE, 17 * MEBIBYTE, 600 * MEBIBYTE]))
def test_mtools_reads_any_tree_back(files: Mapping[str, bytes], size: int) -> None:
    try:
        made = fat.file_system({path: text(content) for path, content in files.items()}, size=size)
    except RuleError:
        return
    with TemporaryDirectory() as scratch:
        image = write(made.extents, Path(scratch) / "volume")

        checked(image)
        assert files == copied(image, Path(scratch) / "files")


@pytest.mark.parametrize("size", [0, 64 * MEBIBYTE])
def test_a_disk_with_a_guid_table_is_sound(tmp_path: Path, size: int) -> None:
    partition = fat.file_system(FILES, size=40 * MEBIBYTE, hidden_sectors=2048).extents
    image = write(gpt.disk(partition, size=size), tmp_path / "disk")

    said = run("sgdisk", "-v", image)
    table = partition_table(image)

    assert "No problems found" in said and "Caution" not in said
    assert "No errors detected" in run("sfdisk", "--verify", image)
    assert (
        "gpt",
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        2048,
        81920,
        "EFI System",
        "LegacyBIOSBootable",
    ) == (
        table["label"],
        *(table["partitions"][0][field] for field in ("type", "start", "size", "name", "attrs")),
    )
    assert "timeout 0\n" == run("mtype", "-i", f"{image}@@1M", "::/loader/loader.conf")


def test_the_second_table_is_good_enough_to_restore_the_first(tmp_path: Path) -> None:
    partition = fat.file_system(FILES, hidden_sectors=2048).extents
    image = write(gpt.disk(partition), tmp_path / "disk")
    whole = image.read_bytes()
    with image.open("r+b") as stream:
        stream.seek(512)
        stream.write(bytes(33 * 512))

    run("sgdisk", "-e", image)

    assert whole[: 34 * 512] == image.read_bytes()[: 34 * 512]


@pytest.mark.parametrize("gigabytes", [1, 25])
def test_a_disk_with_a_dos_table_is_sound(tmp_path: Path, gigabytes: int) -> None:
    size = gigabytes * GIBIBYTE
    partition = fat.file_system(FILES, size=size - MEBIBYTE, hidden_sectors=2048).extents
    image = write(mbr.disk(partition, boot_code=b"code", size=size), tmp_path / "disk")

    table = partition_table(image)

    assert "No errors detected" in run("sfdisk", "--verify", image)
    assert ("dos", [{"start": 2048, "size": size // 512 - 2048, "type": "83", "bootable": True}]) == (
        table["label"],
        [{name: value for name, value in each.items() if name != "node"} for each in table["partitions"]],
    )
    assert as_sfdisk_writes_it(tmp_path, size) == table_bytes(image)


def as_sfdisk_writes_it(folder: Path, size: int) -> bytes:
    """The table of a disk of that size with one active partition, made by sfdisk."""
    disk = folder / "other"
    with disk.open("wb") as stream:
        stream.truncate(size)
    subprocess.run(
        ["sfdisk", "--quiet", disk],
        input="label: dos\nstart=2048, type=83, bootable\n",
        text=True,
        check=True,
        capture_output=True,
    )
    return table_bytes(disk)


def table_bytes(disk: Path) -> bytes:
    with disk.open("rb") as stream:
        return stream.read(512)[446:510]


def partition_table(image: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(run("sfdisk", "-J", image))["partitiontable"]
    return table
