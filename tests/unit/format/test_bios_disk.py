"""The disk for BIOS, from the nodes that the formats give."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Slice
from kitbuild.node import Node
from kitbuild.rule import Artifact
from kitbuild.rules.assemble.kernel import CMDLINE, CmdlineOptions
from kitbuild.rules.format import bios_disk, raw_bios
from kitbuild.rules.format.bios_disk import BiosDiskOptions
from kitbuild.system import System, Target
from kitbuild.work import StoreWork
from tests.support.fat import Volume, reader
from tests.support.syslinux import MODULE, SYSTEM_SECTORS, syslinux_program
from tests.support.trees import Bench

MEBIBYTE, GIBIBYTE = 1 << 20, 1 << 30
KERNEL, INITRD = b"kernel" * 30_000, b"initrd" * 50_000
BENCH = Bench()


def extents(content: Extents) -> Artifact:
    return BENCH.blob(content.encode())._replace(kind="extents")


def stored(content: bytes) -> Artifact:
    return extents(Extents.whole(BENCH.blob(content).digest))


def absent(size: int) -> Artifact:
    """Content that is in no store: reading it would fail."""
    return extents(Extents.whole(Digest(hashlib.sha256(b"absent").hexdigest(), size)))


def disk(cmdline: str = "console=ttyS0", **given: Any) -> Extents:
    inputs = {
        "kernel": given.pop("kernel", stored(KERNEL)),
        "initrd": given.pop("initrd", stored(INITRD)),
        "loader": given.pop("loader", stored(syslinux_program())),
        "boot_code": given.pop("boot_code", stored(b"M" * 440)),
    }
    artifact = BENCH.run(bios_disk.RULE, BiosDiskOptions(cmdline, **given), **inputs)
    with BENCH.work() as work:
        return work.extents(artifact)


def volume(made: Extents) -> Volume:
    sectors = int.from_bytes(reader(made, BENCH.read)(446 + 12, 4), "little")
    return Volume(reader(made.cut(MEBIBYTE, sectors * 512), BENCH.read))


def test_the_file_system_holds_the_files_of_linuxkit() -> None:
    made = volume(disk())

    contents = {path: file.content() for path, file in made.files.items()}
    assert {
        "ldlinux.sys": made.files["ldlinux.sys"].content(),
        "ldlinux.c32": MODULE,
        "syslinux.cfg": b"DEFAULT linux\nLABEL linux\n    KERNEL /kernel\n    INITRD /initrd.img\n"
        b"    APPEND console=ttyS0\n",
        "kernel": KERNEL,
        "initrd.img": INITRD,
    } == contents
    assert (2048, SYSTEM_SECTORS * 512 + 1024) == (made.hidden_sectors, len(contents["ldlinux.sys"]))
    assert {"ldlinux.sys", "ldlinux.c32"} == {
        path for path, file in made.files.items() if file.attributes == 0x27
    }


@pytest.mark.parametrize("size", [0, 40 * MEBIBYTE, 700 * MEBIBYTE, 3 * GIBIBYTE])
def test_the_boot_sector_points_at_the_loader(size: int) -> None:
    made = disk(disk_bytes=size)

    sector = reader(made, BENCH.read)(MEBIBYTE, 512)
    loader = volume(made).files["ldlinux.sys"]
    assert loader.offset == 512 * int.from_bytes(sector[0x11A:0x11E], "little")
    assert loader.offset == 512 * (int.from_bytes(loader.content()[0x1EE:0x1F6], "little") - 1)
    assert (b"SYSLINUX", b"code") == (sector[3:11], sector[90:94])


def test_kernel_and_initrd_are_slices_at_multiples_of_4_kib() -> None:
    made = disk()

    offset = 0
    places = {}
    for part in made.parts:
        if isinstance(part, Slice):
            places[part.size] = offset
        offset += part.size
    assert {len(KERNEL), len(INITRD)} == set(places)
    assert {0} == {place % 4096 for place in places.values()}


def test_a_large_initrd_is_not_read_and_laid_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    plain = StoreWork.read

    def counted(work: StoreWork, part: Slice) -> bytes:
        read.append(part.size)
        return plain(work, part)

    monkeypatch.setattr(StoreWork, "read", counted)
    initrd = absent(300 * 10**6)

    started = time.process_time()
    made = disk(initrd=initrd, loader=stored(syslinux_program()))
    seconds = time.process_time() - started

    assert 300 * 10**6 < made.size < 310 * 10**6
    assert sum(read) == len(syslinux_program()) + 440
    # Here 15 ms.
    assert seconds < 0.1


def test_an_altmbr_is_told_which_partition_to_start() -> None:
    made = disk(boot_code=stored(b"a" * 439))

    assert b"a" * 439 + b"\x01" == reader(made)(0, 440)


@pytest.mark.parametrize("megabytes", [0, 1, 20, 100])
def test_a_disk_is_as_large_as_that_of_linuxkit(megabytes: int) -> None:
    made = disk(initrd=absent(megabytes * MEBIBYTE + 1))

    kilobytes = -(-(len(KERNEL) + megabytes * MEBIBYTE + 1 + MEBIBYTE) // 1024)
    file_system = -(-kilobytes // 1024)
    assert (file_system + 4) * MEBIBYTE == made.size
    assert file_system * 2048 == int.from_bytes(reader(made, BENCH.read)(458, 4), "little")


def test_a_disk_grows_where_that_of_linuxkit_would_be_too_small() -> None:
    made = disk(initrd=absent(3 * GIBIBYTE), kernel=absent(2 * GIBIBYTE))

    # Tables of clusters and what their size leaves over are more than the 1 MiB that LinuxKit allows.
    assert volume(made).files["kernel"].size == 2 * GIBIBYTE
    assert 5 * GIBIBYTE + 5 * MEBIBYTE < made.size < 5 * GIBIBYTE + 10 * MEBIBYTE


@pytest.mark.parametrize(
    ("asked", "default", "initrd", "size"),
    [
        pytest.param(40 * MEBIBYTE, 0, MEBIBYTE, 40 * MEBIBYTE, id="as asked"),
        pytest.param(40 * MEBIBYTE, GIBIBYTE, MEBIBYTE, 40 * MEBIBYTE, id="as asked, not the default"),
        pytest.param(0, GIBIBYTE, MEBIBYTE, GIBIBYTE, id="default"),
        pytest.param(0, GIBIBYTE, GIBIBYTE, 2 * GIBIBYTE, id="more than the default holds"),
        pytest.param(0, 25 * GIBIBYTE, MEBIBYTE, 25 * GIBIBYTE, id="large default"),
    ],
)
def test_a_disk_has_the_size_asked_for_or_its_default(
    asked: int, default: int, initrd: int, size: int
) -> None:
    made = disk(initrd=absent(initrd), disk_bytes=asked, default_bytes=default)

    assert size == made.size
    assert size // 512 - 2048 == int.from_bytes(reader(made)(458, 4), "little")


def test_what_does_not_fit_the_size_asked_for_is_refused_with_the_size_it_needs() -> None:
    with pytest.raises(RuleError, match=r"expected a disk of at least 22 MiB .*, got 20 MiB") as error:
        disk(initrd=absent(20 * MEBIBYTE), disk_bytes=20 * MEBIBYTE)

    assert "give `--size 22M` or more" == error.value.hint
    assert 22 * MEBIBYTE == disk(initrd=absent(20 * MEBIBYTE), disk_bytes=22 * MEBIBYTE).size
    with pytest.raises(RuleError):
        disk(initrd=absent(20 * MEBIBYTE), disk_bytes=21 * MEBIBYTE)


def test_an_initrd_of_4_gib_is_refused() -> None:
    with pytest.raises(RuleError, match=r"less than 4 GiB for `initrd.img`"):
        disk(initrd=absent(4 * GIBIBYTE))


def test_an_empty_command_line_is_one() -> None:
    assert b"    APPEND \n" in volume(disk("")).files["syslinux.cfg"].content()


def test_another_program_than_syslinux_is_refused() -> None:
    with pytest.raises(RuleError, match="expected the program `syslinux`"):
        disk(loader=stored(b"#!/bin/sh\n"))


# Regenerate: print the left side. Whatever changes it must raise the rule's version.
def test_the_disk_is_the_same_bytes_for_ever() -> None:
    first, second = disk().encode(), disk().encode()

    assert first == second
    assert (
        "7a807bf517ab09a2f45853393cab187541aef9fff72359a0fa18ab2c4c305fd9"
        == hashlib.sha256(first).hexdigest()
    )


def test_raw_bios_is_one_file_and_shares_its_kernel_with_other_disks() -> None:
    tree = Node("tree", CMDLINE, CmdlineOptions("x"))
    system = System(
        (), kernel=tree, cmdline="quiet\n", target=Target(disk_bytes=7, loaders={"syslinux": tree})
    )

    outputs = raw_bios.FORMAT.outputs(system)
    other = bios_disk.bios_disk(system, default_bytes=GIBIBYTE)

    node = outputs["-bios.img"]
    assert {"-bios.img": node} == outputs
    assert (BiosDiskOptions("quiet", 7, 0), BiosDiskOptions("quiet", 7, GIBIBYTE)) == (
        node.options,
        other.options,
    )
    assert node.inputs["kernel"] == other.inputs["kernel"]
    assert ["altmbr.bin", "mbr.bin"] == [one.inputs["boot_code"][0].options.path for one in (node, other)]
