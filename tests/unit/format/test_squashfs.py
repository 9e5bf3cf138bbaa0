"""squashfs images read back by a reader of their own."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Sequence

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib

from kitbuild.digest import Digest
from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Slice, Zeros
from kitbuild.node import Node
from kitbuild.rules.assemble import kernel
from kitbuild.rules.format import compression as streams
from kitbuild.rules.format import kernel_squashfs, squashfs, squashfs_data
from kitbuild.rules.format.compression import block_compressor
from kitbuild.rules.layout.squashfs import image as layout
from kitbuild.rules.layout.squashfs import inode
from kitbuild.rules.layout.squashfs.content import Indexed, Stored
from kitbuild.system import MTIME, Compression, Part, System, Target
from kitbuild.tree import Entry, Tree
from tests.support.squashfs import Found, Squashfs
from tests.support.trees import Bench
from tests.support.whole_trees import whole_trees

COMPRESSIONS: list[Compression] = ["gzip", "zstd", "none"]
EACH = pytest.mark.parametrize("compression", COMPRESSIONS)
BLOCK = 1 << 17
NOISE = random.Random(7).randbytes(3 * BLOCK)
TEXT = b"what files are made of, again and again\n" * 20_000
BENCH = Bench()
ROOT = Entry("", "directory", 0o755, mtime=MTIME)


def file(path: str, content: bytes = b"", **fields: object) -> Entry:
    return Entry(path, "file", 0o644, content=BENCH.slice(content))._replace(**fields)  # type: ignore[arg-type]


def folder(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, "directory", mode)


def hard(path: str, target: str) -> Entry:
    return Entry(path, "hardlink", 0o600, target=target)


def extents(
    entries: Sequence[Entry], compression: Compression = "gzip", parts: Sequence[Sequence[Entry]] = ()
) -> Extents:
    """The image of the entries, whose contents come from the parts; from themselves if there are none."""
    data = []
    if compression != "none":
        options = squashfs_data.DataOptions(compression)
        data = [
            BENCH.run(squashfs_data.RULE, options, tree=BENCH.put(part)) for part in parts or [list(entries)]
        ]
    tree = BENCH.put([ROOT, *entries] if all(entry.path for entry in entries) else entries)
    artifact = BENCH.run(squashfs.RULE, squashfs.SquashfsOptions(compression), tree=tree, data=data)
    with BENCH.work() as work:
        return work.extents(artifact)


def bytes_of(image: Extents) -> bytes:
    pieces = []
    for part in image.parts:
        if isinstance(part, Literal):
            pieces.append(part.content)
        else:
            pieces.append(bytes(part.size) if isinstance(part, Zeros) else BENCH.read(part))
    return b"".join(pieces)


def built(entries: Sequence[Entry], compression: Compression = "gzip") -> Squashfs:
    return Squashfs(bytes_of(extents(entries, compression)))


def expected(entries: Sequence[Entry]) -> dict[str, tuple[object, ...]]:
    """What the reader has to find, without numbers and types."""
    tree = Tree.of([ROOT, *entries] if all(entry.path for entry in entries) else entries).by_path()
    return {path: _expected(tree.get(entry.target, entry), entry) for path, entry in tree.items()}


def _expected(file: Entry, entry: Entry) -> tuple[object, ...]:
    if entry.kind != "hardlink":
        file = entry
    seconds = min(max(file.mtime // 10**9, 0), (1 << 32) - 1)
    target = file.target if file.kind == "symlink" else ""
    return (
        *(file.kind, file.mode, file.uid, file.gid, seconds, BENCH.read(file.content), target, file.device),
        tuple(pair for pair in file.xattrs if not pair[0].startswith("system.")),
    )


def plain(found: Found) -> tuple[object, ...]:
    return (
        *(found.kind, found.mode, found.uid, found.gid, found.mtime, found.content, found.target),
        *(found.device, found.xattrs),
    )


def check(entries: Sequence[Entry], compression: Compression) -> Squashfs:
    image = built(entries, compression)
    assert expected(entries) == {path: plain(found) for path, found in image.entries.items()}
    return image


CONTENTS = [
    BENCH.slice(content)
    for content in (
        *(b"", b"a", TEXT, NOISE, NOISE[:BLOCK], NOISE[5:9000]),
        *(bytes(BLOCK), bytes(BLOCK) + b"1", bytes(2 * BLOCK + 1)),
    )
]
EVERYTHING = [
    Entry("", "directory", 0o1751, 7, 8, MTIME + 10**9, xattrs=(("user.root", b"r"),)),
    Entry("block", "block", 0o660, 0, 6, device=(259, 70_000)),
    Entry("char", "char", 0o666, device=(1, 3), xattrs=(("security.a", b"1"),)),
    folder("dir", 0o1777),
    folder("dir/empty", 0o700),
    file("dir/text", TEXT, mtime=1_600_000_000_999_999_999),
    file("dir-a", b"sorts before what is in dir"),
    Entry("fifo", "fifo", 0o600),
    hard("hard", "dir/text"),
    Entry("link", "symlink", 0o777, target="/to/ü", xattrs=(("trusted.t", b"\0\xff"),)),
    file("noise", NOISE),
    file("su", b"x", mode=0o4755, uid=(1 << 32) - 1, gid=1000),
    file("zero"),
]


@EACH
def test_every_kind_comes_back_with_all_it_has(compression: Compression) -> None:
    check(EVERYTHING, compression)


@EACH
@pytest.mark.parametrize(
    "size", [0, 1, 8191, 8192, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 3 * BLOCK]
)
def test_contents_of_any_size_come_back(compression: Compression, size: int) -> None:
    check([file("noise", NOISE[:size]), file("text", TEXT[:size])], compression)


@pytest.mark.parametrize(
    ("compression", "expected"),
    [
        ("gzip", "c1f13c5c7ed77773105f8944e9c2cc822447d5d9d0c73fa92c57dcf61206f290"),
        ("zstd", "6b26d8af5bf4ba7285c9cdaffda08de9bcaf4eabd5207c78f8583e14384e0af2"),
        ("none", "f90d56daa486458850afe9a8d8c41f80958c404fa085a5edbcd2217d2a93a42b"),
    ],
)
def test_image_is_the_same_everywhere(compression: Compression, expected: str) -> None:
    """Another digest here is another image for everybody: raise the rules' versions (or compressors changed)."""
    assert expected == hashlib.sha256(bytes_of(extents(EVERYTHING, compression))).hexdigest()


