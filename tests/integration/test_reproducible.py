"""The same inputs give the same bytes: anywhere, in whatever surroundings, from wherever the images come."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import images
from tests.support.command import CONFIG, Site, small_images
from tests.support.registry import registry

pytestmark = pytest.mark.integration

# Every section, and files of every kind.
EVERYTHING = (
    CONFIG
    + """\
  - path: etc/folder
    directory: true
    mode: "0750"
  - path: etc/link
    symlink: note
  - path: etc/source
    source: source.txt
    uid: 7
volumes:
  - name: data
    image: t/hello:v1
onshutdown:
  - name: bye
    image: t/hello:v1
    binds: ["/etc:/etc"]
"""
)
# Those that need neither a boot loader nor a kernel for one; test_formats.py has all of them.
FORMATS = ("tar", "docker", "kernel+initrd,tar-kernel-initrd,kernel+squashfs,kernel+erofs,kernel+iso,oci")


def new_site(folder: Path, config: str = EVERYTHING) -> Site:
    site = Site(folder, config=config)
    site.write("source.txt", "some text\n")
    return site


def every_output(
    site: Site, *arguments: str, shell: str = "", environment: Mapping[str, str | None] | None = None
) -> dict[str, str]:
    """The sha256 of every file of FORMATS."""
    for chosen in FORMATS:
        site.run(
            "build", "--format", chosen, *arguments, "linuxkit.yml", shell=shell, environment=environment
        )
    outputs = site.outputs()
    assert len(outputs) == 10
    return outputs


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return every_output(new_site(tmp_path_factory.mktemp("reference") / "site"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return new_site(tmp_path / "another folder")


def test_folder_does_not_matter(site: Site, expected: dict[str, str]) -> None:
    assert every_output(site) == expected


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"TZ": "Asia/Tokyo"}, id="time zone"),
        pytest.param({"TZ": "America/St_Johns", "PYTHONHASHSEED": "1"}, id="hash seed 1"),
        pytest.param({"PYTHONHASHSEED": "4000000"}, id="another hash seed"),
        pytest.param({"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"}, id="C locale"),
        pytest.param({"LC_ALL": None, "LANG": "de_DE.ISO-8859-1"}, id="another language"),
        pytest.param({"SOURCE_DATE_EPOCH": "1"}, id="epoch"),
        pytest.param(
            {"USER": "somebody", "LOGNAME": "somebody", "HOSTNAME": "elsewhere"}, id="user and host"
        ),
    ],
)
def test_environment_does_not_matter(
    site: Site, expected: dict[str, str], environment: dict[str, str | None]
) -> None:
    assert every_output(site, environment=environment) == expected


@pytest.mark.parametrize("umask", ["022", "077", "000"])
def test_umask_does_not_matter(site: Site, expected: dict[str, str], umask: str) -> None:
    assert every_output(site, shell=f'umask {umask}; "$@"') == expected


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_number_of_jobs_does_not_matter(site: Site, expected: dict[str, str], jobs: str) -> None:
    assert every_output(site, "--jobs", jobs) == expected


def test_state_of_the_cache_does_not_matter(site: Site, expected: dict[str, str]) -> None:
    cold = every_output(site)
    warm = every_output(site)
    for name in site.outputs():
        (site.folder / f"linuxkit{name}").unlink()
    exported = every_output(site)
    without = every_output(site, "--no-cache")

    assert [cold, warm, exported, without] == [expected] * 4


def test_modes_and_times_of_our_own_files_do_not_matter(site: Site, expected: dict[str, str]) -> None:
    for path in site.folder.rglob("*"):
        if path.is_file():
            path.chmod(0o755)
            os.utime(path, (1, 1))

    assert every_output(site) == expected


@pytest.mark.parametrize("style", ["docker old", "docker new", "oci", "zstd", "uncompressed"])
def test_place_and_packing_of_the_images_do_not_matter(
    site: Site, expected: dict[str, str], style: str
) -> None:
    archive = site.folder / "images.tar"
    if style == "docker old":
        images.docker_archive(archive, small_images(), style="old")
    elif style == "docker new":
        images.docker_archive(archive, small_images(), style="new")
    elif style == "oci":
        images.oci_archive(archive, small_images())
    else:
        compression: images.Compression = "zstd" if style == "zstd" else "plain"
        repacked = {name: _repacked(made, compression) for name, made in small_images().items()}
        archive = images.layout(site.folder / "repacked", repacked)

    assert every_output(site, "--images", str(archive)) == expected


def _repacked(made: images.MadeImage, compression: images.Compression) -> images.MadeImage:
    return images.image(
        *made.tars, compression=compression, change_config=lambda config: _as_in(config, made)
    )


def _as_in(config: dict[str, object], made: images.MadeImage) -> None:
    config.clear()
    config.update(json.loads(made.config))


def test_images_of_a_registry_give_what_those_of_a_layout_give(tmp_path: Path) -> None:
    with registry(tmp_path / "registry") as server:
        config = EVERYTHING.replace("t/", f"{server.host}/t/")
        for name, made in small_images().items():
            server.push(name, made)
        remote = new_site(tmp_path / "remote", config)
        local = new_site(tmp_path / "local", config)
        images.layout(
            local.folder / "images", {f"{server.host}/{name}": made for name, made in small_images().items()}
        )

        from_registry = every_output(remote)
        asked = len(server.requests())
        from_layout = every_output(local, "--offline")

        assert from_registry == from_layout
        assert len(server.requests()) == asked > 0
