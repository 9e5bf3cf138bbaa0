"""The SBOM of a system, from images with attestations to a tar that GNU tar reads."""

from __future__ import annotations

import calendar
import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Finished, Site
from tests.support.images import Made, file, hex_of, image, layout
from tests.support.registry import registry, tool
from tests.support.sboms import attestation, attested, spdx, statement, with_sbom

pytestmark = pytest.mark.integration

NAME = "sbom.spdx.json"
CONFIG = """\
kernel:
  image: t/kernel:v1
init:
  - t/init:v1
onboot:
  - name: once
    image: t/app:v1
services:
  - name: app
    image: t/app:v1
  - name: plain
    image: t/plain:v1
volumes:
  - name: data
    image: t/data:v1
  - name: whole
    image: t/whole:v1
    format: oci
"""
PLAIN = image({"bin/plain": "x"}, cmd=["/bin/plain"])


def described(name: str) -> Made:
    """An image whose SBOM lists one file and one package."""
    made = image({"kernel": file(name), "kernel.tar": file()}, cmd=[f"/{name}"])
    return with_sbom(
        made,
        files=[{"SPDXID": f"SPDXRef-File-{name}", "fileName": f"/bin/{name}"}],
        packages=[{"SPDXID": f"SPDXRef-Package-{name}", "name": name}],
        documentDescribes=[f"SPDXRef-Package-{name}"],
    )


IMAGES = {
    **{f"t/{name}:v1": described(name) for name in ("kernel", "init", "app", "data", "whole")},
    "t/plain:v1": PLAIN,
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path, config=CONFIG)
    layout(tmp_path / "mine", IMAGES)
    return site


def build(site: Site, *arguments: str, offline: bool = True, status: int = 0) -> Finished:
    options = ("--arch", "amd64", "--format", "tar", "--images", "mine", *(("--offline",) if offline else ()))
    return site.run("build", *options, *arguments, "linuxkit.yml", status=status)


def read(site: Site, name: str = NAME) -> bytes:
    """The document as GNU tar takes it out."""
    command = [tool("tar"), "--extract", "--to-stdout", "--warning=none", "--file", "linuxkit.tar", name]
    return subprocess.run(command, cwd=site.folder, capture_output=True, check=True).stdout


def names(site: Site) -> list[str]:
    command = [tool("tar"), "--list", "--warning=none", "--file", "linuxkit.tar"]
    return subprocess.run(command, cwd=site.folder, capture_output=True, text=True, check=True).stdout.split()


def test_the_documents_of_all_unpacked_images_are_joined_in_linuxkits_order(site: Site) -> None:
    build(site)

    document: dict[str, Any] = json.loads(read(site))
    assert [package["name"] for package in document["packages"]] == ["kernel", "init", "data", "app"]
    assert [package.get("packageFileName") for package in document["packages"]] == [
        None,
        None,
        "containers/volumes/data/lower",
        "containers/onboot/000-once/lower",
    ]
    assert [entry["fileName"] for entry in document["files"]] == [
        "/bin/kernel",
        "/bin/init",
        "containers/volumes/data/lower/bin/data",
        "containers/onboot/000-once/lower/bin/app",
    ]
    assert {entry["relationshipType"] for entry in document["relationships"]} == {"DESCRIBES"}
    assert document["creationInfo"]["created"] == "2017-04-18T16:30:00Z"