@EACH
def test_two_images_of_one_tree_are_identical(compression: Compression) -> None:
    assert extents(EVERYTHING, compression) == extents(list(reversed(EVERYTHING)), compression)


def test_superblock_says_what_mksquashfs_says() -> None:
    image = built([file("a", TEXT)])

    assert (MTIME // 10**9, BLOCK, 1, 0xC0) == (image.mtime, image.block, image.compression, image.flags)


def test_image_without_compression_says_so() -> None:
    image = built([file("a", TEXT)], "none")

    assert (1, 0xC0 | 0x91B, 0) == (image.compression, image.flags, image.fragments)


def test_uncompressed_files_stay_slices_of_their_layers() -> None:
    content = BENCH.slice(NOISE)

    image = extents([Entry("a", "file", 0o644, content=content)], "none")

    assert content in image.parts
    assert 96 == image.parts[0].size


@EACH
def test_uncompressed_image_reads_no_file(compression: Compression) -> None:
    tree = BENCH.put([ROOT, file("a", TEXT)])
    read: list[Slice] = []
    with BENCH.work(squashfs.SquashfsOptions("none"), tree=tree) as work:
        work.read = read.append  # type: ignore[method-assign,assignment]

        squashfs.RULE.run(work)

    assert not read


# -- contents


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_small_files_share_a_fragment_and_large_ones_have_none(compression: Compression) -> None:
    small = [file(f"small{number}", b"%d" % number * 1000) for number in range(50)]

    image = check([*small, file("large", TEXT), file("whole", TEXT[:BLOCK])], compression)

    assert 1 == image.fragments
    assert {0} == {image.entries[entry.path].fragment for entry in small}
    assert {"large", "whole"} == {path for path, found in image.entries.items() if found.content[BLOCK - 1 :]}
    assert 0xFFFFFFFF == image.entries["large"].fragment == image.entries["whole"].fragment


def test_fragments_end_at_a_block() -> None:
    image = check([file(f"{number}", NOISE[number : number + 50_000]) for number in range(7)], "gzip")

    assert [0, 0, 1, 1, 2, 2, 3] == sorted(
        found.fragment for found in image.entries.values() if found.content
    )


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_blocks_of_zeros_are_not_there(compression: Compression) -> None:
    holes = bytes(BLOCK) + b"x" * BLOCK + bytes(5 * BLOCK + 1)

    image = check([file("holes", holes), file("zeros", bytes(3 * BLOCK))], compression)

    assert (6 * BLOCK + 1, 3 * BLOCK - 1) == (image.entries["holes"].sparse, image.entries["zeros"].sparse)
    assert 8192 > len(image.image)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_what_does_not_shrink_is_stored_as_it_is(compression: Compression) -> None:
    content = BENCH.slice(NOISE)
    assert content

    image = extents([Entry("a", "file", 0o644, content=content)], compression)

    assert len(NOISE) == image.parts[1].size
    assert NOISE == BENCH.read(image.parts[1])  # type: ignore[arg-type]


@EACH
def test_same_content_under_two_names_is_there_once(compression: Compression) -> None:
    one = extents([file("a", NOISE)], compression)

    two = extents([file("a", NOISE), file("b", NOISE)], compression)

    assert one.size == two.size


def test_content_that_two_parts_have_is_there_once() -> None:
    shared = [file(f"{number}", NOISE[number : number + 40_000]) for number in range(3)] + [file("x", NOISE)]

    first, second = shared, [*shared[:2], file("own", TEXT)]
    image = extents([*first, file("own", TEXT)], parts=[first, second])

    assert image.size < extents([*first], parts=[first]).size + 8192
    assert expected([*first, file("own", TEXT)]) == {
        path: plain(found) for path, found in Squashfs(bytes_of(image)).entries.items()
    }


def test_parts_with_the_same_layer_have_the_same_fragments_of_it() -> None:
    layer = BENCH.blob(NOISE).digest
    shared = [
        Entry(f"at{at}", "file", 0o644, content=Slice(layer, at, 9_000)) for at in range(0, 300_000, 9_000)
    ]
    parts = [[*shared, file("1", TEXT[:60_000])], [file("0", TEXT[1:60_000]), *shared]]
    blocks = []

    for part in parts:
        artifact = BENCH.run(squashfs_data.RULE, squashfs_data.DataOptions(), tree=BENCH.put(part))
        with BENCH.work() as work:
            (index, _) = work.extents(artifact).parts
        lines = BENCH.read(index).split(b"\n")  # type: ignore[arg-type]
        blocks.append([line for line in lines if line.startswith(b"F") and int(line[2:]) & 1 << 24])

    assert blocks[0] == blocks[1]
    assert 3 == len(blocks[0])


def test_what_no_file_uses_is_not_in_the_image() -> None:
    part = [file("a", NOISE), file("b", TEXT)]

    image = extents([file("b", TEXT)], parts=[part])

    assert image.size < BLOCK


def test_content_of_no_part_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="no part has the content"):
        extents([file("a", b"1")], parts=[[file("a", b"2")]])


