"""The OCI format through the program: skopeo reads and copies it, tar unpacks it, kitbuild builds from it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Site
from tests.support.registry import tool
from tests.support.tars import read_file

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=["gzip", "zstd", "none"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A folder with linuxkit-oci.tar and linuxkit.tar."""
    made = Site(tmp_path_factory.mktemp("oci") / "site")
    made.run("build", "--format", "oci", "--compression", request.param, "linuxkit.yml")
    made.run("build", "--format", "tar", "linuxkit.yml")
    return made


def skopeo(site: Site, *arguments: str) -> str:
    command = [tool("skopeo"), "--insecure-policy", *arguments]
    return subprocess.run(command, cwd=site.folder, check=True, capture_output=True, text=True).stdout


def test_skopeo_inspects_it(site: Site) -> None:
    found: dict[str, Any] = json.loads(skopeo(site, "inspect", "oci-archive:linuxkit-oci.tar:latest"))

    assert ("amd64", "linux", "2017-04-18T16:30:00Z") == (
        found["Architecture"],
        found["Os"],
        found["Created"],
    )


def test_skopeo_copies_it(site: Site) -> None:
    # It checks the digest of every layer, as stored and unpacked.
    skopeo(site, "copy", "oci-archive:linuxkit-oci.tar", "oci:layout:v1")
    skopeo(site, "copy", "oci-archive:linuxkit-oci.tar", "dir:folder")

    found: dict[str, Any] = json.loads((site.folder / "folder/manifest.json").read_text())
    assert 8 == len(found["layers"])


# Docker's own archives know no zstd.
@pytest.mark.parametrize("site", ["gzip", "none"], indirect=True)
def test_skopeo_copies_it_to_a_docker_archive(site: Site) -> None:
    skopeo(site, "copy", "oci-archive:linuxkit-oci.tar", "docker-archive:docker.tar:kitbuild/test:v1")

    shown = subprocess.run(
        ["tar", "xOf", site.folder / "docker.tar", "manifest.json"], check=True, capture_output=True
    )
    (image,) = json.loads(shown.stdout)
    assert ["docker.io/kitbuild/test:v1"] == image["RepoTags"]
    assert 8 == len(image["Layers"])


def test_its_layers_unpack_to_what_the_tar_unpacks_to(site: Site, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes devices and owners")
    subprocess.run(["tar", "xf", site.folder / "linuxkit-oci.tar"], cwd=tmp_path, check=True)
    layers = json.loads(skopeo(site, "inspect", "oci-archive:linuxkit-oci.tar"))["Layers"]
    paths = [tmp_path / "blobs" / layer.replace(":", "/") for layer in layers]
    for name, tars in (("layers", paths), ("tar", [site.folder / "linuxkit.tar"])):
        (tmp_path / name).mkdir()
        for tar in tars:
            command = ["tar", "xpf", tar, "--directory", name, "--warning=no-unknown-keyword"]
            subprocess.run(command, cwd=tmp_path, check=True)
    for file in ("kernel", "cmdline", "ucode.cpio"):
        (tmp_path / "tar/boot" / file).unlink(missing_ok=True)

    assert facts(tmp_path / "tar") == facts(tmp_path / "layers")


def facts(folder: Path) -> dict[str, Any]:
    """What lies in a folder. Without times of directories: unpacking the next layer changes them."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        target = str(path.readlink()) if path.is_symlink() else ""
        mtime = 0 if path.is_dir() else status.st_mtime
        found[str(path.relative_to(folder))] = (
            status.st_mode, status.st_uid, status.st_gid, status.st_rdev, status.st_nlink, mtime, content, target
        )  # fmt: skip
    return found


def test_kitbuild_takes_it_as_an_image(site: Site) -> None:
    site.write("two.yml", "init:\n  - linuxkit:latest\n")

    site.run("build", "--format", "tar", "--no-sbom", "--images", "linuxkit-oci.tar", "two.yml")

    names = [
        {member.name for member in read_file(site.folder / f"{name}.tar")[0]} for name in ("linuxkit", "two")
    ]
    assert {"boot/kernel", "boot/cmdline", "boot/ucode.cpio"} >= names[0] - names[1]
    assert set() == names[1] - names[0]
