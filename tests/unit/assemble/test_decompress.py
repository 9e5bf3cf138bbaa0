"""Kernels without their compression."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from struct import pack, pack_into

import pytest
import zstandard

from kitbuild.errors import RuleError
from kitbuild.extents import Slice
from kitbuild.rule import Artifact, NoOptions
from kitbuild.rules.assemble import decompress
from kitbuild.rules.assemble.decompress import decompressed
from kitbuild.rules.assemble.kernel import BOOT, BootOptions
from kitbuild.tree import Entry, Tree
from tests.support.work import FolderWork, run

VMLINUX = b"\x7fELF" + bytes(range(256)) * 3000


def xz(content: bytes) -> bytes:
    """As the kernel's makefiles do it: with a filter for x86 code."""
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "dict_size": 32 << 20}]
    return lzma.compress(content, lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=filters)


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(content)


def bzimage(payload: bytes, *, sectors: int = 3, behind: bytes = b"") -> bytes:
    """A kernel for boot loaders: boot sector, set-up code, an unpacker, the payload, and more."""
    setup = bytearray((sectors or 4) * 512 + 512)
    unpacker = b"\x90" * 700
    setup[0x1F1] = sectors
    setup[0x1FE:0x200] = b"\x55\xaa"
    setup[0x202:0x206] = b"HdrS"
    pack_into("<II", setup, 0x248, len(unpacker), len(payload))
    return bytes(setup) + unpacker + payload + behind


def zboot(payload: bytes) -> bytes:
    """A kernel that is an EFI program which unpacks itself."""
    return b"MZ\0\0zimg" + pack("<II", 64, len(payload)) + bytes(48) + payload + b"behind"


def unpacked(kernel: bytes, folder: Path) -> bytes:
    work = FolderWork(NoOptions(), folder)
    # Somewhere inside a layer, as kernels are.
    layer = work.put(b"before" + kernel + b"after")
    return work.read(decompressed(Slice(layer, 6, len(kernel)), work))


@pytest.mark.parametrize("pack_up", [gzip.compress, xz, zstd], ids=["gzip", "xz", "zstd"])
@pytest.mark.parametrize("put_into", [bytes, bzimage, zboot], ids=["plain", "bzimage", "zboot"])
def test_the_kernel_comes_out_of_whatever_it_is_packed_in(
    pack_up: Callable[[bytes], bytes], put_into: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    kernel = put_into(pack_up(VMLINUX))

    assert unpacked(kernel, tmp_path) == VMLINUX


def test_the_length_that_kernel_makefiles_put_behind_the_payload_is_no_part_of_it(tmp_path: Path) -> None:
    kernel = bzimage(xz(VMLINUX) + pack("<I", len(VMLINUX)), behind=b"a signature")

    assert unpacked(kernel, tmp_path) == VMLINUX


def test_no_setup_sectors_mean_four(tmp_path: Path) -> None:
    assert unpacked(bzimage(gzip.compress(VMLINUX), sectors=0), tmp_path) == VMLINUX


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        pytest.param(VMLINUX, "got something else", id="not packed"),
        pytest.param(b"MZ\0\0zimg", "got something else", id="a scrap of zboot"),
        pytest.param(bzimage(VMLINUX), "at byte 2748, got no known packing", id="bzimage not packed"),
        pytest.param(bzimage(b"\x02\x21\x4c\x18"), "at byte 2748, got lz4", id="lz4"),
        pytest.param(zboot(bz2.compress(VMLINUX)), "at byte 64, got bzip2", id="bzip2"),
        pytest.param(gzip.compress(VMLINUX)[:-20], "ends in the middle of its gzip", id="cut off"),
        pytest.param(xz(VMLINUX)[:50] + bytes(50), "broken xz", id="broken"),
        pytest.param(zstd(VMLINUX)[:4] + b"\xff" * 50, "broken zstd", id="broken zstd"),
        pytest.param(bzimage(gzip.compress(VMLINUX))[:-9], "payload inside its", id="payload cut off"),
        pytest.param(bzimage(b""), "payload inside its", id="no payload"),
    ],
)
def test_anything_else_is_refused_and_leaves_nothing(kernel: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(RuleError, match=message):
        unpacked(kernel, tmp_path)

    assert len(FolderWork(NoOptions(), tmp_path).kept()) == 1


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress, "_MAX_BYTES", len(VMLINUX) - 1)

    with pytest.raises(RuleError, match="expected a kernel of at most"):
        unpacked(gzip.compress(VMLINUX), tmp_path)


def test_an_empty_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="got an empty file"):
        decompressed(None, FolderWork(NoOptions(), tmp_path))


def test_boot_takes_the_kernel_out_of_its_compression_only_if_asked(tmp_path: Path) -> None:
    packed = gzip.compress(VMLINUX)
    images = {"image": (image_of(packed, tmp_path),)}

    as_it_is = boot_kernel(FolderWork(BootOptions(), tmp_path, inputs=images))
    taken_out = boot_kernel(FolderWork(BootOptions(decompress=True), tmp_path, inputs=images))

    assert (as_it_is, taken_out) == (packed, VMLINUX)


def test_boot_names_the_kernel_it_cannot_decompress(tmp_path: Path) -> None:
    work = FolderWork(
        BootOptions(decompress=True), tmp_path, inputs={"image": (image_of(VMLINUX, tmp_path),)}
    )

    with pytest.raises(RuleError, match="`kernel` in the kernel image: expected a bzImage") as caught:
        run(BOOT, work)

    assert caught.value.hint == "build without `--decompress-kernel`"


def image_of(kernel: bytes, folder: Path) -> Artifact:
    work = FolderWork(NoOptions(), folder)
    blob = work.put(kernel)
    tree = Tree.of([Entry("kernel", "file", 0o600, content=Slice(blob, 0, blob.size))])
    return Artifact("tree", work.put(tree.encode()))


def boot_kernel(work: FolderWork[BootOptions]) -> bytes:
    entry = work.tree(run(BOOT, work)).by_path()["boot/kernel"]
    assert (entry.mode, entry.uid) == (0o600, 0)
    assert entry.content is not None
    return work.read(entry.content)
