"""`kitbuild graph` from outside: exact output and status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

FILES = """\
files:
  - path: etc/motd
    contents: "hello"
    mode: "0644"
"""
ABSENT = """\
kernel:
  image: kit/kernel:v1
  cmdline: "console=ttyS0"
init:
  - kit/init:v1
services:
  - name: web
    image: kit/web:v1
  - name: admin
    image: kit/web:v1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "files.yml").write_text(FILES)
    (tmp_path / "absent.yml").write_text(ABSENT)
    return tmp_path


def kitbuild(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    return subprocess.run(
        [sys.executable, "-m", "kitbuild", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_nothing_is_cached_before_a_build_and_everything_after(folder: Path) -> None:
    before = kitbuild(folder, "graph", "files.yml", "--image-format", "tar")
    built = kitbuild(folder, "build", "files.yml", "--format", "tar")
    after = kitbuild(folder, "graph", "files.yml", "--image-format", "tar")

    assert (before.returncode, built.returncode, after.returncode) == (0, 0, 0), built.stderr
    assert "[cached]" not in before.stdout
    assert "[run]" not in after.stdout
    nodes = before.stdout.count("[run]")
    assert before.stdout.splitlines()[-1] == f"{nodes} nodes: 0 cached, {nodes} to run"
    assert after.stdout.splitlines()[-1] == f"{nodes} nodes: {nodes} cached, 0 to run"


def test_images_nobody_has_are_nodes_not_fetched(folder: Path) -> None:
    shown = kitbuild(folder, "graph", "absent.yml")

    assert (shown.returncode, shown.stderr) == (0, "")
    lines = [line.strip() for line in shown.stdout.splitlines()]
    assert lines[:4] == ["absent.yml", "kernel", *lines[2:4]]
    for image in ("kernel", "init", "web"):
        assert lines.count(f"image docker.io/kit/{image}:v1  [not fetched]") == 1
    assert lines.index("kernel") < lines.index("init kit/init:v1") < lines.index("services web")
    assert lines.index("services web") < lines.index("services admin")


@pytest.mark.parametrize("text_format", ["dot", "mermaid", "json"])
def test_graph_goes_into_a_file(folder: Path, text_format: str) -> None:
    to_stdout = kitbuild(folder, "graph", "absent.yml", "--format", text_format)
    to_file = kitbuild(folder, "graph", "absent.yml", "--format", text_format, "--output", "graph")

    assert (to_file.returncode, to_file.stdout, to_file.stderr) == (0, "", "")
    assert to_stdout.stdout == (folder / "graph").read_text()


def test_json_names_the_outputs_of_the_format(folder: Path) -> None:
    shown = kitbuild(folder, "graph", "absent.yml", "--format", "json")

    document = json.loads(shown.stdout)
    assert {"-kernel", "-initrd.img", "-cmdline"} == set(document["outputs"])
    assert {node["status"] for node in document["nodes"]} == {"run", "unknown"}


def test_reduced_graph_and_critical_path_are_shown(folder: Path) -> None:
    whole = kitbuild(folder, "graph", "absent.yml", "--format", "dot")
    less = kitbuild(folder, "graph", "absent.yml", "--format", "dot", "--reduced")
    longest = kitbuild(folder, "graph", "absent.yml", "--critical-path")

    assert less.stdout.count(" -> ") <= whole.stdout.count(" -> ")
    assert longest.stdout.splitlines()[-1].startswith("longest chain, 0.00 s: ")


def test_unknown_image_format_is_a_wrong_command_line(folder: Path) -> None:
    shown = kitbuild(folder, "graph", "files.yml", "--image-format", "tarr")

    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith("error: expected a format, got `tarr`\nhint: ")


def test_tree_needs_neither_rich_nor_networkx_on_a_pipe(folder: Path) -> None:
    program = (
        "import sys; sys.modules['rich'] = sys.modules['networkx'] = None\n"
        "from kitbuild.cli.main import main; sys.exit(main(['graph', 'absent.yml']))"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}

    shown = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (shown.returncode, shown.stderr) == (0, b"")
