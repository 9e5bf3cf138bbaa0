"""streamOptimized VMDK: a compressed disk that can be read from front to back, as VMware and VirtualBox import it.

    header | descriptor | grains of table 0, table 0 | grains of table 1, table 1 | ... | directory | footer | end

Before each grain stands its sector and length, before each table a marker with its type; all start on sectors of
512 bytes. Grains of zeros are left out. Source: VMware "Virtual Disk Format 5.0", "Stream-Optimized Compressed
Sparse Extents"; RFC 1950 for what a grain holds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import groupby

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Slice
from kitbuild.rules.layout import deflate as blocks
from kitbuild.rules.layout.deflate import Chunk, Deflate
from kitbuild.rules.layout.gpt import guid

_SECTOR = 512
_GRAIN_BYTES = 1 << 16
_GRAIN_SECTORS = _GRAIN_BYTES // _SECTOR
_TABLE_ENTRIES = 512
_TABLE_SECTORS = _TABLE_ENTRIES * 4 // _SECTOR
_DESCRIPTOR_SECTOR = 1
_DESCRIPTOR_SECTORS = 20
# Where grains start: on a grain of the file.
_OVERHEAD_SECTORS = _GRAIN_SECTORS
_DIRECTORY_AT_END = 0xFFFF_FFFF_FFFF_FFFF
# Line ends can be checked, grains are compressed, there are markers; and deflate is how.
_FLAGS = 1 | 1 << 16 | 1 << 17
_DEFLATE = 1
_TABLE, _DIRECTORY, _FOOTER, _END = 1, 2, 3, 0
_MAX_SECTORS = 1 << 32
# Geometry of disks at LSI Logic adapters.
_HEADS, _TRACK_SECTORS = 255, 63
_ZLIB_HEADER = b"\x78\x01"
# A grain that does not shrink: two stored blocks, header and checksum. Readers have room for one sector beyond a
# grain (VirtualBox, vmdkAllocStreamBuffers), which this and the marker before it fit in.
_MAX_STREAM_BYTES = len(_ZLIB_HEADER) + 2 * 5 + _GRAIN_BYTES + 4


def pieces(disk: Extents, *, deflate: Deflate, read: Callable[[Slice], bytes]) -> Iterator[bytes | Slice]:
    """The VMDK of a raw disk of whole sectors: bytes to take as they are, slices between.

    Every byte of payload is read once, for the checksum of its grain. Raises RuleError above 2 TiB.
    """
    sectors = disk.size // _SECTOR
    if sectors > _MAX_SECTORS:
        raise RuleError(
            f"expected a disk of at most 2 TiB for a VMDK, got {disk.size} bytes",
            hint="choose a smaller `--size`",
        )
    yield _header(sectors, _DIRECTORY_AT_END) + _descriptor(disk).ljust(_DESCRIPTOR_SECTORS * _SECTOR, b"\0")
    yield bytes((_OVERHEAD_SECTORS - _DESCRIPTOR_SECTOR - _DESCRIPTOR_SECTORS) * _SECTOR)
    directory = [0] * -(-sectors // (_GRAIN_SECTORS * _TABLE_ENTRIES))
    position = _OVERHEAD_SECTORS
    groups = blocks.chunks(disk, _GRAIN_BYTES, deflate=deflate, read=read)
    grains = (grain for group in groups for grain in group)
    for number, members in groupby(grains, lambda grain: grain.number // _TABLE_ENTRIES):
        table = [0] * _TABLE_ENTRIES
        for grain in members:
            table[grain.number % _TABLE_ENTRIES] = position
            size = 0
            for piece in _grain(grain, deflate, read):
                yield piece
                size += len(piece) if isinstance(piece, bytes) else piece.size
            yield bytes(-size % _SECTOR)
            position += -(-size // _SECTOR)
        directory[number] = position + 1
        yield _marker(_TABLE_SECTORS, _TABLE) + struct.pack(f"<{_TABLE_ENTRIES}I", *table)
        position += 1 + _TABLE_SECTORS
    yield _end(sectors, position + 1, directory)


def _grain(grain: Chunk, deflate: Deflate, read: Callable[[Slice], bytes]) -> Iterator[bytes | Slice]:
    content = blocks.content(grain, read).ljust(_GRAIN_BYTES, b"\0")
    checksum = struct.pack(">I", deflate.adler32(content))
    sector = grain.number * _GRAIN_SECTORS
    if not grain.is_stored:
        stream = _ZLIB_HEADER + deflate.blocks(content) + blocks.END + checksum
        if len(stream) <= _MAX_STREAM_BYTES:
            yield struct.pack("<QI", sector, len(stream)) + stream
            return
    # One byte more than a stored block can hold: it goes into a second one, beside the checksum.
    first = blocks.STORED_BYTES
    yield struct.pack("<QI", sector, _MAX_STREAM_BYTES) + _ZLIB_HEADER + blocks.stored(first)
    (payload,) = grain.content.parts if grain.is_stored else [None]
    yield Slice(payload.blob, payload.offset, first) if isinstance(payload, Slice) else content[:first]
    yield b"\x01" + blocks.stored(1)[1:] + content[first:] + checksum


def _end(sectors: int, position: int, directory: list[int]) -> bytes:
    table = struct.pack(f"<{len(directory)}I", *directory)
    size = -(-len(table) // _SECTOR)
    return (
        _marker(size, _DIRECTORY)
        + table.ljust(size * _SECTOR, b"\0")
        + _marker(1, _FOOTER)
        + _header(sectors, position)
        + _marker(0, _END)
    )


def _marker(sectors: int, kind: int) -> bytes:
    return struct.pack("<QII", sectors, 0, kind).ljust(_SECTOR, b"\0")


def _header(sectors: int, directory: int) -> bytes:
    return struct.pack(
        "<4sIIQQQQIQQQB4sH",
        b"KDMV",
        3,  # version
        _FLAGS,
        sectors,
        _GRAIN_SECTORS,
        _DESCRIPTOR_SECTOR,
        _DESCRIPTOR_SECTORS,
        _TABLE_ENTRIES,
        0,  # no second directory
        directory,
        _OVERHEAD_SECTORS,
        0,  # it was closed well
        b"\n \r\n",
        _DEFLATE,
    ).ljust(_SECTOR, b"\0")


def _descriptor(disk: Extents) -> bytes:
    """The text about the disk: virtual hardware 6 as LinuxKit's, identifiers from the content."""
    from uuid import UUID

    sectors = disk.size // _SECTOR
    content = disk.identity("vmdk content")[:16].hex()
    if content.endswith(("ffffffff", "fffffffe")):  # these stand for no content
        content = content[:-8] + "00000000"
    image, change = (UUID(bytes_le=guid(disk.identity(f"vmdk {name}"))) for name in ("image", "change"))
    nothing = UUID(int=0)
    lines = [
        "# Disk DescriptorFile",
        "version=1",
        f"CID={content[-8:]}",
        "parentCID=ffffffff",
        'createType="streamOptimized"',
        "",
        "# Extent description",
        f'RW {sectors} SPARSE "disk.vmdk"',
        "",
        "# The Disk Data Base",
        "#DDB",
        "",
        'ddb.virtualHWVersion = "6"',
        f'ddb.geometry.cylinders = "{min(sectors // (_HEADS * _TRACK_SECTORS), 65535)}"',
        f'ddb.geometry.heads = "{_HEADS}"',
        f'ddb.geometry.sectors = "{_TRACK_SECTORS}"',
        'ddb.adapterType = "lsilogic"',
        'ddb.toolsVersion = "2147483647"',
        f'ddb.longContentID = "{content}"',
        f'ddb.uuid.image="{image}"',
        f'ddb.uuid.modification="{change}"',
        f'ddb.uuid.parent="{nothing}"',
        f'ddb.uuid.parentmodification="{nothing}"',
        "",
    ]
    return "\n".join(lines).encode()
