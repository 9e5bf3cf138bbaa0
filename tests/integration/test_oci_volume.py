"""Volumes that hold images as they are stored, from a config to a tar that GNU tar reads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Finished, Site
from tests.support.images import blobs_of, docker_archive, hex_of, image, index, layout, oci_archive
from tests.support.registry import registry, tool

pytestmark = pytest.mark.integration

AMD = image({"bin/app": "amd64"}, {"etc/app": "more"})
ARM = image({"bin/app": "arm64"}, architecture="arm64", compression="zstd")
BOTH = index(AMD, ARM, attestations=True)
LOWER = "containers/volumes/images/lower"


def config(image_text: str = "t/app:v1", platforms: str = "") -> str:
    return f"""\
volumes:
  - name: images
    image: {image_text}
    format: oci
    platforms: [{platforms}]
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path, config=config())
    layout(tmp_path / "mine", {"t/app:v1": BOTH})
    return site


def build(site: Site, *arguments: str, images: str = "mine", status: int = 0) -> Finished:
    options = ("--arch", "amd64", "--format", "tar", "--images", images)
    return site.run("build", *options, *arguments, "linuxkit.yml", status=status)


def unpacked(site: Site) -> Path:
    """The folder GNU tar makes of the volume."""
    root = site.folder / "root"
    root.mkdir()
    command = [tool("tar"), "--extract", "--file", "linuxkit.tar", "--directory", "root", "--warning=none"]
    subprocess.run(command, cwd=site.folder, check=True)
    return root / LOWER


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def index_json(content: bytes, name: str) -> str:
    return f"""\
{{
   "schemaVersion": 2,
   "mediaType": "application/vnd.oci.image.index.v1+json",
   "manifests": [
      {{
         "mediaType": "application/vnd.oci.image.index.v1+json",
         "size": {len(content)},
         "digest": "sha256:{hex_of(content)}",
         "annotations": {{
            "org.opencontainers.image.ref.name": "{name}"
         }}
      }}
   ]
}}"""


def test_the_volume_is_an_image_layout_with_all_platforms(site: Site) -> None:
    build(site, "--offline")

    assert files_of(unpacked(site)) == {
        "oci-layout": b'{\n\t\t"imageLayoutVersion": "1.0.0"\n\t}',
        "index.json": index_json(BOTH.manifest, "docker.io/t/app:v1").encode(),
        **{f"blobs/sha256/{name}": content for name, content in blobs_of(BOTH).items()},
    }


def test_another_program_finds_the_image_in_the_volume(site: Site) -> None:
    skopeo = tool("skopeo")
    build(site, "--offline")

    command = [skopeo, "inspect", "--raw", f"oci:{unpacked(site)}:docker.io/t/app:v1"]
    read = subprocess.run(command, capture_output=True, check=True, env={"HOME": str(site.folder)})

    assert read.stdout == BOTH.manifest


def test_entries_are_timeless_and_roots_and_say_where_they_come_from(site: Site) -> None:
    tool("tar")
    build(site, "--offline")

    command = [
        "tar",
        "--list",
        "--verbose",
        "--numeric-owner",
        "--utc",
        "--warning=none",
        "--file",
        "linuxkit.tar",
    ]
    listed = subprocess.run(command, cwd=site.folder, capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=5) for line in listed.splitlines()]
    facts = {row[5].removeprefix(f"{LOWER}/"): (row[0], row[1], f"{row[3]} {row[4]}") for row in rows}
    assert facts["blobs/sha256"] == ("drwxr-xr-x", "0/0", "1970-01-01 00:00")
    assert facts["index.json"] == ("-rw-r--r--", "0/0", "1970-01-01 00:00")
    assert facts[f"blobs/sha256/{hex_of(AMD.manifest)}"] == facts["index.json"]
    assert facts[LOWER] == ("drwxr-xr-x", "0/0", "2017-04-18 16:30")
    assert records_of(site, f"{LOWER}/index.json") == {
        "LINUXKIT.location": "volume[0]",
        "LINUXKIT.source": "docker.io/t/app:v1",
    }


def records_of(site: Site, name: str) -> dict[str, str]:
    import tarfile

    with tarfile.open(site.folder / "linuxkit.tar") as archive:
        return dict(archive.getmember(name).pax_headers)


