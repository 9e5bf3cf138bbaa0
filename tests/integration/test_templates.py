"""`@pkg:` templates and real git repositories: tags as `linuxkit pkg show-tag --canonical` gives them."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest

from kitbuild.config import template
from kitbuild.config.load import load
from kitbuild.errors import ConfigErrors
from tests.support import images
from tests.support.command import Site, small_images
from tests.support.registry import tool

pytestmark = pytest.mark.integration


class Repository:
    """A git repository with a package in `packages/redis` and a config that names it."""

    def __init__(self, folder: Path) -> None:
        self._program = tool("git")
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet")
        self.write("packages/redis/build.yml", "image: redis\norg: acme\n")
        self.write("packages/redis/Dockerfile", "FROM scratch\n")
        self.write("configs/linuxkit.yml", 'init: ["@pkg:../packages/redis"]\n')
        self.commit()

    def git(self, *arguments: str) -> str:
        names = ("-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
        command = [self._program, "-C", str(self.folder), *names, *arguments]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "now")

    def tree(self, path: str) -> str:
        """The object name of a folder as ls-tree lists it."""
        return self.git("ls-tree", "HEAD", path).split()[2]

    def name(self) -> str:
        """What the template in the config stands for."""
        return load([str(self.folder / "configs/linuxkit.yml")]).init[0].image_text

    def mistake(self) -> str:
        """Why it stands for nothing."""
        with pytest.raises(ConfigErrors) as raised:
            self.name()
        [error] = raised.value.errors
        return str(error)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def content_hash(*contents: str) -> str:
    return hashlib.sha256("".join(contents).encode()).hexdigest()[:7]


def test_tag_is_the_tree_that_was_committed(repository: Repository) -> None:
    assert repository.name() == f"docker.io/acme/redis:{repository.tree('packages/redis')}"


def test_commit_elsewhere_changes_nothing(repository: Repository) -> None:
    before = repository.name()
    repository.write("packages/other/file", "x")
    repository.commit()

    assert before == repository.name()


def test_package_that_is_the_whole_repository_has_the_tree_of_the_commit(repository: Repository) -> None:
    repository.write("build.yml", "image: all\n")
    repository.write("configs/linuxkit.yml", 'init: ["@pkg:.."]\n')
    repository.commit()

    assert repository.name() == f"docker.io/linuxkit/all:{repository.git('rev-parse', 'HEAD^{tree}')}"


def test_changed_file_makes_the_package_dirty_with_the_hash_of_its_content(repository: Repository) -> None:
    repository.write("packages/redis/Dockerfile", "FROM alpine\n")

    digits = content_hash("FROM alpine\n", "image: redis\norg: acme\n")
    assert repository.name() == f"docker.io/acme/redis:{repository.tree('packages/redis')}-dirty-{digits}"


def test_new_file_makes_the_package_dirty_and_comes_last_in_the_hash(repository: Repository) -> None:
    repository.write("packages/redis/Afile", "new\n")
    (repository.folder / "packages/redis/link").symlink_to("Dockerfile")

    digits = content_hash("FROM scratch\n", "image: redis\norg: acme\n", "new\n")
    assert repository.name().endswith(f"-dirty-{digits}")


def test_change_that_is_staged_and_undone_leaves_it_clean(repository: Repository) -> None:
    repository.write("packages/redis/Dockerfile", "FROM alpine\n")
    repository.git("add", "--all")
    repository.write("packages/redis/Dockerfile", "FROM scratch\n")

    assert "-dirty-" not in repository.name()


def test_deleted_file_makes_the_package_dirty(repository: Repository) -> None:
    (repository.folder / "packages/redis/Dockerfile").unlink()

    assert repository.name().endswith(f"-dirty-{content_hash('image: redis', chr(10), 'org: acme', chr(10))}")


def test_ignored_file_and_changes_elsewhere_leave_it_clean(repository: Repository) -> None:
    repository.write(".gitignore", "*.log\n")
    repository.commit()
    repository.write("packages/redis/a.log", "x")
    repository.write("packages/new", "x")

    assert repository.name() == f"docker.io/acme/redis:{repository.tree('packages/redis')}"


def test_touched_file_leaves_it_clean_and_the_index_as_it_is(repository: Repository) -> None:
    os.utime(repository.folder / "packages/redis/Dockerfile", (1, 1))
    before = (repository.folder / ".git/index").read_bytes()

    assert "-dirty-" not in repository.name()
    assert before == (repository.folder / ".git/index").read_bytes()


def test_extra_sources_are_hashed_into_the_tag(repository: Repository) -> None:
    repository.write(
        "packages/redis/build.yml", "image: redis\nextra-sources: ['../shared:/s', '../..:/all']\n"
    )
    repository.write("packages/shared/file", "shared")
    repository.commit()

    trees = [repository.tree("packages/redis"), repository.tree("packages/shared")]
    whole = repository.git("rev-parse", "HEAD^{tree}")
    expected = hashlib.sha1("".join([*trees, whole]).encode()).hexdigest()
    assert repository.name() == f"docker.io/linuxkit/redis:{expected}"


def test_tag_of_the_package_itself_does_not_count(repository: Repository) -> None:
    repository.write("packages/redis/build.yml", "image: redis\ntag: v1\n")
    repository.commit()

    assert repository.name() == f"docker.io/linuxkit/redis:{repository.tree('packages/redis')}"


def test_package_outside_git_is_the_latest(tmp_path: Path) -> None:
    tool("git")
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis/build.yml").write_text("image: redis\norg: quay.example/acme\n")
    (tmp_path / "linuxkit.yml").write_text('init: ["@pkg:redis"]\n')

    assert load([str(tmp_path / "linuxkit.yml")]).init[0].image_text == "quay.example/acme/redis:latest"


def test_package_never_committed_is_a_mistake_in_its_place(repository: Repository) -> None:
    repository.write("packages/new/build.yml", "image: new\n")
    config = repository.write("configs/linuxkit.yml", 'init: ["@pkg:../packages/new"]\n')

    folder = repository.folder / "packages/new"
    assert repository.mistake() == (
        f"{config}:1:8: `@pkg:../packages/new`: {folder} is in no commit of its git repository"
    )


def test_extra_source_outside_git_is_a_mistake(repository: Repository) -> None:
    repository.write("packages/redis/build.yml", "image: redis\nextra-sources: ['../../..:/x']\n")

    assert "expected `extra-sources` inside a git work tree, got " in repository.mistake()


def test_git_that_is_not_there_is_a_mistake(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository.folder))

    assert "the program git is not there" in repository.mistake()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param("exec sleep 30", "git did not answer in 0.2 s", id="hangs"),
        pytest.param(
            "echo first >&2; echo second >&2; exit 3", "`git rev-parse` fails in .*: second$", id="fails"
        ),
        pytest.param("echo false", "git refuses .*: false$", id="no work tree"),
    ],
)
def test_git_that_misbehaves_is_a_mistake(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    repository.write("bin/git", f"#!/bin/sh\n{script}\n").chmod(0o755)
    monkeypatch.setenv("PATH", f"{repository.folder}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(template, "_TIMEOUT_SECONDS", 0.2)

    assert re.search(message, repository.mistake())


def test_package_whose_names_make_no_image_is_a_mistake(repository: Repository) -> None:
    repository.write("packages/redis/build.yml", "image: 'r e d i s'\n")

    assert "expected an image name such as" in repository.mistake()


def test_repository_that_git_refuses_is_a_mistake(repository: Repository) -> None:
    (repository.folder / ".git/config").write_text("[broken\n")

    assert "git refuses" in repository.mistake()


def test_repository_named_by_a_hook_is_not_asked(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))

    assert repository.name() == f"docker.io/acme/redis:{repository.tree('packages/redis')}"


def test_keys_are_templates_too(repository: Repository) -> None:
    path = repository.write(
        "configs/keys.yml",
        'services: [{name: a, image: b, annotations: {"@pkg:../packages/redis": "@pkg:../packages/redis"}}]\n',
    )

    name = f"docker.io/acme/redis:{repository.tree('packages/redis')}"
    assert load([str(path)]).services[0].options["annotations"] == {name: name}


def test_build_finds_the_image_of_a_package(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", config='kernel: {image: "t/kernel:v1"}\ninit: ["@pkg:tools"]\n')
    repository = Repository(site.folder / "tools")
    repository.write("build.yml", "image: tools\norg: t\n")
    repository.commit()
    name = f"t/tools:{repository.git('rev-parse', 'HEAD^{tree}')}"
    made = small_images()
    images.layout(site.folder / "more", {"t/kernel:v1": made["t/kernel:v1"], name: made["t/tools:v1"]})

    shown = site.run("build", "--dry-run", "linuxkit.yml").stdout.decode()
    finished = site.run("build", "--images", "more", "linuxkit.yml")

    assert f"docker.io/{name}" in shown
    assert finished.counts["run"] > 0


def test_template_on_stdin_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")

    stderr = site.run("build", "-", stdin=b'init: ["@pkg:tools"]\n', status=2).stderr

    assert "<stdin>:1:8: expected the name of an image, got an `@pkg:` template" in stderr
