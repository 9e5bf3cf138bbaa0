"""What OVA and Compute Engine's archives consist of besides disks: OVF descriptors and GNU tar headers."""

from __future__ import annotations

import io
import tarfile
from hashlib import sha256
from xml.etree import ElementTree

import pytest

from kitbuild.extents import Extents, Literal, Zeros
from kitbuild.rules.layout import gnu_tar, ovf
from tests.support.disks import File
from tests.support.trees import Bench

BENCH = Bench()
OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"

# -- OVF


def envelope() -> ElementTree.Element:
    return ElementTree.fromstring(
        ovf.descriptor(name="machine", disk="machine-disk1.vmdk", disk_bytes=1 << 30, file_bytes=12_345)
    )


def items() -> dict[int, dict[str, str]]:
    """The machine's hardware by type of resource."""
    found = [{field.tag: field.text or "" for field in item} for item in envelope().iter(f"{OVF}Item")]
    return {int(item[f"{RASD}ResourceType"]): item for item in found}


def test_descriptor_names_file_and_disk_with_their_sizes() -> None:
    (file,) = envelope().iter(f"{OVF}File")
    (disk,) = envelope().iter(f"{OVF}Disk")

    assert ("machine-disk1.vmdk", "12345") == (file.attrib[f"{OVF}href"], file.attrib[f"{OVF}size"])
    assert (file.attrib[f"{OVF}id"], str(1 << 30)) == (
        disk.attrib[f"{OVF}fileRef"],
        disk.attrib[f"{OVF}capacity"],
    )
    assert disk.attrib[f"{OVF}format"].endswith("vmdk.html#streamOptimized")


def test_machine_has_a_processor_memory_a_network_card_and_the_disk_at_its_controller() -> None:
    hardware = items()
    (disk,) = envelope().iter(f"{OVF}Disk")

    assert {3, 4, 6, 10, 17} == set(hardware)
    assert ("1", "1024") == (hardware[3][f"{RASD}VirtualQuantity"], hardware[4][f"{RASD}VirtualQuantity"])
    assert "byte * 2^20" == hardware[4][f"{RASD}AllocationUnits"]
    assert "lsilogic" == hardware[6][f"{RASD}ResourceSubType"]
    assert hardware[6][f"{RASD}InstanceID"] == hardware[17][f"{RASD}Parent"]
    assert f"ovf:/disk/{disk.attrib[f'{OVF}diskId']}" == hardware[17][f"{RASD}HostResource"]
    (network,) = envelope().iter(f"{OVF}Network")
    assert network.attrib[f"{OVF}name"] == hardware[10][f"{RASD}Connection"]


def test_fields_of_an_item_stand_in_the_order_of_the_schema() -> None:
    for item in items().values():
        assert sorted(item) == list(item)


# -- GNU tar


@pytest.mark.parametrize("size", [0, 1, 512, 9000, 10_240])
def test_tar_of_one_file_reads_back(size: int) -> None:
    content = Extents.of([Literal(b"x" * size)])

    image = File(BENCH, gnu_tar.single("disk.raw", content, seconds=1_492_533_000))

    with tarfile.open(fileobj=io.BytesIO(image.at(0, image.size))) as archive:
        (member,) = archive.getmembers()
        assert ("disk.raw", size, 0o644, 0, 0, 1_492_533_000) == (
            member.name,
            member.size,
            member.mode,
            member.uid,
            member.gid,
            member.mtime,
        )
        file = archive.extractfile(member)
        assert file is not None
        assert b"x" * size == file.read()
    assert 0 == image.size % 10_240


def test_tar_has_the_header_that_tarfile_writes_for_gnu_tar() -> None:
    expected = tarfile.TarInfo("disk.raw")
    expected.size, expected.mtime, expected.mode = 20 << 30, 1_492_533_000, 0o644

    image = File(BENCH, gnu_tar.single("disk.raw", Extents.of([Zeros(20 << 30)]), seconds=1_492_533_000))

    # tarfile also writes the numbers of a device, which only devices have.
    ours, theirs = bytearray(image.at(0, 512)), bytearray(expected.tobuf(tarfile.GNU_FORMAT))
    for header in (ours, theirs):
        header[148:156] = header[329:345] = b""
    assert theirs == ours


def test_archives_are_always_the_same() -> None:
    image = File(BENCH, gnu_tar.single("disk.raw", Extents.of([Zeros(99)]), seconds=1_492_533_000))
    text = ovf.descriptor(name="machine", disk="disk.vmdk", disk_bytes=1 << 30, file_bytes=5)

    assert (
        "eaa16eafd413b7abaf2daaa969d32bbebcdd6658633c02c95044107715a8b41c"
        == sha256(image.at(0, image.size)).hexdigest()
    )
    assert "36c5eaa7bbacdf26dee5e996498fda87e5e19f66e30242c718bfc2f967ae6433" == sha256(text).hexdigest()
