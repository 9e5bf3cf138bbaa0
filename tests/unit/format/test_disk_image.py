"""Rules and formats of disk images: the right layout of the right disk, each made once."""

from __future__ import annotations

import io
import tarfile
import zlib
from typing import Any

import pytest

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Zeros
from kitbuild.node import Node
from kitbuild.rule import Artifact, NoOptions
from kitbuild.rules.assemble import kernel
from kitbuild.rules.format import (
    aws,
    dynamic_vhd,
    gcp,
    ova,
    qcow2_bios,
    qcow2_efi,
    vhdx,
    vmdk,
)
from kitbuild.rules.format import disk_image as rules
from kitbuild.rules.format import vhd as fixed_vhd
from kitbuild.system import MTIME, Format, Part, System, Target
from tests.support.disks import (
    File,
    Image,
    holds,
    noise,
    read_qcow2,
    read_vhd,
    read_vhd_footer,
    read_vhdx,
    read_vmdk,
)
from tests.support.trees import Bench

BENCH = Bench()
GIB = 1 << 30
NOISE = BENCH.slice(noise(300_000))
assert NOISE is not None
DISK = Extents.of([Literal(b"boot" * 128), Zeros(5 << 20), NOISE, Zeros((4 << 20) - 512 - 300_000)])


def kept(extents: Extents) -> Artifact:
    with BENCH.work() as work:
        return Artifact("extents", work.put(extents.encode()))


def made(rule: Any, options: Any = None, *, disk: Extents = DISK, **inputs: Artifact) -> File:
    artifact = BENCH.run(rule, options or NoOptions(), disk=kept(disk), **inputs)
    with BENCH.work() as work:
        return File(BENCH, work.extents(artifact))


# -- rules


@pytest.mark.parametrize(
    ("rule", "options", "read"),
    [
        (rules.QCOW2, NoOptions(), read_qcow2),
        (rules.VHD, rules.VhdOptions(is_dynamic=True), read_vhd),
        (rules.VHDX, NoOptions(), read_vhdx),
        (rules.VMDK, NoOptions(), read_vmdk),
    ],
)
def test_sparse_image_of_a_disk_reads_back(rule: Any, options: Any, read: Any) -> None:
    image: Image = read(made(rule, options))

    assert holds(image, DISK, BENCH)


def test_vhd_is_fixed_unless_asked_otherwise() -> None:
    image = made(rules.VHD, rules.VhdOptions())

    assert (DISK.size, 2) == read_vhd_footer(image)[:2]
    assert MTIME // 10**9 - 946_684_800 == image.fields(">I", DISK.size + 24)[0]


def test_ova_is_a_descriptor_and_the_disk_it_describes() -> None:
    vmdk_artifact = BENCH.run(rules.VMDK, disk=kept(DISK))

    image = made(rules.OVA, rules.OvaOptions("a&b"), image=vmdk_artifact)

    with tarfile.open(fileobj=io.BytesIO(image.at(0, image.size))) as archive:
        text, disk = archive.getmembers()
        assert ["a&b.ovf", "a&b-disk1.vmdk"] == [text.name, disk.name]
        descriptor, content = archive.extractfile(text), archive.extractfile(disk)
        assert descriptor is not None
        assert content is not None
        description = descriptor.read().decode()
        assert BENCH.bytes_of(vmdk_artifact) == content.read()
    assert f'ovf:size="{disk.size}"' in description
    assert f'ovf:capacity="{DISK.size}"' in description


def test_ova_takes_no_disk_that_its_header_cannot_describe() -> None:
    large = kept(Extents.of([Zeros(8 * GIB)]))

    with pytest.raises(RuleError, match="less than 8 GiB in an OVA"):
        made(rules.OVA, image=large)


def test_compute_engine_gets_a_gzipped_tar_of_the_raw_disk() -> None:
    disk = Extents.of([*DISK.parts, Zeros(GIB - DISK.size)])

    image = made(rules.GCP, disk=disk)

    head = zlib.decompressobj(wbits=31).decompress(image.at(0, image.size), 1 << 20)
    assert ("disk.raw", GIB) == (
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "strict").name,
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "strict").size,
    )
    assert b"boot" * 128 == head[512:1024]
    assert image.size < 2 << 20


def test_compute_engine_takes_whole_gibibytes_alone() -> None:
    with pytest.raises(RuleError, match="expected a disk of whole GiB for Compute Engine") as caught:
        made(rules.GCP)

    assert "build with `--size 1G`" == caught.value.hint


@pytest.mark.parametrize("rule", [rules.VMDK, rules.GCP])
def test_compressed_images_name_their_compressor(rule: Any) -> None:
    ((name, version),) = rule.tools(NoOptions()).items()

    assert "isal" == name
    assert "level 2" in version


# -- formats


def system(architecture: str = "amd64", disk_bytes: int = 0) -> System:
    tree = Node("tree", kernel.CMDLINE, kernel.CmdlineOptions("x"))
    loaders = {"syslinux": tree, "systemd-boot": tree, "grub": tree}
    target = Target(architecture=architecture, disk_bytes=disk_bytes, loaders=loaders)
    return System((Part("one", tree, "s", "l"),), kernel=tree, cmdline="quiet", target=target)


BIOS = (qcow2_bios, fixed_vhd, dynamic_vhd, vhdx, vmdk, ova, aws, gcp)


@pytest.mark.parametrize(
    ("chosen", "name", "output"),
    [
        (qcow2_bios.FORMAT, "qcow2-bios", ".qcow2"),
        (qcow2_efi.FORMAT, "qcow2-efi", "-efi.qcow2"),
        (aws.FORMAT, "aws", ".raw"),
        (gcp.FORMAT, "gcp", ".img.tar.gz"),
        (fixed_vhd.FORMAT, "vhd", ".vhd"),
        (dynamic_vhd.FORMAT, "dynamic-vhd", ".vhd"),
        (vhdx.FORMAT, "vhdx", ".vhdx"),
        (vmdk.FORMAT, "vmdk", ".vmdk"),
        (ova.FORMAT, "ova", ".ova"),
    ],
)
def test_format_is_one_file_that_boots(chosen: Format, name: str, output: str) -> None:
    assert name == chosen.name
    assert [output] == list(chosen.outputs(system()))
    assert chosen.boots
    assert not chosen.stream


def test_formats_share_one_disk_and_one_vmdk() -> None:
    given = system()

    found = {each.FORMAT.name: next(iter(each.FORMAT.outputs(given).values())) for each in BIOS}

    raw = found["aws"]
    for name in ("qcow2-bios", "vhd", "vhdx", "vmdk", "ova", "gcp"):
        assert (raw,) == found[name].inputs["disk"]
    assert (found["vmdk"],) == found["ova"].inputs["image"]
    assert found["dynamic-vhd"].inputs["disk"][0].options.default_bytes == 25 * GIB
    assert raw.options.default_bytes == GIB


def test_disks_for_clouds_start_by_efi_on_arm64() -> None:
    given = system("arm64")

    raw = aws.FORMAT.outputs(given)[".raw"]

    assert raw.rule.name == "format/efi-disk"
    assert (raw,) == gcp.FORMAT.outputs(given)[".img.tar.gz"].inputs["disk"]
    assert {"arm64": ("systemd-boot",), "amd64": ("syslinux",)} == aws.FORMAT.loaders


def test_disk_of_qcow2_efi_is_as_small_as_it_can_be() -> None:
    disk = qcow2_efi.FORMAT.outputs(system("arm64"))["-efi.qcow2"].inputs["disk"][0]

    assert 0 == disk.options.default_bytes
