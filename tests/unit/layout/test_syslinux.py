from __future__ import annotations

import struct

import pytest

from kitbuild.errors import RuleError
from kitbuild.rules.layout import syslinux
from tests.support.syslinux import MODULE, SYSTEM_SECTORS, syslinux_program

POINTERS = 0x100


def u32(content: bytes, offset: int) -> int:
    return int.from_bytes(content[offset : offset + 4], "little")


def test_the_program_is_taken_apart() -> None:
    loader = syslinux.loader(syslinux_program())

    assert b"\xebX\x90SYSLINUX" == loader.boot_sector[:11]
    assert 512 == len(loader.boot_sector)
    assert MODULE == loader.module
    assert (SYSTEM_SECTORS + 2) * 512 == len(loader.system)


def test_nothing_is_remembered_yet() -> None:
    first, second = (syslinux.loader(syslinux_program()).system[offset:][:512] for offset in (-1024, -512))

    assert first == second
    head, check, tail = u32(first, 0), u32(first, 4), u32(first, 508)
    assert (0x5A2D2FA5, 0xDD28BF64, bytes(500)) == (head, tail, first[8:508])
    assert 0xA3041767 == check


def test_boot_sector_and_system_know_where_the_sectors_lie() -> None:
    made = syslinux.installed(syslinux.loader(syslinux_program()), place=100 * 512)

    assert (100, 0) == (u32(made.boot_sector, 0x11A), u32(made.boot_sector, 0x120))
    extents = [struct.unpack_from("<QH", made.system, 0x1EE + 10 * number) for number in range(4)]
    assert [(101, 127), (228, SYSTEM_SECTORS - 1 - 127), (0, 0), (0, 0)] == extents
    assert (100 + SYSTEM_SECTORS, 101 + SYSTEM_SECTORS) == struct.unpack_from("<QQ", made.system, 0x120)


def test_a_place_beyond_32_bits_of_sectors_is_split() -> None:
    made = syslinux.installed(syslinux.loader(syslinux_program()), place=(3 << 32) * 512 + 5 * 512)

    assert (5, 3) == (u32(made.boot_sector, 0x11A), u32(made.boot_sector, 0x120))


def test_sums_of_all_words_give_the_magic_number() -> None:
    made = syslinux.installed(syslinux.loader(syslinux_program()), place=4096)

    sectors, remembered, words = struct.unpack_from("<HHI", made.system, 32)
    assert (SYSTEM_SECTORS, 2, SYSTEM_SECTORS * 128) == (sectors, remembered, words)
    assert 0x3EB202FE == sum(struct.unpack_from(f"<{words}I", made.system)) & 0xFFFFFFFF


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x7fELF" + bytes(5000), id="another program"),
        pytest.param(syslinux_program().replace(b"\xfe\x02\xb2\x3e", bytes(4)), id="no patch area"),
        pytest.param(syslinux_program().replace(b"\x7fELF\x01", b"\x7fELF\x02"), id="no module"),
        pytest.param(syslinux_program()[:-5], id="cut off in the module"),
        pytest.param(syslinux_program(room=1), id="no room for the extents"),
        pytest.param(syslinux_program(pointers=0xFFFF), id="pointers outside"),
    ],
)
def test_what_is_not_the_installer_is_refused(program: bytes) -> None:
    with pytest.raises(RuleError, match="expected the program `syslinux` of SYSLINUX 6") as error:
        syslinux.installed(syslinux.loader(program), place=4096)

    assert error.value.hint
