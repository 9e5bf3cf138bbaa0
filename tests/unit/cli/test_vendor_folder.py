"""The folder of `kitbuild vendor`: only whole files, nothing twice, nobody else's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kitbuild.cli.vendor_folder import BLOBS, MARK, Entry, VendorFolder
from kitbuild.digest import Digest
from kitbuild.errors import ImageError, KitbuildError, UsageError

ONE, TWO = Digest.of(b"one"), Digest.of(b"two!")


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_blob_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    folder = VendorFolder(tmp_path / "new")

    folder.write_blob(ONE, [b"o", b"ne"])

    assert folder.has_blob(ONE)
    assert not folder.has_blob(TWO)
    assert folder.read_blob(ONE) == b"one"
    assert names_in(tmp_path / "new") == {f"{BLOBS}/{ONE.hex}"}


@pytest.mark.parametrize("content", [b"on", b"One", b"one and more"])
def test_what_is_not_as_its_digest_says_leaves_nothing(content: bytes, tmp_path: Path) -> None:
    folder = VendorFolder(tmp_path / "new")

    with pytest.raises(ImageError, match="expected"):
        folder.write_blob(ONE, [content])

    assert names_in(tmp_path / "new") == set()


def test_a_file_that_is_there_is_looked_into(tmp_path: Path) -> None:
    folder = VendorFolder(tmp_path / "new")
    folder.write_text("files/x", b"one")

    assert folder.has_file("files/x", ONE)
    assert not folder.has_file("files/x", Digest.of(b"eno"))
    assert not folder.has_file("files/y", ONE)


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    for _ in range(2):
        folder = VendorFolder(tmp_path / "new")
        folder.write_text("kitbuild.toml", MARK.encode())
        if not folder.has_blob(ONE):
            folder.write_blob(ONE, [b"one"])
        counts = folder.counts(0)

    assert (counts.written, counts.bytes, counts.kept) == (0, 0, 2)


def test_an_index_keeps_other_names_until_it_is_pruned(tmp_path: Path) -> None:
    folder = VendorFolder(tmp_path / "new")

    def names() -> list[str]:
        document = json.loads((tmp_path / "new/index.json").read_bytes())
        return [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in document["manifests"]]

    folder.write_index([Entry("b", "type", ONE), Entry("a", "type", ONE)], prune=False)
    folder.write_index([Entry("c", "type", TWO), Entry("a", "type", TWO)], prune=False)
    joined = names()
    folder.write_index([Entry("c", "type", TWO)], prune=True)

    assert joined == ["a", "b", "c"]
    assert names() == ["c"]
    assert (tmp_path / "new/oci-layout").is_file()


def test_pruning_removes_what_is_not_needed_and_nobody_elses(tmp_path: Path) -> None:
    first = VendorFolder(tmp_path / "new")
    first.write_text("kitbuild.toml", MARK.encode())
    first.write_blob(ONE, [b"one"])
    first.write_blob(TWO, [b"two!"])
    first.write_text("loaders/grub/efi/grub.efi", b"x")
    first.write_text("etc/mine", b"x")
    second = VendorFolder(tmp_path / "new")
    second.has_blob(ONE)

    removed = second.prune()

    assert removed == 2
    assert names_in(tmp_path / "new") == {"kitbuild.toml", f"{BLOBS}/{ONE.hex}", "etc/mine"}


@pytest.mark.parametrize("name", ["kitbuild.toml", "index.json", "x.yml"])
def test_a_folder_of_somebody_elses_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")

    with pytest.raises(UsageError, match="expected an empty folder"):
        VendorFolder(tmp_path)

    assert names_in(tmp_path) == {name}


def test_a_folder_that_cannot_be_is_an_error_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(KitbuildError, match="cannot write"):
        VendorFolder(tmp_path / "file/below")


def test_the_layouts_own_names_are_not_for_files(tmp_path: Path) -> None:
    folder = VendorFolder(tmp_path / "new")

    assert [
        name for name in ("etc/x", "blobs/x", "index.json", "kitbuild.toml", "files") if folder.is_free(name)
    ] == ["etc/x"]


def test_nothing_behind_a_link_is_removed(tmp_path: Path) -> None:
    folder = VendorFolder(tmp_path / "new")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "precious").write_text("")
    (tmp_path / "new" / "files").symlink_to(tmp_path / "others")

    assert folder.prune() == 0
    assert (tmp_path / "others" / "precious").exists()
