from __future__ import annotations

import json

import pytest

from kitbuild.compare.sections import (
    Setting,
    System,
    first_names,
    is_document,
    laid_out,
    part_named,
    without_tag,
)
from kitbuild.compare.snapshot import File

FILE = File("file", 0o644, size=3)
FOLDER = File("directory", 0o755)


def system(*paths: str, **fields: object) -> System:
    return System("x", "output", dict.fromkeys(paths, FILE), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "section", "short"),
    [
        ("boot/kernel", "kernel", "boot/kernel"),
        ("lib/modules/6.1/a.ko", "kernel", "lib/modules/6.1/a.ko"),
        ("usr/lib/modules/a", "kernel", "usr/lib/modules/a"),
        ("lib/modules.d/a", "root", "lib/modules.d/a"),
        ("etc/hostname", "root", "etc/hostname"),
        ("containers/onboot/003-dhcp/config.json", "onboot dhcp", "containers/onboot/dhcp/config.json"),
        ("containers/onshutdown/000-bye/x", "onshutdown bye", "containers/onshutdown/bye/x"),
        ("containers/services/001-web/x", "services 001-web", "containers/services/001-web/x"),
        ("containers/volumes/data/lower/x", "volumes data", "containers/volumes/data/lower/x"),
        ("containers/other/x", "root", "containers/other/x"),
    ],
)
def test_a_path_belongs_to_the_section_that_wrote_it(path: str, section: str, short: str) -> None:
    found = laid_out(system(path), by_part=False)

    assert {section: {short: FILE}} == {name: one.files for name, one in found.sections.items()}


def test_a_part_that_is_named_says_more_than_the_path() -> None:
    files = {
        "etc/x": FILE._replace(part="init kit/init"),
        "etc/y": FILE._replace(part="files"),
        "etc/z": FILE,
    }

    found = laid_out(System("x", "output", files, has_parts=True), by_part=True)

    assert ["init kit/init", "files", "root"] == list(found.sections)


def test_two_containers_of_one_name_stay_apart() -> None:
    found = laid_out(system("containers/onboot/000-a/x", "containers/onboot/001-a/x"), by_part=False)

    assert {"onboot a": "000", "onboot a #2": "001"} == {
        name: one.number for name, one in found.sections.items()
    }


def test_folders_that_hold_sections_are_nobodys() -> None:
    files = {"containers": FOLDER, "containers/services": FOLDER, "containers/services/web/x": FILE}

    assert ["services web"] == list(laid_out(System("x", "output", files), by_part=False).sections)


def test_the_number_of_a_container_is_no_part_of_how_it_runs() -> None:
    def runtime(number: str) -> object:
        path = f"containers/onboot/{number}-a/runtime.json"
        text = json.dumps({"mounts": [{"source": f"/containers/onboot/{number}-a/lower"}]})
        return (
            laid_out(system(path, documents={path: text.encode()}), by_part=False)
            .sections["onboot a"]
            .runtime
        )

    assert runtime("000") == runtime("001")


def test_a_document_that_cannot_be_read_is_a_warning() -> None:
    documents = {
        "containers/services/a/config.json": b"{",
        "containers/services/a/runtime.json": b"{}",
        "sbom.spdx.json": None,
        "lib/apk/db/installed": b"P:musl\nV:1\n\n",
    }

    found = laid_out(system(*documents, documents=documents), by_part=False)

    assert {"runtime.json": {}} == found.sections["services a"].runtime
    assert {"musl": ("1",)} == found.sections["root"].packages
    assert [
        "x: cannot compare config.json of services a",
        "x: cannot compare the packages in sbom.spdx.json",
    ] == [warning.partition(": ")[0] + ": " + warning.split(": ")[1] for warning in found.warnings]


def test_packages_of_a_database_are_not_told_from_the_sbom_again() -> None:
    bill = json.dumps({"packages": [{"name": name, "versionInfo": "1"} for name in ("musl", "web")]}).encode()
    documents = {
        "sbom.spdx.json": bill,
        "containers/services/a/rootfs/lib/apk/db/installed": b"P:musl\nV:1\n\n",
    }

    found = laid_out(system(*documents, documents=documents), by_part=False)

    assert ({"musl": ("1",)}, {"web": ("1",)}) == (found.sections["services a"].packages, found.packages)


def test_what_is_not_known_of_a_section_is_not_known_of_the_root_it_is_in() -> None:
    one = System("x", "config", {"etc/x": FILE._replace(part="files")}, has_parts=True, unknown=("init a/b",))

    assert laid_out(one, by_part=False).sections["root"].files is None
    assert {"init a/b": None, "files": {"etc/x": FILE._replace(part="files")}} == {
        name: section.files for name, section in laid_out(one, by_part=True).sections.items()
    }


def test_a_section_of_a_config_is_there_without_files() -> None:
    one = System("x", "config", settings={"init a/b:v1": Setting(None), "services a": Setting({"name": "a"})})

    assert ["init a/b", "services a"] == list(laid_out(one, by_part=True).sections)


@pytest.mark.parametrize(
    ("location", "source", "section"),
    [
        ("kernel", "docker.io/kit/kernel:v1", "kernel"),
        ("init[0]", "docker.io/kit/init:v1", "init kit/init"),
        ("init", "LINUXKIT.apkinit", "init"),
        ("files[3]", "linuxkit.files", "files"),
        ("onboot[0]", "docker.io/kit/dhcp:v1", ""),
        ("", "", ""),
        ("../x", "", ""),
    ],
)
def test_a_note_of_a_tar_names_a_section(location: str, source: str, section: str) -> None:
    assert section == part_named(location, source)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("kit/init:v1", "kit/init"),
        ("docker.io/library/alpine:3", "alpine"),
        ("localhost:5000/a/b@sha256:00", "localhost:5000/a/b"),
        ("localhost:5000/a/b:v1", "localhost:5000/a/b"),
    ],
)
def test_a_tag_that_moves_leaves_the_name_of_a_section(reference: str, name: str) -> None:
    assert name == without_tag(reference)


def test_the_first_name_of_a_file_is_the_file() -> None:
    files = [
        ("b", FILE),
        ("a", File("hardlink", 0o600, target="c")),
        ("c", File("hardlink", 0o644, target="b")),
    ]

    found = first_names(files)

    assert FILE == found["a"]
    assert [("hardlink", "a", 0), ("hardlink", "a", 0)] == [
        (found[name].kind, found[name].target, found[name].size) for name in ("b", "c")
    ]


def test_hard_links_in_a_circle_stay_as_they_are() -> None:
    links = {"a": File("hardlink", 0, target="b"), "b": File("hardlink", 0, target="a")}

    assert links == first_names(links.items())


@pytest.mark.parametrize(
    ("path", "is_read"),
    [
        ("containers/services/a/config.json", True),
        ("containers/onboot/000-a/runtime.json", True),
        ("containers/services/a/rootfs/config.json", False),
        ("sbom.spdx.json", True),
        ("usr/sbom.spdx.json", False),
        ("containers/services/a/lower/var/lib/dpkg/status", True),
        ("containers/services/a/lower/var/lib/dpkg/status.d/base", True),
        ("var/lib/dpkg/status.d/base.md5sums", False),
        ("usr/lib/apk/db/installed", True),
        ("etc/lib/apk/db/installed.old", False),
    ],
)
def test_documents_are_what_is_looked_into(path: str, is_read: bool) -> None:
    assert is_read == is_document(path)
