"""Sections appended to EFI programs, read back by a reader of their own."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.digest import Digest
from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Slice, Zeros
from kitbuild.rules.layout import pe
from tests.support.pe import Program, program

CONTENT = b"what the stub does"


def of(content: bytes) -> Extents:
    return Extents.of([Literal(content)])


def bytes_of(extents: Extents) -> bytes:
    return b"".join(part.content if isinstance(part, Literal) else bytes(part.size) for part in extents.parts)


def appended(stub: bytes, *sections: pe.Section) -> bytes:
    return bytes_of(pe.append(of(stub), sections, head=stub[:4096]))


def read(stub: bytes, *sections: pe.Section) -> Program:
    return Program.read(appended(stub, *sections))


def test_sections_are_found_again_with_their_contents() -> None:
    found = read(program(), pe.Section(".a", of(b"first")), pe.Section(".second", of(b"x" * 5000)))

    assert [".text", ".a", ".second"] == [section.name for section in found.sections]
    assert [b"first", b"x" * 5000] == [section.content for section in found.sections[1:]]


def test_what_the_stub_brought_stays_where_it_was() -> None:
    stub = program(content=CONTENT, time=77)

    found = read(stub, pe.Section(".a", of(b"first")))

    assert Program.read(stub).sections == found.sections[:1]
    assert 77 == found.time
    assert Program.read(stub).entry == found.entry


@pytest.mark.parametrize("section_alignment", [512, 4096, 65536])
def test_image_size_covers_every_section_and_none_overlap_in_memory(section_alignment: int) -> None:
    stub = program(section_alignment=section_alignment)

    found = read(stub, pe.Section(".a", of(b"a" * 9000)), pe.Section(".b", of(b"b"), memory_bytes=70_000))

    assert 70_000 == found.sections[-1].memory_bytes
    assert all(section.address % max(section_alignment, 4096) == 0 for section in found.sections[1:])
    assert found.overlaps == []
    assert found.sections[-1].address + 70_000 <= found.image_bytes
    assert found.image_bytes % max(section_alignment, 4096) == 0


def test_memory_begins_after_all_that_the_stub_claims() -> None:
    found = read(program(image_bytes=123_456), pe.Section(".a", of(b"a")))

    assert found.sections[-1].address >= 123_456


def test_contents_but_the_first_start_on_pages_and_nothing_lies_between_sections() -> None:
    stub = program()

    found = read(
        stub, *(pe.Section(f".{number}", of(b"x" * size)) for number, size in enumerate((9, 5000, 8192)))
    )

    assert [0, 0] == [section.offset % 4096 for section in found.sections[2:]]
    assert found.gaps == []
    assert found.file_bytes == found.sections[-1].offset + found.sections[-1].file_bytes


def test_last_section_is_not_padded_beyond_what_files_are_aligned_to() -> None:
    found = read(
        program(), pe.Section(".a", of(b"a")), pe.Section(".linux", of(b"x" * 1024), memory_bytes=9000)
    )

    assert 1024 == found.sections[-1].file_bytes
    assert b"x" * 1024 == found.sections[-1].content


def test_symbols_signature_and_check_sum_of_the_stub_are_gone() -> None:
    stub = program(symbols=b"symbols and a signature", signature=(5000, 8), check_sum=99)

    found = read(stub, pe.Section(".a", of(b"first")))

    assert (0, 0) == found.symbols
    assert (0, 0) == found.signature
    assert 0 == found.check_sum
    assert b"symbols" not in appended(stub, pe.Section(".a", of(b"first")))


def test_sizes_of_code_and_data_grow_by_the_sections_of_their_kind() -> None:
    before = Program.read(program())

    found = read(program(), pe.Section(".data", of(b"1")), pe.Section(".code", of(b"2" * 5000), pe.CODE))

    _, data, code = found.sections
    assert before.code_bytes + code.file_bytes == found.code_bytes
    assert before.data_bytes + data.file_bytes == found.data_bytes
    assert (0x4000_0040, 0x4000_0020) == (data.kind, code.kind)


def test_payload_stays_a_slice() -> None:
    payload = Slice(Digest("ab" * 32, 1 << 31), 0, 1 << 31)
    stub = program()

    image = pe.append(of(stub), [pe.Section(".initrd", Extents.of([payload]))], head=stub)

    assert payload in image.parts
    assert sum(part.size for part in image.parts if isinstance(part, Literal)) < 4096


def test_program_of_4_gib_is_refused() -> None:
    payload = Extents.of([Zeros((1 << 32) - 4096)])
    stub = program()

    with pytest.raises(RuleError, match="less than 4 GiB in all"):
        pe.append(of(stub), [pe.Section(".initrd", payload)], head=stub)


def test_memory_of_4_gib_is_refused() -> None:
    stub = program()

    with pytest.raises(RuleError, match="less than 4 GiB in all"):
        pe.append(of(stub), [pe.Section(".linux", of(b""), memory_bytes=(1 << 32) - 4096)], head=stub)


def test_header_without_room_is_refused() -> None:
    sections = [pe.Section(f".{number}", of(b"x")) for number in range(3)]

    with pytest.raises(RuleError, match="room for 3 more sections in the header of the boot stub, got 2"):
        appended(program(room=2), *sections)


def test_header_with_just_enough_room_is_taken() -> None:
    found = read(program(room=2), *(pe.Section(f".{number}", of(b"x")) for number in range(2)))

    assert 3 == len(found.sections)
    assert CONTENT in read(program(room=2, content=CONTENT), pe.Section(".a", of(b"x"))).sections[0].content


def test_image_instead_of_a_stub_is_refused() -> None:
    image = appended(program(), pe.Section(".linux", of(b"kernel")))

    with pytest.raises(RuleError, match=r"without a kernel, got one with a section `\.linux`"):
        appended(image, pe.Section(".linux", of(b"kernel")))


def test_head_need_not_hold_headers_longer_than_their_table() -> None:
    stub = program(content=CONTENT, header_bytes=20_480, room=500)

    found = Program.read(bytes_of(pe.append(of(stub), [pe.Section(".a", of(b"x"))], head=stub[:4096])))

    assert [CONTENT, b"x"] == [section.content for section in found.sections]


@pytest.mark.parametrize(
    "stub",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"MZ", id="two bytes"),
        pytest.param(b"\x7fELF" + bytes(4000), id="ELF"),
        pytest.param(b"MZ" + bytes(58) + b"\xff\xff\xff\xff" + bytes(4000), id="header beyond its end"),
        pytest.param(program()[:200], id="cut in its header"),
        pytest.param(program()[:1030], id="cut in its section"),
        pytest.param(program(magic=0x10B), id="32 bits"),
        pytest.param(program(section_alignment=0), id="no alignment"),
    ],
)
def test_what_is_no_stub_is_refused(stub: bytes) -> None:
    with pytest.raises(RuleError, match="expected a boot stub"):
        appended(stub, pe.Section(".a", of(b"x")))


@pytest.mark.parametrize("size", range(0, 200))
def test_no_head_however_short_is_an_accident(size: int) -> None:
    head = program()[:size]

    assert pe.machine(head) in (None, 0x8664)
    assert pe.program(head) is None


def test_bytes_are_those_they_have_always_been() -> None:
    image = appended(
        program(content=CONTENT),
        pe.Section(".a", of(b"first")),
        pe.Section(".b", of(b"second"), pe.CODE, 9000),
    )

    assert (
        "fe59d91a8eff32f672e4e824b3a5fcf76dcafec82950ea214939fd036bb68d7e"
        == hashlib.sha256(image).hexdigest()
    )


@given(
    sizes=st.lists(st.sampled_from([0, 1, 511, 512, 4095, 4096, 4097, 70_001]), min_size=1, max_size=5),
    section_alignment=st.sampled_from([512, 4096]),
    stub_bytes=st.integers(0, 9000),
)
def test_any_sizes_are_read_back(sizes: list[int], section_alignment: int, stub_bytes: int) -> None:
    stub = program(content=b"s" * stub_bytes, section_alignment=section_alignment)
    contents = [bytes([number + 65]) * size for number, size in enumerate(sizes)]

    found = read(stub, *(pe.Section(f".{number}", of(content)) for number, content in enumerate(contents)))

    assert contents == [section.content for section in found.sections[1:]]
    assert found.overlaps == []
    assert found.gaps == []