def test_it_is_the_last_entry_and_a_plain_ustar_one(site: Site) -> None:
    build(site)

    content = read(site)
    archive = (site.folder / "linuxkit.tar").read_bytes()
    size = -(-len(content) // 512) * 512
    header = archive[-1024 - size - 512 : -1024 - size]
    assert names(site)[-1] == NAME
    assert header[:100].rstrip(b"\0") == NAME.encode()
    assert header[100:148] == b"0000644\x000000000\x000000000\x00%011o\x0013075437410\x00" % len(content)
    assert (header[156:157], header[257:265]) == (b"0", b"ustar\x0000")
    # A pax header would stand right before it, with its records.
    assert b"LINUXKIT" not in archive[-1024 - size - 1024 :]
    assert archive[-1024 - size : -1024].rstrip(b"\0") == content


def test_a_system_of_images_without_sboms_has_one_all_the_same(site: Site) -> None:
    site.write("linuxkit.yml", "services:\n  - {name: plain, image: t/plain:v1}\n")

    build(site)

    document = json.loads(read(site))
    assert document["spdxVersion"] == "SPDX-2.3"
    assert "packages" not in document


def test_the_initrd_holds_it_too(site: Site) -> None:
    site.run(
        "build", "--arch", "amd64", "--offline", "--images", "mine", "--compression", "none", "linuxkit.yml"
    )

    command = [tool("cpio"), "--list", "--quiet"]
    initrd = (site.folder / "linuxkit-initrd.img").read_bytes()
    # Several archives one after another: the last one is the SBOM's, and starts after the trailer before it.
    last = initrd.rindex(b"070701", 0, initrd.rindex(NAME.encode()))
    listed = subprocess.run(command, input=initrd[last:], capture_output=True, check=True).stdout
    assert listed == f"{NAME}\n".encode()


def test_it_can_be_left_out_and_then_no_statement_is_fetched(site: Site) -> None:
    built = build(site, "--no-sbom", "-v")

    assert NAME not in names(site)
    unpacked = {name for name in IMAGES if name != "t/whole:v1"}
    statements = {
        f"blob {hex_of(layer)[:16]}"
        for name in unpacked
        for part in IMAGES[name].parts[1:]
        for layer in getattr(part, "layers", ())
    }
    assert len(statements) == 4
    assert not statements & built.ran.keys()


@pytest.mark.parametrize("path", ["usr/share/system.json", "containers/services/app/sbom.json"])
def test_another_place_in_the_system_can_be_chosen(path: str, site: Site) -> None:
    build(site, "--sbom-output", f"/{path}")

    assert json.loads(read(site, path))["name"] == "sbom"
    assert NAME not in names(site)


@pytest.mark.parametrize("path", ["", "/", "../x", "a//b", "a/."])
def test_what_is_no_path_in_a_system_is_refused(path: str, site: Site) -> None:
    failed = build(site, "--sbom-output", path, status=2)

    assert f"expected a path such as sbom.spdx.json with `--sbom-output`, got `{path}`" in failed.stderr


def test_a_file_of_the_config_does_not_win_over_it(site: Site) -> None:
    site.write("linuxkit.yml", f"files:\n  - {{path: {NAME}, contents: mine}}\n")

    build(site)

    assert names(site)[-1] == NAME
    assert json.loads(read(site).removeprefix(b"mine"))["name"] == "sbom"


def test_two_builds_are_the_same_and_another_system_has_another_namespace(site: Site) -> None:
    build(site)
    first, namespace = site.outputs(), json.loads(read(site))["documentNamespace"]
    build(site, "--no-cache")
    second = site.outputs()
    layout(site.folder / "mine", {**IMAGES, "t/init:v1": described("other")})
    build(site)

    assert first == second
    assert json.loads(read(site))["documentNamespace"] != namespace


def test_the_current_time_can_be_told(site: Site) -> None:
    before = time.time()

    build(site, "--sbom-current-time")

    created = json.loads(read(site))["creationInfo"]["created"]
    assert before - 1 <= calendar.timegm(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ")) <= time.time()


def test_a_changed_service_touches_no_sbom(site: Site) -> None:
    build(site)
    site.change("linuxkit.yml", "name: plain", "name: renamed")

    again = build(site, "-v")

    assert not [name for name in again.ran if "sbom" in name or name.startswith("blob ")]


def test_a_build_with_nothing_to_do_reads_no_statement(site: Site) -> None:
    build(site)
    for made in IMAGES.values():
        for part in made.parts[1:]:
            for layer in getattr(part, "layers", ()):
                (site.folder / "mine/blobs/sha256" / hex_of(layer)).unlink()

    again = build(site)

    assert again.counts["cached"] == sum(again.counts.values())


def test_a_registry_is_asked_once_for_the_statements(site: Site, tmp_path: Path) -> None:
    with registry(tmp_path / "registry") as server:
        name = server.push("t/app:v1", IMAGES["t/app:v1"])
        site.write("linuxkit.yml", f"services:\n  - {{name: app, image: {name}}}\n")
        build(site, offline=False)
        asked = server.requests()

        again = build(site, offline=False)

        assert server.requests() == asked
    assert again.counts["cached"] == sum(again.counts.values())
    assert json.loads(read(site))["packages"][0]["name"] == "app"
    (statement_hex,) = (hex_of(layer) for layer in IMAGES["t/app:v1"].parts[1].layers)  # type: ignore[union-attr]
    assert [line for line in asked if statement_hex in line] == [
        f"GET /v2/t/app/blobs/sha256:{statement_hex}"
    ]


def test_an_attestation_left_behind_is_told_and_the_system_is_built(site: Site) -> None:
    made = IMAGES["t/init:v1"]
    (site.folder / "mine/blobs/sha256" / hex_of(made.parts[1].manifest)).unlink()

    built = build(site)

    assert "docker.io/t/init:v1 goes without its SBOM" in built.stderr
    assert len(json.loads(read(site))["packages"]) == 3


def test_a_statement_that_is_none_ends_the_build_by_the_name_of_its_image(site: Site) -> None:
    broken = attested((PLAIN, attestation(statement({"spdxVersion": "SPDX-9"}))))
    layout(site.folder / "mine", {**IMAGES, "t/plain:v1": broken})

    failed = build(site, status=1)
    build(site, "--no-sbom")

    assert "the SBOM of docker.io/t/plain:v1: expected SPDX 2.1, 2.2 or 2.3, got `SPDX-9`" in failed.stderr
    assert "build with `--no-sbom`" in failed.stderr


def test_a_huge_statement_is_a_mistake_before_it_is_fetched(site: Site) -> None:
    small = attestation(statement(spdx()))
    manifest = json.loads(small.manifest)
    manifest["layers"][0]["size"] = 1 << 30
    huge = replace(small, manifest=json.dumps(manifest).encode())
    layout(site.folder / "mine", {**IMAGES, "t/plain:v1": attested((PLAIN, huge))})

    failed = build(site, status=2)
    build(site, "--no-sbom")

    assert (
        "linuxkit.yml:12:12: docker.io/t/plain:v1: expected an SBOM of at most 67108864 bytes"
        in failed.stderr
    )
