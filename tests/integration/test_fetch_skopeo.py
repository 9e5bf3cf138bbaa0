"""Folders and archives written by skopeo, and by docker where it matters, are read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kitbuild.image import Image, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch import open_source
from kitbuild.rules.fetch.layer import RULE, LayerOptions
from tests.support.images import annotations_as_skopeo, image, layout
from tests.support.registry import tool
from tests.support.work import FolderWork, run

pytestmark = pytest.mark.integration

AMD64 = Platform("linux", "amd64")
# The same layer twice: docker-save archives then hold it once, or a link.
MADE = image({"a": "one"}, {"b": "two"}, {"a": "one"}, cmd=["/a"], labels={"name": "value"})


def copied(tmp_path: Path, target: str) -> None:
    folder = layout(tmp_path / "from", {"t/hello:v1": MADE}, annotations_as_skopeo)
    command = [tool("skopeo"), "copy", "--insecure-policy", f"oci:{folder}:v1", target]
    subprocess.run(command, check=True, capture_output=True)


def contents(found: Image, folder: Path) -> list[bytes]:
    plain = []
    for layer in found.layers:
        options = LayerOptions(layer.diff_id, "x", found.source, layer.media_type, layer.blob, layer.name)
        work = FolderWork(options, folder)
        with work.open(run(RULE, work).digest) as stream:
            plain.append(stream.read())
    return plain


def test_a_docker_archive_of_skopeo_is_read(tmp_path: Path) -> None:
    path = tmp_path / "docker.tar"
    copied(tmp_path, f"docker-archive:{path}:t/hello:v1")

    found = open_source(f"archive:{path}").image(Reference.parse("t/hello:v1"), AMD64)

    assert found.config.command == ("/a",)
    assert found.config.labels == {"name": "value"}
    assert list(MADE.tars) == contents(found, tmp_path)


def test_a_layout_of_skopeo_is_read_by_digest(tmp_path: Path) -> None:
    copied(tmp_path, f"oci:{tmp_path / 'to'}:v1")

    found = open_source(f"layout:{tmp_path / 'to'}").image(Reference.parse(f"t/hello@{MADE.digest}"), AMD64)

    assert list(MADE.tars) == contents(found, tmp_path)


def test_an_oci_archive_of_skopeo_is_read_under_the_name_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "oci.tar"
    copied(tmp_path, f"oci-archive:{path}:docker.io/t/hello:v1")

    found = open_source(f"archive:{path}").image(Reference.parse("t/hello:v1"), AMD64)

    assert list(MADE.tars) == contents(found, tmp_path)
