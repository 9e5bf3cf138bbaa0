"""LinuxKit's command lines through the program: what happens, what is said, how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import OUTPUTS, Site, small_images
from tests.support.images import layout
from tests.support.registry import registry

pytestmark = pytest.mark.integration


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.mark.parametrize(
    "line",
    [
        "build linuxkit.yml",
        "-v 1 build --format kernel+initrd linuxkit.yml",
        "build linuxkit.yml --disable-content-trust --pull=false --size 512M",
        "--quiet=false build --docker=false --no-sbom=false linuxkit.yml",
    ],
)
def test_plain_build_makes_the_same_files_however_it_is_written(site: Site, line: str) -> None:
    finished = site.run(*line.split())

    assert all((site.folder / name).is_file() for name in OUTPUTS)
    assert "warning" not in finished.stderr


def test_level_2_says_why_nodes_run_and_level_3_what_they_gave(site: Site) -> None:
    second = site.run("-v", "2", "build", "linuxkit.yml")
    third = site.run("build", "--no-cache", "-v", "3", "linuxkit.yml")

    assert second.ran
    assert "done: " not in second.stderr
    assert "done: " in third.stderr


def test_level_0_says_nothing(site: Site) -> None:
    assert site.run("-v", "0", "build", "linuxkit.yml").stderr == ""


def test_warnings_say_what_is_not_done(site: Site) -> None:
    flags = ("--docker", "--input-tar", "before.tar", "--format", "tar", "--o", "after.tar")

    finished = site.run("build", *flags, "linuxkit.yml")

    assert finished.lines[:2] == [
        "warning: `--input-tar` is not read: every build runs only what changed",
        "warning: no Docker engine is asked: give images that only it has with `docker save` and `--images`",
    ]
    assert (site.folder / "after.tar").is_file()


def test_failed_check_leaves_no_file_behind(site: Site) -> None:
    site.write("same.tar", "kept")

    site.run("build", "--input-tar", "same.tar", "--o", "same.tar", "linuxkit.yml", status=2)

    assert (site.folder / "same.tar").read_text() == "kept"


def test_cache_of_linuxkit_is_read_wherever_it_is_named(site: Site) -> None:
    layout(site.folder / "theirs", small_images())
    environment = {"KITBUILD_IMAGES": None}

    before = site.run("--cache", "theirs", "build", "linuxkit.yml", environment=environment)
    behind = site.run("build", "linuxkit.yml", "--cache", "theirs", environment=environment)
    variable = site.run("build", "linuxkit.yml", environment={**environment, "LINUXKIT_CACHE": "theirs"})

    assert before.counts["run"] > 0
    assert (behind.counts["run"], variable.counts["run"]) == (0, 0)


def test_pull_asks_the_registry_whatever_the_cache_has(site: Site) -> None:
    images = small_images()
    layout(site.folder / "theirs", images)
    with registry(site.folder / "registry") as server:
        reference = server.push("t/kernel:v2", images["t/kernel:v1"])
        layout(site.folder / "theirs", {reference: images["t/hello:v1"]})
        site.write("pulled.yml", f'kernel: {{image: "{reference}"}}\n')

        cached = site.run("build", "--cache", "theirs", "pulled.yml", status=1).stderr
        site.run("build", "--cache", "theirs", "--pull", "pulled.yml")

    assert "kernel" in cached  # the image of that name in the cache has none


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(
            "build --mirror mirror.example linuxkit.yml",
            "error: `--mirror`: expected [REGISTRY=]URL, got `mirror.example`\n"
            "hint: `mirror.example`: write an address that begins with http:// or https://\n",
            id="no scheme",
        ),
        pytest.param(
            "--mirror docker.io=ftp://m build linuxkit.yml",
            "error: `--mirror`: expected [REGISTRY=]URL, got `docker.io=ftp://m`\n",
            id="another scheme",
        ),
        pytest.param(
            "build --mirror https://user:secret@m.example linuxkit.yml",
            "error: `--mirror`: expected [REGISTRY=]URL, got ",
            id="a password",
        ),
        pytest.param(
            "build --arch amd46 linuxkit.yml",
            "error: expected an architecture with `--arch`, got `amd46`\nhint: did you mean `amd64`?\n",
            id="architecture",
        ),
        pytest.param(
            "-q --verbose 2 build linuxkit.yml",
            "error: expected either `--quiet` or `--verbose`, got both\n",
            id="quiet and loud",
        ),
        pytest.param(
            "build --siez 2G linuxkit.yml",
            "usage: kitbuild build [flags] CONFIG [CONFIG ...]\n"
            "error: unknown flag `--siez`\nhint: did you mean `--size`?\n",
            id="unknown flag",
        ),
    ],
)
def test_wrong_line_ends_with_status_2_and_one_sentence(site: Site, line: str, message: str) -> None:
    finished = site.run(*line.split(), status=2)

    assert finished.stderr.startswith(message)
    assert "secret" not in finished.stderr
    assert not (site.folder / "cache" / "blobs").exists()
