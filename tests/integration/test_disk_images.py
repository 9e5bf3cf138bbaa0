"""Disk images read back by qemu-img, gzip and GNU tar: sizes are right, content is the raw disk's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings

from kitbuild.export import write
from kitbuild.extents import Extents, Literal, Zeros
from kitbuild.rule import Artifact, NoOptions
from kitbuild.rules.format import disk_image as rules
from tests.support.disks import disks, noise
from tests.support.registry import tool
from tests.support.trees import Bench

pytestmark = pytest.mark.integration

BENCH = Bench()
MIB, GIB = 1 << 20, 1 << 30
NOISE = BENCH.slice(noise(3 * MIB))
assert NOISE is not None
TEXT = BENCH.slice(b"words that shrink, " * 200_000)
assert TEXT is not None
PAYLOAD = (Literal(b"boot" * 128), Zeros(MIB - 512), NOISE, Zeros(40 * MIB), TEXT)


class Container(NamedTuple):
    """A rule, how qemu-img calls what it gives, and whether qemu-img can check that alone."""

    name: str
    rule: Any
    options: Any = NoOptions()
    is_checked: bool = True


CONTAINERS = (
    Container("qcow2", rules.QCOW2),
    Container("vpc", rules.VHD, rules.VhdOptions(), is_checked=False),
    Container("vpc", rules.VHD, rules.VhdOptions(is_dynamic=True), is_checked=False),
    Container("vhdx", rules.VHDX),
    Container("vmdk", rules.VMDK),
)
SPARSE = tuple(each for each in CONTAINERS if each.rule is not rules.VHD or each.options.is_dynamic)
EACH = pytest.mark.parametrize("container", CONTAINERS, ids=["qcow2", "vhd", "dynamic vhd", "vhdx", "vmdk"])


def disk_of(size: int) -> Extents:
    parts = (*PAYLOAD, Zeros(size - Extents.of(PAYLOAD).size - 512), Literal(b"last" * 128))
    return Extents.of(parts)


def kept(disk: Extents) -> Artifact:
    with BENCH.work() as work:
        return Artifact("extents", work.put(disk.encode()))


def written(artifact: Artifact, path: Path) -> Path:
    with BENCH.work() as work, path.open("wb") as out:
        write(work.extents(artifact), out, BENCH.store, holes=True)
    return path


def image_of(disk: Extents, container: Container, folder: Path) -> Path:
    artifact = BENCH.run(container.rule, container.options, disk=kept(disk))
    return written(artifact, folder / f"image.{container.name}")


def qemu_img(*arguments: str | Path) -> str:
    tool("qemu-img")
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def size_of(image: Path, container: Container) -> int:
    found: int = json.loads(qemu_img("info", "-f", container.name, "--output", "json", image))["virtual-size"]
    return found


def check(disk: Extents, container: Container, folder: Path) -> Path:
    """The image, once qemu-img found nothing wrong with it, and nothing in it but the disk."""
    raw = written(kept(disk), folder / "raw")
    image = image_of(disk, container, folder)
    if container.is_checked:
        qemu_img("check", "-f", container.name, image)
    assert disk.size == size_of(image, container)
    # Strict: sizes must agree too, and what is left out must be left out.
    qemu_img("compare", "-f", container.name, "-F", "raw", image, raw)
    return image


# -- qemu-img


@EACH
def test_image_is_the_disk_and_converts_back_to_it(container: Container, tmp_path: Path) -> None:
    image = check(disk_of(256 * MIB), container, tmp_path)

    qemu_img("convert", "-f", container.name, "-O", "raw", image, tmp_path / "back")

    subprocess.run(["cmp", tmp_path / "back", tmp_path / "raw"], check=True)


@EACH
@settings(max_examples=6, deadline=None, suppress_health_check=[*HealthCheck])
@given(disk=disks(BENCH, largest_hole=100 * MIB))
def test_image_of_any_disk_is_that_disk(container: Container, tmp_path: Path, disk: Extents) -> None:
    check(disk, container, tmp_path)


@pytest.mark.parametrize("container", SPARSE, ids=["qcow2", "dynamic vhd", "vhdx", "vmdk"])
@pytest.mark.parametrize("size", [25 * GIB, 1000 * GIB], ids=["25 GiB", "1000 GiB"])
def test_large_disk_is_as_large_as_what_it_holds(container: Container, size: int, tmp_path: Path) -> None:
    image = image_of(disk_of(size), container, tmp_path)

    if container.is_checked:
        qemu_img("check", "-f", container.name, image)
    assert size == size_of(image, container)
    assert image.stat().st_size < 40 * MIB
    if container.name == "vhdx":
        return  # QEMU's driver does not tell what is left out
    held = json.loads(qemu_img("map", "-f", container.name, "--output", "json", image))
    assert size == sum(each["length"] for each in held)
    assert sum(each["length"] for each in held if each["data"] and not each["zero"]) < 20 * MIB


def test_dynamic_image_can_be_written_to(tmp_path: Path) -> None:
    """A block that was left out gets its place without damage to the others."""
    tool("qemu-io")
    for container in (each for each in SPARSE if each.rule is not rules.VMDK):
        raw = written(kept(disk_of(128 * MIB)), tmp_path / "raw")
        image = image_of(disk_of(128 * MIB), container, tmp_path)
        for name, path in (("raw", raw), (container.name, image)):
            command = ["qemu-io", "-f", name, "-c", "write -P 7 20M 1M", "-c", "write -P 8 1M 4k", str(path)]
            subprocess.run(command, capture_output=True, check=True)

        qemu_img("compare", "-f", container.name, "-F", "raw", image, raw)


# -- gzip and tar


def test_archive_for_compute_engine_reads_back(tmp_path: Path) -> None:
    tool("gzip")
    tool("tar")
    raw = written(kept(disk_of(GIB)), tmp_path / "raw")
    archive = written(BENCH.run(rules.GCP, disk=kept(disk_of(GIB))), tmp_path / "disk.tar.gz")

    with subprocess.Popen(["tar", "xzOf", archive, "disk.raw"], stdout=subprocess.PIPE) as unpacking:
        subprocess.run(["cmp", "-", raw], stdin=unpacking.stdout, check=True)
    assert 0 == unpacking.returncode
    assert archive.stat().st_size < 8 * MIB


def test_ova_unpacks_to_a_vmdk_of_the_disk(tmp_path: Path) -> None:
    tool("tar")
    raw = written(kept(disk_of(100 * MIB)), tmp_path / "raw")
    vmdk = BENCH.run(rules.VMDK, disk=kept(disk_of(100 * MIB)))
    archive = written(
        BENCH.run(rules.OVA, rules.OvaOptions("machine"), disk=kept(disk_of(100 * MIB)), image=vmdk),
        tmp_path / "machine.ova",
    )

    subprocess.run(["tar", "xf", archive, "-C", tmp_path], check=True)

    qemu_img("compare", "-f", "vmdk", "-F", "raw", tmp_path / "machine-disk1.vmdk", raw)
    assert (tmp_path / "machine.ovf").read_text().startswith("<?xml")