def test_data_without_files_is_an_index_alone() -> None:
    artifact = BENCH.run(squashfs_data.RULE, squashfs_data.DataOptions(), tree=BENCH.put([folder("a")]))

    assert b"kitbuild-squashfs 1\n" == BENCH.bytes_of(artifact)
    check([folder("a")], "gzip")


@pytest.mark.parametrize("keeps_boot", [False, True])
def test_data_holds_nothing_of_boot_but_what_has_a_name_elsewhere(keeps_boot: bool) -> None:
    entries = [
        folder("boot"),
        file("boot/kernel", NOISE),
        file("boot/map", b"map"),
        hard("usr-map", "boot/map"),
    ]
    options = squashfs_data.DataOptions(keeps_boot=keeps_boot)

    content = BENCH.bytes_of(BENCH.run(squashfs_data.RULE, options, tree=BENCH.put(entries)))

    assert keeps_boot is (NOISE in content)
    assert b"map" in content


@pytest.mark.parametrize(
    "index",
    [b"", b"kitbuild-squashfs 2\n", b"kitbuild-squashfs 1\nX 1\n", b"kitbuild-squashfs 1\nF 10\n"],
    ids=["empty", "another", "unknown line", "more than the data"],
)
def test_index_that_cannot_be_right_is_refused(index: bytes) -> None:
    with pytest.raises(ValueError, match="index of squashfs data"):
        Indexed().read(index.splitlines(keepends=True), None)


# -- inodes


def test_inodes_are_extended_only_for_what_the_short_ones_lack() -> None:
    image = built(EVERYTHING)

    kinds = {path: found.type for path, found in image.entries.items()}
    assert {
        **{"": 8, "block": 4, "char": 12, "dir": 1, "dir/empty": 1, "dir/text": 9, "dir-a": 2, "fifo": 6},
        **{"hard": 9, "link": 10, "noise": 2, "su": 2, "zero": 2},
    } == kinds


