"""kitbuild init: what it writes can be built as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kitbuild.cli.init import STARTERS
from tests.support.boot import kit_images
from tests.support.command import Site

pytestmark = pytest.mark.integration


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    (site.folder / "linuxkit.yml").unlink()
    return site


def test_config_is_written_and_what_to_do_next(site: Site) -> None:
    finished = site.run("init")

    text = finished.stdout.decode()
    assert text.startswith("wrote linuxkit.yml; next:\n")
    assert "kitbuild build linuxkit.yml" in text
    assert "\n  kitbuild help config " in text


@pytest.mark.parametrize("name", STARTERS)
def test_every_starter_is_a_config_without_a_mistake(site: Site, name: str) -> None:
    site.run("init", "--starter", name, "my system.yml")

    merged = site.run("build", "--dry-run", "my system.yml").stdout.decode()
    graph = site.run("graph", "--offline", "my system.yml").stdout.decode()

    written = (site.folder / "my system.yml").read_text()
    assert yaml.safe_load(merged)["kernel"] == yaml.safe_load(written)["kernel"]
    assert "initrd" in graph
    assert "{" not in "".join(line for line in written.splitlines() if line.startswith("#"))


@pytest.mark.parametrize("name", STARTERS)
def test_commands_of_a_starter_are_commands(site: Site, name: str) -> None:
    text = site.run("init", "--starter", name, "-").stdout.decode()

    commands = [line.split()[2:] for line in text.splitlines() if line.startswith("#   kitbuild build ")]
    assert commands
    for command in commands:
        flags = [word for word in command[: command.index("linuxkit.yml")] if word.startswith("--")]
        assert all(flag in site.run("build", "--help").stdout.decode() for flag in flags)


def test_starter_of_the_kit_builds_here(site: Site) -> None:
    images = kit_images()
    site.run("init", "--starter", "kit", "box.yml")

    site.run(
        "build",
        "--offline",
        "--images",
        str(images),
        "--format",
        "kernel+initrd,tar-kernel-initrd",
        "box.yml",
    )

    assert (site.folder / "box-initrd.img").stat().st_size > 1_000_000
    assert (site.folder / "box-cmdline").read_text().strip() == "console=ttyS0"


def test_file_that_is_there_is_left_alone(site: Site) -> None:
    site.write("linuxkit.yml", "mine")

    finished = site.run("init", status=2)

    assert finished.stderr == (
        "error: expected no file at `linuxkit.yml`, got one\nhint: give another name: kitbuild init NAME.yml\n"
    )
    assert (site.folder / "linuxkit.yml").read_text() == "mine"


def test_link_to_nowhere_is_not_written_through(site: Site) -> None:
    (site.folder / "linuxkit.yml").symlink_to(site.folder / "elsewhere")

    site.run("init", status=2)

    assert not (site.folder / "elsewhere").exists()


def test_starters_are_listed(site: Site) -> None:
    listed = site.run("init", "--list").stdout.decode()

    assert [line.split()[0] for line in listed.splitlines()] == list(STARTERS)


def test_folder_that_is_not_there_is_an_error(site: Site) -> None:
    finished = site.run("init", "no/such.yml", status=1)

    assert finished.stderr == "error: cannot write `no/such.yml`: No such file or directory\n"
