"""The documents say what is true: their shell blocks are run, their configs loaded, their links followed.

A block that cannot be run here starts with a comment that says why: `# not run: needs a registry`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest
import yaml

from kitbuild.config.load import load
from kitbuild.errors import KitbuildError
from tests.support.boot import kit_images

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "BUILD.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
EXAMPLES = sorted([*(ROOT / "examples").glob("*.yml"), *(ROOT / "examples/kit").glob("*.yml")])
SECTIONS = {"kernel", "init", "onboot", "onshutdown", "services", "files", "volumes"}
SHELLS = ("sh", "console")

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#\s]+)[^)]*\)")
NOT_RUN = re.compile(r"# not (run|loaded): \S")
# What make and git leave in a clone, and the kit, which is linked instead.
NOT_COPIED = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".*cache",
    ".hypothesis",
    "__pycache__",
    "*.egg-info",
    "build",
    "dist",
    "out",
    ".work",
    "images",
)


class Block(NamedTuple):
    """One fenced block of a document; `line` is that of its first line of text, from 1."""

    document: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{named(self.document)}:{self.line}"

    @property
    def is_for_reading_only(self) -> bool:
        return NOT_RUN.match(self.text) is not None

    def script(self) -> str:
        """What is typed: of a console block, the lines behind `$ `, or `> ` where a command goes on."""
        if self.language == "sh":
            return self.text
        return "".join(line[2:] for line in self.text.splitlines(True) if line.startswith(("$ ", "> ")))


def named(path: Path) -> str:
    """A path as a test's name shows it."""
    return path.relative_to(ROOT).as_posix()


def blocks_of(document: Path) -> list[Block]:
    """The fenced blocks of a document that name a language, in their order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(
            document, text.count("\n", 0, found.start("text")) + 1, found["language"], dedent(found["text"])
        )
        for found in FENCE.finditer(text)
    ]


def is_config(content: object) -> bool:
    """Whether a YAML block is a config, not a part of one."""
    return isinstance(content, dict) and not SECTIONS.isdisjoint(content)


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document) if not block.is_for_reading_only]
WITH_SHELL = [path for path in DOCUMENTS if any(b.document == path and b.language in SHELLS for b in BLOCKS)]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the tree as it is right after `make demo`, but for what make leaves."""
    copy = tmp_path / "kitbuild"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=NOT_COPIED)
    (copy / "examples/kit/images").symlink_to(kit_images())
    return copy


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a user who has just put the program on the path, and has no cache yet."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KITBUILD_", "XDG_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "HOME": str(tmp_path), "LINUXKIT_CACHE": str(tmp_path / "none")}


@pytest.mark.parametrize("document", WITH_SHELL, ids=named)
def test_shell_blocks_of_a_document_run_one_after_another(
    clone: Path, environment: Mapping[str, str], document: Path
) -> None:
    for block in BLOCKS:
        if block.document != document or block.language not in SHELLS:
            continue
        done = subprocess.run(
            ["sh", "-e", "-c", block.script()],
            cwd=clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

        assert done.returncode == 0, f"{block}: status {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_configs_in_a_document_load(tmp_path: Path, document: Path) -> None:
    mistakes = []
    for block in BLOCKS:
        if block.document == document and block.language == "yaml" and is_config(yaml.safe_load(block.text)):
            (tmp_path / "block.yml").write_text(block.text)
            try:
                load([str(tmp_path / "block.yml")])
            except KitbuildError as error:
                mistakes.append(f"{block}: {error}")

    assert mistakes == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_in_a_document_leads_to_a_file(document: Path) -> None:
    targets = {found["target"] for found in LINK.finditer(document.read_text(encoding="utf-8"))}

    assert {target for target in targets if not (document.parent / target).exists()} == set()


@pytest.mark.parametrize("example", EXAMPLES, ids=named)
def test_example_graphs_without_a_network(
    tmp_path: Path, environment: Mapping[str, str], example: Path
) -> None:
    command = [sys.executable, "-m", "kitbuild", "graph", "--cache-dir", str(tmp_path / "cache")]
    command += ["--images", str(kit_images()), "--format", "json", named(example)]
    # An address nobody answers at: a request would fail, not be answered by chance.
    closed = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}

    done = subprocess.run(
        command, cwd=ROOT, env={**environment, **closed}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["nodes"]


def test_blocks_of_the_readme_are_found() -> None:
    assert ROOT / "README.md" in WITH_SHELL
