from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from kitbuild.errors import KitbuildError
from kitbuild.reading import open_output
from tests.support import images


def tar(**headers: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for name in ("a", "b"):
            member = tarfile.TarInfo(name)
            member.size = 2000
            member.pax_headers = headers
            file.addfile(member, io.BytesIO(name.encode() * 2000))
    return stream.getvalue()


@pytest.mark.parametrize("headers", [{"mtime": "nan"}, {"mtime": "inf"}, {"size": "-5"}], ids=str)
def test_header_without_sense_is_an_error(tmp_path: Path, headers: dict[str, str]) -> None:
    (tmp_path / "tar").write_bytes(tar(**headers))

    with pytest.raises(KitbuildError, match="expected a size and a time"):
        open_output(tmp_path / "tar")


def test_tar_in_many_streams_of_gzip_is_read_whole(tmp_path: Path) -> None:
    content = tar()
    streams = (gzip.compress(content[place : place + 700]) for place in range(0, len(content), 700))
    (tmp_path / "tar.gz").write_bytes(b"".join(streams))

    with open_output(tmp_path / "tar.gz") as output:
        entries = {entry.path: entry for entry in output.system()}
        with output.open(entries["b"]) as stream:
            assert b"b" * 2000 == stream.read()
        assert ["a", "b"] == list(entries)


def listed(path: Path, content: images.LayerContent) -> tuple[str, dict[str, str]]:
    path.write_bytes(images.layer_tar(content))
    with open_output(path) as output:
        return output.format, {entry.path: entry.kind for entry in output.system()}


def test_file_put_over_a_folder_through_a_symlink_takes_all_its_place(tmp_path: Path) -> None:
    content: dict[str, images.Content] = {
        "usr/lib/a/": images.directory(),
        "usr/lib/a/b": images.file(b""),
        "lib": images.symlink("usr/lib"),
        "lib/a": images.file(b""),
    }

    assert ("tar", {"lib": "symlink", "usr/lib/a": "file"}) == listed(tmp_path / "tar", content)


def test_hard_link_leads_through_symlinks(tmp_path: Path) -> None:
    content: dict[str, images.Content] = {
        "usr/lib/a": images.file(b"x"),
        "lib": images.symlink("usr/lib"),
        "z": images.hardlink("lib/a"),
    }

    assert ("tar", {"lib": "symlink", "usr/lib/a": "file", "z": "hardlink"}) == listed(
        tmp_path / "tar", content
    )


@pytest.mark.parametrize("name", ["manifest.json", "index.json", "oci-layout", "blobs/a"])
def test_root_file_system_with_a_name_of_images_is_none(tmp_path: Path, name: str) -> None:
    content: dict[str, images.Content] = {"bin/sh": images.file(b""), name: images.file(b"{}")}

    assert ("tar", {"bin/sh": "file", name: "file"}) == listed(tmp_path / "tar", content)
