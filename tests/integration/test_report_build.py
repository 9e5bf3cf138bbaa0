"""The page as commands write it: after builds that did something, did nothing, or failed, and of a graph."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from kitbuild.record import Record
from tests.support import images
from tests.support.command import CONFIG, Site, digest_of, small_images

pytestmark = pytest.mark.integration


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def document(site: Site, name: str = "build.html") -> dict[str, Any]:
    text = (site.folder / name).read_text()
    found = re.search(r'<script type="application/json" id="document">(.*?)</script>', text, re.S)
    assert found
    loaded: dict[str, Any] = json.loads(found[1])
    return loaded


def states(told: dict[str, Any]) -> set[str]:
    return {node["state"] for node in told["nodes"]}


def test_a_build_writes_a_page_about_itself(site: Site) -> None:
    site.run("build", "--report", "build.html", "linuxkit.yml")

    told = document(site)
    assert ("build", "linuxkit.yml") == (told["kind"], told["name"])
    assert {"ran"} == states(told)
    outputs = {output["path"]: output["digest"] for output in told["outputs"]}
    paths = ("linuxkit-kernel", "linuxkit-cmdline", "linuxkit-initrd.img")
    assert {path: digest_of(site.folder / path) for path in paths} == outputs
    sizes = {output["path"]: output["size"] for output in told["outputs"]}
    assert {path: (site.folder / path).stat().st_size for path in paths} == sizes


def test_a_page_tells_where_nodes_are_written_and_why_they_ran(site: Site) -> None:
    site.run("build", "linuxkit.yml")
    site.change("linuxkit.yml", "contents: first", "contents: second")
    site.run("build", "--report", "build.html", "linuxkit.yml")

    files = next(node for node in document(site)["nodes"] if node["name"] == "files")
    assert "ran" == files["state"]
    assert "linuxkit.yml:14" == files["place"]
    assert files["why"]


def test_a_page_tells_what_fills_the_image(site: Site) -> None:
    site.run("build", "--report", "build.html", "linuxkit.yml")

    content = document(site)["content"]
    rows = {
        row[2]: (content["sections"][row[0]], content["packages"][row[1]], row[3]) for row in content["rows"]
    }
    assert ("files", "", len("first")) == rows["etc/note"]
    assert ("kernel", "", 100_000) == rows["boot/kernel"]
    assert [] == content["missing"]
    assert sum(row[3] for row in content["rows"]) == content["size"]


def test_a_page_tells_which_package_owns_a_file(site: Site) -> None:
    web = images.image(
        {
            "bin/web": b"#!/bin/sh\n",
            "var/lib/dpkg/info/webd.list": b"/.\n/bin\n/bin/web\n",
            "srv/page": b"page",
        },
        cmd=["/bin/web"],
    )
    images.layout(site.folder / "images", {**small_images(), "t/web:v1": web})

    site.run("build", "--report", "build.html", "linuxkit.yml")

    content = document(site)["content"]
    owners = {row[2].rpartition("/lower/")[2]: content["packages"][row[1]] for row in content["rows"]}
    assert ("webd", "") == (owners["bin/web"], owners["srv/page"])


def test_a_build_with_nothing_to_do_writes_one_too(site: Site) -> None:
    site.run("build", "linuxkit.yml")
    site.run("build", "--report", "build.html", "linuxkit.yml")

    told = document(site)
    assert {"near"} == states(told)
    assert all(output["digest"] for output in told["outputs"])


def test_a_build_that_failed_writes_one_too(site: Site) -> None:
    site.run("build", "--report", "ok.html", "linuxkit.yml")
    blob = max((site.folder / "images/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"broken")

    site.run("build", "--no-cache", "--report", "build.html", "linuxkit.yml", status=1)

    told = document(site)
    assert {"failed", "left", "ran"} <= states(told)
    failed = [node for node in told["nodes"] if node["state"] == "failed"]
    assert all(node["log"] for node in failed)


def test_a_page_changes_nothing_of_a_build(site: Site, tmp_path: Path) -> None:
    plain = Site(tmp_path / "plain")

    plain.run("build", "linuxkit.yml")
    site.run("build", "--report", "build.html", "linuxkit.yml")

    assert plain.outputs() == site.outputs()


def test_pages_of_two_builds_that_do_the_same_differ_in_times_alone(site: Site) -> None:
    site.run("build", "linuxkit.yml")
    pages = []
    for _ in range(2):
        site.run("build", "--report", "build.html", "linuxkit.yml")
        told = document(site)
        for name in ("began", "seconds", "id"):
            del told[name]
        pages.append(told)

    assert pages[0] == pages[1]


def test_a_page_that_cannot_be_written_is_an_error(site: Site) -> None:
    (site.folder / "build.html").mkdir()

    ended = site.run("build", "--report", "build.html", "linuxkit.yml", status=1)

    assert "cannot write `build.html`" in ended.stderr


def test_a_graph_is_a_page_too(site: Site) -> None:
    site.run("graph", "--format", "html", "--output", "graph.html", "linuxkit.yml")

    told = document(site, "graph.html")
    assert "graph" == told["kind"]
    assert {"run"} == states(told)
    assert 0 == told["began"]


def test_a_page_of_a_graph_tells_of_the_last_build(site: Site) -> None:
    site.run("build", "linuxkit.yml")
    site.change("linuxkit.yml", "contents: first", "contents: second")
    site.run("graph", "--format", "html", "--output", "graph.html", "linuxkit.yml")

    told = document(site, "graph.html")
    nodes = {node["name"]: node for node in told["nodes"]}
    assert ("run", "ran") == (nodes["files"]["state"], nodes["files"]["last"])
    assert "near" == nodes["image docker.io/t/web:v1"]["state"]
    assert told["began"] > 0


def test_trees_that_are_not_here_are_said_to_be_missing(site: Site) -> None:
    site.run("build", "linuxkit.yml")
    for blob in (site.folder / "cache/blobs").rglob("*"):
        if blob.is_file() and blob.read_bytes()[:15] == b"kitbuild-tree 1":
            blob.unlink()

    site.run("build", "--report", "build.html", "linuxkit.yml")

    content = document(site)["content"]
    assert content["parts"] == len(content["missing"]) > 0
    assert [] == content["rows"]


def test_names_from_images_cannot_leave_the_data(site: Site) -> None:
    hostile = CONFIG.replace("path: etc/note", "path: etc/</script><script>alert(1)</script>")
    site.write("linuxkit.yml", hostile)

    site.run("build", "--report", "build.html", "linuxkit.yml")

    text = (site.folder / "build.html").read_text()
    assert "<script>alert" not in text
    assert any("</script>" in row[2] for row in document(site)["content"]["rows"])


def test_an_image_is_told_with_its_digest_and_place(site: Site) -> None:
    site.run("build", "--report", "build.html", "linuxkit.yml")

    found = {image["reference"]: image for image in document(site)["images"]}
    web = found["docker.io/t/web:v1"]
    assert 64 == len(web["manifest"])
    assert "linuxkit.yml:12" == web["place"]


def test_a_build_that_ended_too_early_is_not_told_as_the_one_before(site: Site) -> None:
    site.run("build", "linuxkit.yml")
    site.change("linuxkit.yml", "contents: first", "contents: second")

    flags = ["--require-cached", "--report", "build.html", "--record", "build.json"]
    finished = site.run("build", *flags, "linuxkit.yml", status=1)

    assert "warning: `build.json` and `build.html` not written: the build ended too early" in finished.stderr
    assert not (site.folder / "build.html").exists()
    assert not (site.folder / "build.json").exists()


@pytest.mark.parametrize("flag", ["--report", "--record", "--profile"])
def test_nothing_is_built_for_a_file_in_a_folder_that_is_not_there(flag: str, site: Site) -> None:
    finished = site.run("build", flag, "none/file", "linuxkit.yml", status=2)

    assert finished.stderr.startswith("error: expected a folder at `none`, got none\n")
    assert not (site.folder / "linuxkit-kernel").exists()


def test_files_about_a_build_replace_others_as_a_whole(site: Site) -> None:
    old = site.write("build.html", "old")
    (site.folder / "other").hardlink_to(old)

    site.run("build", "--report", "build.html", "linuxkit.yml")

    assert (site.folder / "other").read_text() == "old"
    assert document(site)["kind"] == "build"
    assert not list(site.folder.glob(".kitbuild-*"))


def test_a_record_goes_into_a_pipe_that_is_still_there(site: Site) -> None:
    os.mkfifo(site.folder / "pipe")

    told = site.run("build", "--record", "pipe", "linuxkit.yml", shell='cat pipe & "$@"; wait').stdout

    assert Record.decode(told).nodes
    assert (site.folder / "pipe").is_fifo()
