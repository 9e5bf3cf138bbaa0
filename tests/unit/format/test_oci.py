"""The OCI format: layers whose digests are right, and which laid over each other are the root file system."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from typing import Any

import pytest
import zstandard

from kitbuild.errors import RuleError
from kitbuild.node import Node
from kitbuild.rule import Artifact, NoOptions
from kitbuild.rules.format import compress, layer, oci, root
from kitbuild.rules.unpack.layer import RULE as UNPACK
from kitbuild.rules.unpack.layer import LayerOptions
from kitbuild.system import MTIME, Compression, Part, System, Target
from kitbuild.tree import Entry
from tests.support.trees import Bench

BENCH = Bench()


def file(path: str, content: bytes = b"content", mode: int = 0o644) -> Entry:
    return Entry(path, "file", mode, 7, 8, MTIME, BENCH.slice(content))


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, "directory", mode, mtime=MTIME)


BASE = [
    directory(""),
    directory("bin"),
    directory("boot"),
    directory("etc"),
    directory("old"),
    file("bin/tool", b"1" * 3000),
    file("boot/kernel"),
    file("old/file"),
    Entry("bin/other", "hardlink", 0o644, target="bin/tool"),
]
CHANGES = [
    directory("etc", 0o700),
    file("old", b"a file over a directory"),
    file("bin/tool", b"2"),
    Entry("dev", "char", 0o600, mtime=MTIME, device=(5, 1)),
    file("capable")._replace(xattrs=(("security.capability", b"\1\2"),)),
]
MODULES = [directory("boot"), directory("boot/dtb"), file("boot/dtb/a"), file("boot/cmdline")]
PARTS = (BASE, CHANGES, MODULES)
KEEPS_BOOT = (False, False, True)


def archive(
    parts: Sequence[list[Entry]] = PARTS, *, compression: Compression = "gzip", bench: Bench = BENCH
) -> bytes:
    files, descriptions = [], []
    for part, keeps_boot in zip(parts, KEEPS_BOOT, strict=False):
        tar = bench.run(layer.TAR, layer.LayerTarOptions(keeps_boot), tree=bench.put(part))
        files.append(bench.run(compress.RULE, compress.CompressOptions(compression), file=tar))
        descriptions.append(bench.run(layer.DESCRIBE, NoOptions(), tar=tar, layer=files[-1]))
    options = oci.OciOptions(
        "system", "arm64", compression, tuple(f"part {number}" for number in range(len(files)))
    )
    return bench.bytes_of(bench.run(oci.RULE, options, layers=files, descriptions=descriptions))


def members(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        assert len(opened.getnames()) == len(set(opened.getnames()))
        found = {member.name: opened.extractfile(member) for member in opened}
        return {name: stream.read() for name, stream in found.items() if stream}


def blob(found: dict[str, bytes], descriptor: Any) -> bytes:
    content = found[f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}"]
    assert descriptor["size"] == len(content)
    assert descriptor["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    return content


def read(content: bytes) -> tuple[Any, Any, list[bytes]]:
    """The manifest, the config and the layers' tars."""
    found = members(content)
    assert {"imageLayoutVersion": "1.0.0"} == json.loads(found["oci-layout"])
    (entry,) = json.loads(found["index.json"])["manifests"]
    manifest = json.loads(blob(found, entry))
    config = json.loads(blob(found, manifest["config"]))
    return (
        manifest,
        config,
        [plain(descriptor["mediaType"], blob(found, descriptor)) for descriptor in manifest["layers"]],
    )


def plain(media_type: str, stored: bytes) -> bytes:
    if media_type.endswith("+gzip"):
        return gzip.decompress(stored)
    if media_type.endswith("+zstd"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(stored)
    assert media_type == "application/vnd.oci.image.layer.v1.tar"
    return stored


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_digests_of_every_layer_are_right(compression: Compression) -> None:
    _, config, tars = read(archive(compression=compression))

    assert [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars] == config["rootfs"]["diff_ids"]


def test_layers_over_each_other_are_the_root_file_system() -> None:
    _, _, tars = read(archive())

    layers = [BENCH.run(UNPACK, LayerOptions("a"), tar=BENCH.blob(tar)) for tar in tars]

    whole = BENCH.run(root.RULE, root.RootOptions(KEEPS_BOOT), parts=[BENCH.put(part) for part in PARTS])
    assert by_content(whole) == by_content(BENCH.image(*layers))


def by_content(tree: Artifact) -> list[Entry]:
    """The entries, each content as a blob of its own."""
    return [entry._replace(content=BENCH.slice(BENCH.read(entry.content))) for entry in BENCH.tree(tree)]


def test_config_says_what_runs_where_and_since_when() -> None:
    _, config, _ = read(archive())

    assert ("arm64", "linux") == (config["architecture"], config["os"])
    assert {"Entrypoint": ["/bin/rc.init"]} == config["config"]
    assert "2017-04-18T16:30:00Z" == config["created"]
    assert ["part 0", "part 1", "part 2"] == [entry["created_by"] for entry in config["history"]]


def test_index_names_the_image() -> None:
    (entry,) = json.loads(members(archive())["index.json"])["manifests"]

    assert "latest" == entry["annotations"]["org.opencontainers.image.ref.name"]
    assert {"architecture": "arm64", "os": "linux"} == entry["platform"]


def test_layers_carry_no_records_of_linuxkit() -> None:
    _, _, tars = read(archive())

    assert not [tar for tar in tars if b"LINUXKIT" in tar]


def test_equal_layers_are_stored_once_and_empty_ones_not_at_all() -> None:
    content = archive([CHANGES, [], CHANGES])

    manifest, config, tars = read(content)

    assert [tars[0], tars[0]] == tars
    assert 2 == len(manifest["layers"]) == len(config["history"])


def test_name_that_would_be_a_whiteout_is_an_error() -> None:
    with pytest.raises(RuleError, match=r"`etc/\.wh\.hosts`: in a layer such a name takes another file away"):
        archive([[directory("etc"), file("etc/.wh.hosts")]])


def test_more_layers_than_engines_take_are_worth_a_word() -> None:
    bench = Bench()
    tar = bench.run(layer.TAR, layer.LayerTarOptions(), tree=bench.put([directory("a")]))
    description = bench.run(layer.DESCRIBE, NoOptions(), tar=tar, layer=tar)
    options = oci.OciOptions("system", "amd64", "none", ("a",) * 126)

    bench.run(oci.RULE, options, layers=[tar] * 126, descriptions=[description] * 126)

    assert ["an image of 126 layers; most container engines run no more than 125"] == bench.warnings


def test_every_part_of_the_root_file_system_has_a_layer_of_its_own() -> None:
    def part(name: str, *, in_initrd: bool = True) -> Part:
        return Part(name, Node(f"{name}: tree", root.RULE, root.RootOptions(())), "", "", in_initrd=in_initrd)

    system = System(
        (part("one"), part("boot", in_initrd=False), part("two")),
        target=Target("zstd", "riscv64", name="My System.2-"),
    )

    (output,) = oci.FORMAT.outputs(system).values()

    assert oci.OciOptions("my-system-2", "riscv64", "zstd", ("one", "two")) == output.options
    assert ["one: layer", "two: layer"] == [node.name for node in output.inputs["layers"]]


def test_fixed_parts_give_fixed_bytes() -> None:
    assert archive(compression="none") == archive(compression="none", bench=Bench(BENCH.store))
    assert (
        "9b22e658f32d06a1f17b056d7285b0ba2cc43f8118c162771905c5c5f4abbaeb"
        == hashlib.sha256(archive(compression="none")).hexdigest()
    )