@pytest.mark.parametrize(
    ("start", "size", "type"),
    [
        ((1 << 32) - 1, 1, 2),
        (1 << 32, 1, 9),
        (96, (1 << 32) - 1, 2),
        (96, 1 << 32, 9),
        (1 << 40, 1 << 41, 9),
    ],
)
def test_what_is_beyond_4_gib_has_an_extended_inode(start: int, size: int, type: int) -> None:
    huge = Slice(Digest("0" * 64, 1 << 42), 5, size)

    written = inode.file(
        Entry("a", "file", 0o644, content=huge), inode.Common(1, 0, 0), inode.Content(start), links=1
    )

    fields = struct.unpack_from("<QQ" if type == 9 else "<I8xI", written, 16)
    assert type == written[0]
    assert (start, size) == fields


def test_large_contents_are_as_many_words_as_blocks() -> None:
    place = Stored().place(Slice(Digest("0" * 64, 1 << 42), 5, 5 << 30))

    assert (4 * 5 << 13, 5 << 30) == (len(place.words), place.data.size if place.data else 0)


@EACH
def test_names_of_one_file_are_one_inode_wherever_the_file_stands(compression: Compression) -> None:
    entries = [hard("a", "c"), folder("b"), hard("b/x", "c"), file("c", TEXT, xattrs=(("user.a", b"1"),))]

    image = check(entries, compression)

    found = [image.entries[path] for path in ("a", "b/x", "c")]
    assert 1 == len(set(found))
    assert 3 == found[0].links


def test_names_of_an_empty_file_are_one_inode() -> None:
    image = check([file("a"), hard("b", "a")], "gzip")

    assert image.entries["a"] == image.entries["b"]


@pytest.mark.parametrize(
    "mtime", [0, -1, 999_999_999, 1_999_999_999, (1 << 32) * 10**9 - 1, (1 << 40) * 10**9]
)
def test_times_are_whole_seconds_within_32_bits(mtime: int) -> None:
    check([file("a", b"1", mtime=mtime), Entry("d", "directory", 0o755, mtime=mtime)], "gzip")


def test_large_device_numbers_come_back() -> None:
    check([Entry("a", "block", 0o600, device=(4095, (1 << 20) - 1))], "gzip")


@pytest.mark.parametrize("device", [(4096, 0), (0, 1 << 20), (-1, 0)])
def test_device_numbers_without_a_place_are_refused(device: tuple[int, int]) -> None:
    with pytest.raises(RuleError, match="a device of numbers below 4096 and 1048576, got"):
        extents([Entry("a", "char", 0o600, device=device)])


def test_names_of_255_bytes_come_back_and_longer_ones_are_refused() -> None:
    check([file("é" * 127 + "a", b"1")], "gzip")

    with pytest.raises(RuleError, match="a name of at most 255 bytes, got 256"):
        extents([file("é" * 128, b"1")])


def test_links_of_4095_bytes_come_back_and_longer_ones_are_refused() -> None:
    check([Entry("a", "symlink", 0o777, target="t" * 4095)], "gzip")

    with pytest.raises(RuleError, match="a symlink of at most 4095 bytes, got 4096"):
        extents([Entry("a", "symlink", 0o777, target="t" * 4096)])


def test_65535_owners_have_their_place_and_more_are_refused() -> None:
    entries = [ROOT, *(Entry(f"{number:05}", "fifo", 0o600, number) for number in range(65_535))]
    compressor = layout.Compressor(layout.GZIP_NUMBER, None)
    layout.image(Tree.of(entries), Stored(), compressor, seconds=0)

    with pytest.raises(RuleError, match="at most 65535 different user and group ids"):
        more = Tree.of([*entries, Entry("more", "fifo", 0o600, 65_535)])
        layout.image(more, Stored(), compressor, seconds=0)


def test_names_that_are_not_utf_8_are_sorted_as_bytes() -> None:
    names = ["\udcff", "\uffff", "\U00010000", "z", "é", "\udc80", "-", "a-", "a/x", "a"]

    check([folder("a"), *(file(name, name.encode("utf-8", "replace")) for name in names[:-1])], "gzip")


# -- directories


@EACH
def test_large_directory_has_an_index(compression: Compression) -> None:
    entries = [Entry(f"d/a-longer-name-{number:05}", "fifo", 0o600) for number in range(5000)]

    image = check([folder("d"), *entries], compression)

    assert (8, True) == (image.entries["d"].type, 15 <= image.entries["d"].places <= 40)


