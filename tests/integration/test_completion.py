"""Completions in real shells: what Tab makes of a line, and what the shell then takes it for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitbuild.cli.init import STARTERS
from kitbuild.registry import formats
from tests.support.command import PROGRAM, Site
from tests.support.registry import tool
from tests.support.shells import Terminal, fish

pytestmark = pytest.mark.integration

# A name with what shells split words at, and quote.
NODE = "services web: bundle"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A folder with a config that was built, and files that are no config."""
    site = Site(tmp_path_factory.mktemp("completion") / "site")
    site.environment["PATH"] = f"{PROGRAM.parent}:{os.environ['PATH']}"
    site.write("more/site.yaml", "files: []\n")
    site.write("notes.txt", "")
    site.run("build", "-q", "linuxkit.yml")
    return site


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, site: Site) -> Iterator[Terminal]:
    tool(request.param)
    if request.param == "bash" and not Path("/usr/share/bash-completion/bash_completion").exists():
        tool("bash-completion")
    with Terminal(request.param, site.folder, site.environment) as shell:
        yield shell


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        pytest.param("kitbuild gra\t", ["kitbuild", "graph"], id="command"),
        pytest.param("kitbuild cache ver\t", ["kitbuild", "cache", "verify"], id="command of a command"),
        pytest.param("kitbuild build --requ\t", ["kitbuild", "build", "--require-cached"], id="flag"),
        pytest.param("kitbuild build linux\t", ["kitbuild", "build", "linuxkit.yml"], id="config"),
        pytest.param(
            "kitbuild build mo\tsi\t", ["kitbuild", "build", "more/site.yaml"], id="config in a folder"
        ),
        pytest.param(
            "kitbuild build linuxkit.yml --format kernel+sq\t",
            ["kitbuild", "build", "linuxkit.yml", "--format", "kernel+squashfs"],
            id="format",
        ),
        pytest.param(
            "kitbuild build --format iso,kernel+er\t",
            ["kitbuild", "build", "--format", "iso,kernel+erofs"],
            id="second format",
        ),
        pytest.param(
            "kitbuild build --arch ris\t", ["kitbuild", "build", "--arch", "riscv64"], id="architecture"
        ),
        pytest.param(
            "kitbuild build --compression z\t", ["kitbuild", "build", "--compression", "zstd"], id="setting"
        ),
        pytest.param("kitbuild completion fi\t", ["kitbuild", "completion", "fish"], id="shell"),
        pytest.param("kitbuild help exi\t", ["kitbuild", "help", "exit-status"], id="topic"),
        pytest.param("kitbuild init --starter w\t", ["kitbuild", "init", "--starter", "web"], id="starter"),
        pytest.param("kitbuild --color nev\t", ["kitbuild", "--color", "never"], id="before the command"),
        pytest.param(
            "kitbuild graph linuxkit.yml --deps services\\ web:\\ b\t",
            ["kitbuild", "graph", "linuxkit.yml", "--deps", NODE],
            id="node",
        ),
        pytest.param(
            "kitbuild graph linuxkit.yml --deps 'services web: b\t",
            ["kitbuild", "graph", "linuxkit.yml", "--deps", NODE],
            id="node in quotes",
        ),
        pytest.param(
            "kitbuild graph --deps initr\t",
            ["kitbuild", "graph", "--deps", "initrd"],
            id="node of the last build",
        ),
    ],
)
def test_tab_completes_the_word(shell: Terminal, typed: str, words: list[str]) -> None:
    assert shell.words(typed) == words


def test_tab_shows_what_there_is(shell: Terminal) -> None:
    commands, configs = shell.shown("kitbuild \t"), shell.shown("kitbuild build \t")

    assert all(name in commands for name in ("graph", "why", "doctor", "completion"))
    assert "linuxkit.yml" in configs
    assert "more/" in configs
    assert "notes.txt" not in configs


def test_fish_offers_values_with_what_they_are(site: Site) -> None:
    tool("fish")

    offers = fish("kitbuild gra", site.folder, site.environment)
    made = fish("kitbuild build --format kernel+", site.folder, site.environment)
    nodes = fish("kitbuild graph linuxkit.yml --deps services", site.folder, site.environment)

    assert offers == {"graph": "show what a config turns into and what of it is cached"}
    assert made == {name: one.summary for name, one in formats().items() if name.startswith("kernel+")}
    assert nodes[NODE] == "assemble/container"
    assert fish("kitbuild init --starter s", site.folder, site.environment) == {"ssh": STARTERS["ssh"]}
    assert fish("kitbuild build lin", site.folder, site.environment) == {"linuxkit.yml": "file"}


def test_builds_and_images_that_are_remembered_are_offered(site: Site) -> None:
    tool("fish")

    builds = fish("kitbuild why --since 2", site.folder, site.environment)
    images = fish("kitbuild update docker.io/t/w", site.folder, site.environment)

    (told,) = builds.values()
    scope, _, cause = told.partition(": ")
    assert scope.rpartition("/")[2] == "linuxkit.yml"
    assert cause
    assert list(images) == ["docker.io/t/web:v1"]
    assert "initrd" in fish("kitbuild why ini", site.folder, site.environment)


def test_nodes_of_a_config_nobody_built_are_offered_too(site: Site) -> None:
    tool("fish")
    site.write("new.yml", "init: [t/init:v1]\n")

    offers = fish("kitbuild graph new.yml --deps init", site.folder, site.environment)

    assert offers["init t/init:v1: root"] == "assemble/init"


def test_question_that_cannot_be_answered_is_answered_with_nothing(site: Site) -> None:
    tool("fish")
    site.write("broken.yml", "init: {")

    for line in (
        "kitbuild nonsense --fl",
        "kitbuild graph broken.yml --deps ",
        "kitbuild graph --cache-dir /proc/nowhere --deps ",
        "kitbuild build /nowhere/",
    ):
        assert fish(line, site.folder, {**site.environment, "KITBUILD_CACHE_DIR": "/proc/nowhere"}) == {}


def test_answer_comes_while_one_types(site: Site) -> None:
    tool("fish")
    fish("kitbuild gra", site.folder, site.environment)
    started = time.monotonic()

    fish("kitbuild graph linuxkit.yml --deps serv", site.folder, site.environment)

    # fish itself, the script from kitbuild, and the answer.
    assert time.monotonic() - started < 2


def test_a_question_starts_no_program_of_a_folder_a_config_names(site: Site) -> None:
    git = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    folder = site.folder / "cloned"
    for name, content in (
        ("pkg/build.yml", "image: x\n"),
        ("pkg/a", "a"),
        (".gitattributes", "* filter=x\n"),
    ):
        site.write(f"cloned/{name}", content)
    site.run("-C", "cloned", "init", "-q", program=[tool("git")])
    site.run("-C", "cloned", "add", "-A", program=[tool("git")])
    site.run("-C", "cloned", *git, "commit", "-qm", "all", program=[tool("git")])
    site.run("-C", "cloned", "config", "filter.x.clean", f"touch {folder}/ran; cat", program=[tool("git")])
    # Now git has to look whether it changed.
    os.utime(folder / "pkg" / "a", (1, 1))
    config = site.write("cloned/x.yml", 'init: ["@pkg:./pkg"]\n')
    line = f"kitbuild why {config} "

    site.run(
        environment={
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(folder / "words"),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
        }
    )

    assert not (folder / "ran").exists()
