"""Segments, compressors, and the nodes formats ask for: D1's rules on real output."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest
import zstandard

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Slice, Zeros
from kitbuild.node import Node
from kitbuild.rule import Artifact
from kitbuild.rules.assemble import kernel
from kitbuild.rules.format import docker, kernel_initrd, members, segment, tar, tar_kernel_initrd
from kitbuild.rules.format.compression import compressor, tools
from kitbuild.rules.format.file import FILE, TEXT, FileOptions, TextOptions
from kitbuild.rules.format.segment import SegmentOptions
from kitbuild.rules.layout.ustar import TRAILER
from kitbuild.system import MTIME, Compression, Format, Part, System
from kitbuild.tree import Entry
from tests.support.cpio import Kernel, records
from tests.support.tars import read
from tests.support.trees import Bench

COMPRESSIONS: list[Compression] = ["gzip", "zstd", "none"]
NOISE = random.Random(7).randbytes(700_000)
BENCH = Bench()


def file(path: str, content: bytes = b"") -> Entry:
    return Entry(path, "file", 0o644, content=BENCH.slice(content))


def folder(path: str) -> Entry:
    return Entry(path, "directory", 0o755)


ENTRIES = [folder("d"), file("d/small", b"text" * 99), file("d/large", NOISE), file("e", b"x"), file("empty")]


def packed(entries: list[Entry], compression: Compression, *, keeps_boot: bool = False) -> Extents:
    artifact = BENCH.run(segment.RULE, SegmentOptions(compression, keeps_boot), tree=BENCH.put(entries))
    with BENCH.work() as work:
        return work.extents(artifact)


def bytes_of(extents: Extents) -> bytes:
    return BENCH.bytes_of(BENCH.run(members.JOIN, members.JoinOptions(), pieces=[kept(extents)]))


def kept(extents: Extents) -> Artifact:
    return BENCH.blob(extents.encode())._replace(kind="extents")


def plain(content: bytes, compression: Compression) -> bytes:
    if compression == "gzip":
        return gzip.decompress(content)
    if compression == "zstd":
        stripped = content.rstrip(b"\0") if len(content) % 4 == 0 else content
        stream = zstandard.ZstdDecompressor().decompressobj()
        found = stream.decompress(content)
        assert stream.unused_data == content[len(content) - len(stream.unused_data) :]
        assert stream.unused_data.strip(b"\0") == b""
        assert stripped
        return found
    return content


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_segment_is_one_whole_archive_that_ends_on_512_bytes(compression: Compression) -> None:
    content = bytes_of(packed(ENTRIES, compression))

    archive = plain(content, compression)

    assert 0 == len(archive) % 512
    assert [b"d", b"d/large", b"d/small", b"e", b"empty", b"TRAILER!!!"] == [
        record.name for record in records(archive)
    ]
    assert NOISE == next(record.body for record in records(archive) if record.name == b"d/large")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_segment_is_padded_so_that_a_plain_one_can_follow(compression: Compression) -> None:
    assert {0} == {packed([file("a", b"x" * size)], compression).size % 4 for size in range(40)}


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_many_small_files_are_compressed_as_they_come(compression: Compression) -> None:
    entries = [file(f"f{number}", NOISE[number : number + 60_000]) for number in range(12)]

    archive = plain(bytes_of(packed(entries, compression)), compression)

    assert bytes_of(packed(entries, "none")) == archive


def test_gzip_segment_is_one_member_with_the_plainest_header() -> None:
    content = bytes_of(packed(ENTRIES, "gzip"))
    stream = zlib.decompressobj(31)

    stream.decompress(content)

    assert b"\x1f\x8b\x08\0\0\0\0\0\0\xff" == content[:10]
    assert stream.eof
    assert stream.unused_data in (b"", b"\0", b"\0\0", b"\0\0\0")


def test_zstd_segment_is_one_frame_with_a_window_the_kernel_takes() -> None:
    content = bytes_of(packed(ENTRIES, "zstd"))
    parameters = zstandard.get_frame_parameters(content)

    assert parameters.window_size <= 8 << 20
    assert 0 == parameters.dict_id
    assert NOISE in plain(content, "zstd")


def test_no_segment_begins_with_zeros_once_decompressed() -> None:
    for compression in COMPRESSIONS:
        assert plain(bytes_of(packed([file("a")], compression)), compression).startswith(b"070701")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_tree_without_entries_is_no_segment(compression: Compression) -> None:
    assert Extents.of([]) == packed([], compression)
    assert Extents.of([]) == packed([file("boot/kernel", b"k")], compression)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_same_tree_gives_the_same_bytes(compression: Compression) -> None:
    assert packed(ENTRIES, compression) == packed(ENTRIES, compression)


def test_uncompressed_segment_shares_the_layers_bytes() -> None:
    large = next(entry.content for entry in ENTRIES if entry.path == "d/large")

    assert large in packed(ENTRIES, "none").parts


def names(extents: Extents) -> list[str]:
    return [record.name.decode() for record in records(bytes_of(extents))][:-1]


def test_what_boot_loaders_read_is_left_out() -> None:
    entries = [
        folder("boot"),
        file("boot/kernel", b"k"),
        folder("boot/d"),
        file("boot/d/x"),
        file("bootstrap"),
    ]

    assert ["boot", "bootstrap"] == names(packed(entries, "none"))
    assert 5 == len(names(packed(entries, "none", keeps_boot=True)))


def test_other_name_of_a_file_of_the_boot_loader_keeps_it() -> None:
    entries = [file("boot/a", b"data"), Entry("z", "hardlink", 0o644, target="boot/a")]

    (record, _) = records(bytes_of(packed(entries, "none")))

    assert (b"z", b"data", 1) == (record.name, record.body, record.links)


def test_file_of_4_gib_is_refused_before_it_is_read() -> None:
    whole = BENCH.blob(b"")
    content = Slice(whole.digest._replace(size=1 << 32), 0, 1 << 32)

    with pytest.raises(RuleError, match="an initrd holds files of less than 4 GiB"):
        packed([Entry("a", "file", 0o644, content=content)], "gzip")


# -- one after another


def test_segments_of_all_compressions_follow_each_other() -> None:
    booted = Kernel()
    compressions: list[Compression] = ["gzip", "none", "gzip", "gzip", "none"]
    parts = [
        packed([folder("a"), file("a/1", b"one" * count)], compression)
        for count, compression in enumerate(compressions)
    ]

    booted.unpack(bytes_of(Extents.of([part for extents in parts for part in extents.parts])))

    assert b"one" * 4 == booted.plain()["a/1"][3]


def test_hard_links_of_one_segment_do_not_reach_into_the_next() -> None:
    first = [file("a", b"1"), Entry("b", "hardlink", 0o644, target="a")]
    second = [file("c", b"2"), Entry("d", "hardlink", 0o644, target="c")]
    booted = Kernel()

    for entries in (first, second):
        booted.unpack(bytes_of(packed(entries, "gzip")))

    assert {frozenset("ab"), frozenset("cd")} == booted.shared()
    assert b"1" == booted.plain()["b"][3]


# -- compressors


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("pieces", [[], [b""], [b"a"], [NOISE, b"", b"z" * 3_000_000, NOISE[:9]]])
def test_compressed_stream_reads_back(compression: Compression, pieces: list[bytes]) -> None:
    compressing = compressor(compression)

    stream = b"".join(compressing.compress(piece) for piece in pieces) + compressing.flush()

    assert b"".join(pieces) == plain(stream, compression)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_tools_name_library_version_and_level(compression: Compression) -> None:
    ((name, version),) = tools(compression).items()

    assert name in ("isal", "zstd")
    assert "level" in version
    assert version[0].isdigit()
    assert tools(compression) == segment.RULE.tools(SegmentOptions(compression))


def test_no_compression_needs_no_tool() -> None:
    assert {} == tools("none")


# -- files and texts


def test_file_of_a_tree_is_taken_and_padded() -> None:
    tree = BENCH.put([file("boot/kernel", b"12345"), file("empty")])

    def taken(path: str, alignment: int) -> bytes:
        return BENCH.bytes_of(BENCH.run(FILE, FileOptions(path, alignment), tree=tree))

    assert b"12345" == taken("boot/kernel", 1)
    assert b"12345\0\0\0" == taken("boot/kernel", 4)
    assert b"" == taken("empty", 4)


def test_file_that_is_not_in_the_tree_is_told() -> None:
    with pytest.raises(RuleError, match="no `a` in the tree"):
        BENCH.run(FILE, FileOptions("a"), tree=BENCH.put([]))


def test_text_may_hold_any_bytes() -> None:
    assert b"\xffa" == BENCH.bytes_of(BENCH.run(TEXT, TextOptions("\udcffa")))


def test_joined_pieces_end_with_the_tail() -> None:
    pieces = [kept(Extents.of([Literal(b"ab")])), kept(Extents.of([Zeros(2)]))]

    assert b"ab\0\0c" == BENCH.bytes_of(BENCH.run(members.JOIN, members.JoinOptions(b"c"), pieces=pieces))


# -- tar members


def test_members_carry_source_and_location() -> None:
    tree = BENCH.put([file("a", b"1"), file("b", b"2"), Entry("", "directory", 0o755)])
    options = members.MembersOptions("docker.io/t/a:v1", "files", (("b", "files[1]"),))

    archive = BENCH.bytes_of(BENCH.run(members.RULE, options, tree=tree)) + TRAILER

    assert ["./", "a", "b"] == [member.name for member in read(archive)]
    assert 2 == archive.count(b"LINUXKIT.location=files\n")
    assert 1 == archive.count(b"LINUXKIT.location=files[1]\n")
    assert 3 == archive.count(b"LINUXKIT.source=docker.io/t/a:v1\n")


def test_members_of_a_part_without_entries_are_nothing() -> None:
    options = members.MembersOptions("s", "l")

    assert b"" == BENCH.bytes_of(BENCH.run(members.RULE, options, tree=BENCH.put([])))


# -- formats


def part(name: str, *, in_initrd: bool = True) -> Part:
    return Part(
        name,
        Node(name, kernel.CMDLINE, kernel.CmdlineOptions("x")),
        "source",
        "location",
        in_initrd=in_initrd,
    )


def system(*, has_kernel: bool = True, microcode: bool = False, cmdline: str = "quiet") -> System:
    tree = Node("kernel: boot", kernel.CMDLINE, kernel.CmdlineOptions("x"))
    parts = (part("one"), part("two"), part("loader", in_initrd=False))
    return System(parts, kernel=tree if has_kernel else None, microcode=microcode, cmdline=cmdline)


def outputs(formats: tuple[Format, ...], name: str, given: System) -> dict[str, Node]:
    (found,) = [each for each in formats if each.name == name]
    return dict(found.outputs(given))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (system(), ["-kernel", "-cmdline", "-initrd.img"]),
        (system(cmdline=""), ["-kernel", "-initrd.img"]),
        (system(has_kernel=False), ["-initrd.img"]),
        (system(microcode=True), ["-kernel", "-cmdline", "-initrd.img"]),
    ],
)
def test_kernel_and_initrd_are_the_files_there_are(given: System, expected: list[str]) -> None:
    assert expected == list(kernel_initrd.FORMAT.outputs(given))


def test_initrd_is_a_segment_for_every_part_that_belongs_there() -> None:
    node = kernel_initrd.FORMAT.outputs(system())["-initrd.img"]

    assert ["one: segment", "two: segment"] == [piece.name for piece in node.inputs["pieces"]]


def test_microcode_stands_first_and_padded() -> None:
    node = kernel_initrd.FORMAT.outputs(system(microcode=True))["-initrd.img"]

    first, second = node.inputs["pieces"]
    assert ("boot/ucode.cpio", 4) == (first.options.path, first.options.alignment)
    assert "initrd" == second.name


def test_formats_share_their_nodes() -> None:
    given = system(microcode=True)

    files = kernel_initrd.FORMAT.outputs(given)
    (single,) = tar_kernel_initrd.FORMAT.outputs(given).values()

    assert ("kernel", "initrd.img", "cmdline", "ucode.cpio") == single.options.names
    assert files["-kernel"] is single.inputs["files"][0]
    assert files["-initrd.img"].inputs["pieces"][1] is single.inputs["files"][1]


def test_tar_of_kernel_and_initrd_holds_what_there_is() -> None:
    (node,) = tar_kernel_initrd.FORMAT.outputs(system(has_kernel=False)).values()

    assert ("initrd.img",) == node.options.names


def test_tar_of_files_has_headers_padding_and_trailer() -> None:
    files = [kept(Extents.of([Literal(b"k" * 700)])), kept(Extents.of([]))]
    options = tar_kernel_initrd.ArchiveOptions(("kernel", "cmdline"))

    archive = BENCH.bytes_of(BENCH.run(tar_kernel_initrd.RULE, options, files=files))

    found = read(archive)
    assert [("kernel", 700, 0o644), ("cmdline", 0, 0o644)] == [
        (one.name, one.size, one.mode) for one in found
    ]
    assert 512 + 1024 + 512 + 1024 == len(archive)
    assert {MTIME} == {member.mtime for member in found}


def test_tar_holds_the_members_of_every_part_and_ends_with_two_blocks() -> None:
    node = tar.FORMAT.outputs(system())[".tar"]

    assert ["one: tar members", "two: tar members", "loader: tar members"] == [
        piece.name for piece in node.inputs["pieces"]
    ]
    assert bytes(1024) == node.options.tail


def test_tar_for_docker_ends_with_its_dockerfile() -> None:
    node = docker.FORMAT.outputs(system())[".docker"]

    (member,) = read(node.options.tail)

    assert ("Dockerfile", 54, 0o644, MTIME) == (member.name, member.size, member.mode, member.mtime)
    text = b'\nFROM scratch\n\nCOPY . ./\n\nENTRYPOINT ["/bin/rc.init"]\n'
    assert text == node.options.tail[512:566]
    assert 512 + 512 + 1024 == len(node.options.tail)


def test_only_tars_are_streams() -> None:
    every = (tar.FORMAT, docker.FORMAT, kernel_initrd.FORMAT, tar_kernel_initrd.FORMAT)

    assert ["tar", "docker"] == [each.name for each in every if each.stream]