def test_listing_below_64_kib_that_spans_blocks_has_an_index() -> None:
    image = check([folder("d"), *(file(f"d/{number:0100}") for number in range(200))], "gzip")

    assert (8, 2) == (image.entries["d"].type, image.entries["d"].places)


def test_listing_of_one_block_that_lies_in_two_needs_no_index() -> None:
    folders = [folder(f"{number:03}") for number in range(150)]

    image = check([*folders, *(file(f"{folder.path}/{'n' * 100}") for folder in folders)], "gzip")

    assert {1} == {image.entries[folder.path].type for folder in folders}


def test_inodes_far_apart_are_in_runs_of_their_own() -> None:
    below = [Entry(f"b/{number}", "fifo", 0o600) for number in range(33_000)]

    check([file("a"), folder("b"), *below, file("c"), hard("d", "a")], "none")


def test_deep_directories_come_back() -> None:
    deep = ["/".join(["d"] * count) for count in range(1, 120)]

    check([*map(folder, deep), file("d/" * 119 + "f", b"1")], "gzip")


# -- extended attributes


def test_equal_sets_of_attributes_are_kept_once() -> None:
    value = (("security.capability", NOISE[:4000]), ("user.x", b""))
    one = extents([file("a", b"1", xattrs=value)])

    many = [file(f"{number}", b"1", xattrs=value) for number in range(5)]

    assert one.size == extents(many).size
    check(many, "gzip")


def test_attributes_over_the_end_of_a_block_come_back() -> None:
    check([file(f"{at}", xattrs=(("trusted.t", NOISE[at : at + 5000]),)) for at in range(9)], "gzip")


def test_attributes_without_a_place_are_left_out_and_told() -> None:
    BENCH.warnings.clear()

    image = check(
        [file("a", b"1", xattrs=(("system.posix_acl_access", b"\2"), ("user.b", b"2"))), folder("d")], "gzip"
    )

    assert (("user.b", b"2"),) == image.entries["a"].xattrs
    assert [
        "squashfs has no place for 1 extended attributes, such as `system.posix_acl_access` of `a`"
    ] == BENCH.warnings


# -- any tree


@settings(max_examples=60, deadline=None)
@given(entries=whole_trees(CONTENTS), compression=st.sampled_from(COMPRESSIONS))
def test_any_tree_comes_back(entries: list[Entry], compression: Compression) -> None:
    check(entries, compression)


# -- compressors and nodes


def test_blocks_are_compressed_at_the_level_the_key_names() -> None:
    block = TEXT[:BLOCK]
    levels = [streams.tools(compression) for compression in ("gzip", "zstd")]

    assert isal_zlib.compress(block, 2, 15) == block_compressor("gzip")(block)
    assert zstandard.ZstdCompressor(level=3).compress(block) == block_compressor("zstd")(block)
    assert " level 2 " in levels[0]["isal"]
    assert levels[1]["zstd"].endswith(" level 3")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_block_compressor_forgets_the_block_before(compression: Compression) -> None:
    compress = block_compressor(compression)

    first = compress(TEXT[:BLOCK])
    compress(NOISE[:BLOCK])

    assert first == compress(TEXT[:BLOCK]) == block_compressor(compression)(TEXT[:BLOCK])


def system(compression: Compression = "gzip", *, has_kernel: bool = True) -> System:
    tree = Node("tree", kernel.CMDLINE, kernel.CmdlineOptions("x"))
    parts = [
        Part("one", tree, "source", "location", keeps_boot=True),
        Part("two", tree, "source", "location"),
        Part("loader", tree, "source", "location", in_initrd=False),
    ]
    target = Target(compression)
    return System(tuple(parts), kernel=tree if has_kernel else None, cmdline="quiet", target=target)


def test_image_takes_the_root_and_the_data_of_every_part_that_belongs_there() -> None:
    outputs = kernel_squashfs.FORMAT.outputs(system())

    image = outputs["-squashfs.img"]
    assert ["-kernel", "-cmdline", "-squashfs.img"] == list(outputs)
    assert ["root"] == [node.name for node in image.inputs["tree"]]
    assert ["one: squashfs data", "two: squashfs data"] == [node.name for node in image.inputs["data"]]
    assert [True, False] == [node.options.keeps_boot for node in image.inputs["data"]]


def test_image_without_compression_needs_no_data() -> None:
    assert () == kernel_squashfs.FORMAT.outputs(system("none"))["-squashfs.img"].inputs["data"]


def test_system_without_a_kernel_is_the_image_alone() -> None:
    assert ["-squashfs.img"] == list(kernel_squashfs.FORMAT.outputs(system(has_kernel=False)))
