"""fetch/layer: what comes out is what the image announced, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import ImageError
from kitbuild.node import Node, ingredients_of
from kitbuild.rule import Artifact
from kitbuild.rules.fetch import layer as layer_module
from kitbuild.rules.fetch.layer import RULE, LayerOptions
from tests.support.images import Compression, MadeImage, compressed, docker_archive, hex_of, image, layout
from tests.support.work import FolderWork, run

MADE = image({"a": "1"})


def options_for(
    folder: Path, made: MadeImage, *, diff_id: str = "", blob: Digest | None = None
) -> LayerOptions:
    stored = blob or Digest.of(made.layers[0])
    return LayerOptions(diff_id or made.diff_ids[0], "t/a:v1", f"layout:{folder}", "some/type", stored)


def store(folder: Path, content: bytes) -> Digest:
    digest = Digest.of(content)
    path = folder / "blobs/sha256" / digest.hex
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return digest


@pytest.mark.parametrize("compression", ["gzip", "zstd", "plain"])
def test_the_uncompressed_layer_comes_out(tmp_path: Path, compression: Compression) -> None:
    made = image({"a": "1"}, compression=compression)
    layout(tmp_path, {"t/a:v1": made})
    work = FolderWork(options_for(tmp_path, made), tmp_path / "work")

    artifact = run(RULE, work)

    assert artifact == Artifact("blob", Digest.of(made.tars[0]))
    assert work.kept() == {made.diff_ids[0]}


def test_a_layer_named_by_its_path_comes_out(tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "a.tar", {"t/a:v1": MADE})
    name = f"{hex_of(b'chain' + MADE.tars[0])}/layer.tar"
    options = LayerOptions(MADE.diff_ids[0], "t/a:v1", f"archive:{path}", "x", None, name)

    artifact = run(RULE, FolderWork(options, tmp_path / "work"))

    assert artifact.digest == Digest.of(MADE.tars[0])


def refused(work: FolderWork[LayerOptions], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        run(RULE, work)
    assert work.kept() == set()


def test_another_content_than_the_diff_id_says_is_refused(tmp_path: Path) -> None:
    layout(tmp_path, {"t/a:v1": MADE})
    other = "0" * 64
    work = FolderWork(options_for(tmp_path, MADE, diff_id=other), tmp_path / "work")

    got = MADE.diff_ids[0]
    refused(
        work, rf"t/a:v1: layer sha256:\w+: expected content with diff ID sha256:{other}, got sha256:{got}"
    )


@pytest.mark.parametrize("compression", ["gzip", "plain"])
def test_other_bytes_than_the_digest_says_are_refused(tmp_path: Path, compression: Compression) -> None:
    layout(tmp_path, {"t/a:v1": MADE})
    expected = Digest.of(MADE.layers[0])
    # As long as the right ones, and of the same content where that can be: only the digest tells.
    other = bytearray(MADE.layers[0])
    other[8] ^= 0xFF  # gzip: the field XFL, which no decompressor reads
    (tmp_path / "blobs/sha256" / expected.hex).write_bytes(other)
    work = FolderWork(options_for(tmp_path, MADE), tmp_path / "work")

    refused(work, "expected stored content with this digest")


def test_more_bytes_than_announced_are_refused(tmp_path: Path) -> None:
    layout(tmp_path, {"t/a:v1": MADE})
    path = tmp_path / "blobs/sha256" / hex_of(MADE.layers[0])
    path.write_bytes(path.read_bytes() + b"\0")

    refused(FolderWork(options_for(tmp_path, MADE), tmp_path / "work"), "expected .* bytes, got more")


def test_fewer_bytes_than_announced_are_refused(tmp_path: Path) -> None:
    made = image({"a": "1"}, compression="plain")
    layout(tmp_path, {"t/a:v1": made})
    path = tmp_path / "blobs/sha256" / hex_of(made.layers[0])
    path.write_bytes(path.read_bytes()[:-512])

    refused(FolderWork(options_for(tmp_path, made), tmp_path / "work"), "expected 10240 bytes, got only 9728")


def test_a_stream_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    stored = store(tmp_path, MADE.layers[0][:-4])

    work = FolderWork(options_for(tmp_path, MADE, blob=stored), tmp_path / "work")

    refused(work, r"t/a:v1: layer sha256:\w+: the layer ends in the middle")


def test_a_missing_layer_names_image_and_layer(tmp_path: Path) -> None:
    work = FolderWork(options_for(tmp_path, MADE), tmp_path / "work")

    refused(work, rf"t/a:v1: layer sha256:{hex_of(MADE.layers[0])}: .*is not in the layout")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: Compression) -> None:
    monkeypatch.setattr(layer_module, "_MAX_BYTES", 1 << 20)
    content = bytes(30 << 20)
    stored = store(tmp_path, compressed(content, compression))
    options = options_for(tmp_path, MADE, diff_id=hex_of(content), blob=stored)

    refused(FolderWork(options, tmp_path / "work"), "a decompression bomb: expected at most 100 times")


def test_a_small_layer_may_grow_a_lot(tmp_path: Path) -> None:
    content = bytes(30 << 20)
    stored = store(tmp_path, compressed(content, "zstd"))
    options = options_for(tmp_path, MADE, diff_id=hex_of(content), blob=stored)

    artifact = run(RULE, FolderWork(options, tmp_path / "work"))

    assert artifact.digest == Digest(hex_of(content), 30 << 20)


def test_where_a_layer_comes_from_is_not_in_its_key() -> None:
    here = LayerOptions("0" * 64, "t/a:v1", "layout:/x", "some/type", Digest("1" * 64, 1))
    there = LayerOptions("0" * 64, "t/b:v2", "registry:h/p", "other/type", None, "layer.tar")

    one, two = (ingredients_of(Node("n", RULE, options), {}).key() for options in (here, there))

    assert one == two


def test_another_diff_id_is_another_key() -> None:
    one, two = (
        ingredients_of(Node("n", RULE, LayerOptions(digit * 64, "", "", "")), {}).key() for digit in "01"
    )

    assert one != two