def test_platforms_choose_manifests_and_the_index_stays_whole(site: Site) -> None:
    site.write("linuxkit.yml", config(platforms="linux/arm64"))

    build(site, "--offline")

    found = files_of(unpacked(site))
    wanted = {hex_of(content) for content in (ARM.manifest, ARM.config, *ARM.layers, BOTH.manifest)}
    assert {name.removeprefix("blobs/sha256/") for name in found} == {*wanted, "oci-layout", "index.json"}


@pytest.mark.parametrize("source", ["layout", "archive", "registry"])
def test_every_kind_of_source_gives_the_same_volume(source: str, site: Site, tmp_path: Path) -> None:
    if source == "registry":
        with registry(tmp_path / "registry") as server:
            name = server.push("t/app:v1", BOTH)
            site.write("linuxkit.yml", config(name))
            build(site, images="images")
            requests = len(server.requests())
            again = build(site, images="images")
            assert len(server.requests()) == requests
        assert again.counts["cached"] == sum(again.counts.values())
    else:
        name = "docker.io/t/app:v1"
        if source == "archive":
            oci_archive(tmp_path / "mine.tar", {"t/app:v1": BOTH})
        build(site, "--offline", images="mine.tar" if source == "archive" else "mine")

    found = files_of(unpacked(site))

    assert found.pop("index.json").decode() == index_json(BOTH.manifest, name)
    assert {name.rpartition("/")[2] for name in found} == {*blobs_of(BOTH), "oci-layout"}


def test_two_builds_are_the_same(site: Site) -> None:
    build(site, "--offline")
    first = site.outputs()
    build(site, "--offline", "--no-cache", "--name", "other")

    assert list(site.outputs("other").values()) == list(first.values())


def test_a_changed_name_of_the_same_image_fetches_nothing_again(site: Site) -> None:
    build(site, "--offline")
    layout(site.folder / "mine", {"t/app:v1": BOTH, "t/app:v2": BOTH})
    site.change("linuxkit.yml", "t/app:v1", "t/app:v2")

    again = build(site, "--offline", "-v")

    assert not [name for name in again.ran if name.startswith("blob ")]
    assert any("volumes images" in name for name in again.ran)


@pytest.mark.parametrize(
    ("text", "place", "status", "message"),
    [
        pytest.param(
            config(platforms="linux/riscv64"),
            "3:12",
            1,
            "expected an image for linux/riscv64, got linux/amd64, linux/arm64",
            id="platform not there",
        ),
        pytest.param(
            config("t/other:v1"),
            "3:12",
            2,
            "docker.io/t/other:v1 is in none of the given sources",
            id="image not there",
        ),
        pytest.param(
            config(platforms="arm64"), "5:17", 2, "expected a platform, got `arm64`", id="no platform"
        ),
    ],
)
def test_mistakes_are_shown_where_they_are(
    text: str, place: str, status: int, message: str, site: Site
) -> None:
    site.write("linuxkit.yml", text)

    failed = build(site, "--offline", status=status)

    assert f"linuxkit.yml:{place}: " in failed.stderr
    assert message in failed.stderr


def test_all_platforms_have_to_include_the_systems_own(site: Site) -> None:
    failed = site.run("build", "--arch", "riscv64", "--offline", "--images", "mine", "linuxkit.yml", status=1)

    assert "linuxkit.yml:3:12: docker.io/t/app:v1: expected an image for linux/riscv64" in failed.stderr


def test_an_archive_of_docker_save_is_not_enough(site: Site) -> None:
    docker_archive(site.folder / "saved.tar", {"t/app:v1": AMD})

    failed = build(site, "--offline", images="saved.tar", status=1)

    assert "expected an image with a manifest, got one in an archive of `docker save`" in failed.stderr


def test_a_damaged_layer_ends_the_build_and_is_not_kept(site: Site) -> None:
    path = site.folder / "mine/blobs/sha256" / hex_of(ARM.layers[0])
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    failed = build(site, "--offline", status=1)

    assert (
        f"blob sha256:{hex_of(ARM.layers[0])}: expected content with this digest, got sha256:"
        in failed.stderr
    )
    assert not (site.folder / "linuxkit.tar").exists()


def test_the_graph_shows_a_volume_whose_image_nobody_has(site: Site) -> None:
    site.write("linuxkit.yml", config("t/other:v1"))

    shown = site.run("graph", "linuxkit.yml", "--format", "json", "--image-format", "tar")

    nodes: list[dict[str, Any]] = json.loads(shown.stdout)["nodes"]
    assert [node["name"] for node in nodes if node["rule"] == "unpack/absent"] == ["volumes images: content"]
