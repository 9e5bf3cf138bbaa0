"""What holds for the code as a whole and no contract of import-linter can say."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import file, image, layer_tar, layout

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for room in ("kitbuild", "rules", "cache") for path in (ROOT / room).rglob("*.py"))
# 10 to 200 ms each to import, when a build with nothing to do may take 150 ms in all.
HEAVY = (
    "http.client",
    "isal.isal_zlib",
    "jsonschema",
    "networkx",
    "pycdlib",
    "requests",
    "rich",
    "subprocess",
    "tarfile",
    "urllib3",
    "zstandard",
)
# Runs one command line as the program does, then says on stderr which modules are loaded.
PROBE = """
import sys
from kitbuild.cli.main import main
status = main(sys.argv[1:])
sys.stderr.write("\\n".join(("loaded:", *sys.modules)))
sys.exit(status)
"""
# Names that say nothing of what is inside.
EMPTY_NAMES = {"base", "common", "context", "helpers", "manager", "misc", "util", "utils"}


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """A folder with a config of every kind of section and the images it names."""
    modules = layer_tar({"lib/modules/1/one.ko": file("a module")})
    kernel = image({"kernel": file("a kernel"), "kernel.tar": file(modules)})
    program = image({"bin/program": file("a program", mode=0o755)}, cmd=["/bin/program"])
    layout(tmp_path / "images", {"t/kernel:v1": kernel, "t/program:v1": program})
    (tmp_path / "system.yml").write_text(
        """
kernel: {image: "t/kernel:v1", cmdline: console=ttyS0}
init: ["t/program:v1"]
onboot: [{name: once, image: "t/program:v1"}]
services: [{name: always, image: "t/program:v1"}]
files: [{path: etc/note, contents: a note}]
"""
    )
    return tmp_path


def test_build_with_nothing_to_do_imports_nothing_heavy(configured: Path) -> None:
    first = build(configured)

    second = build(configured)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "kitbuild.engine" in loaded(second)
    assert [name for name in HEAVY if name in loaded(second)] == []


def test_command_line_alone_imports_no_engine_and_no_rule(configured: Path) -> None:
    done = run(configured, "version")

    assert done.returncode == 0
    assert [
        name for name in loaded(done) if name.startswith(("kitbuild.engine", "kitbuild.rules", "yaml"))
    ] == []


@pytest.mark.parametrize("name", ["rules", "cache"])
def test_room_at_the_top_is_linked_into_the_package(name: str) -> None:
    link = ROOT / "kitbuild" / name

    assert Path("..") / name == link.readlink()


def test_every_module_is_named_for_what_is_inside() -> None:
    assert [path for path in SOURCES if path.stem in EMPTY_NAMES] == []


def test_only_main_and_what_hands_on_to_another_thread_catch_every_exception() -> None:
    places = {path.relative_to(ROOT).as_posix() for path in SOURCES if any(broad_handlers(path))}

    assert places <= {"kitbuild/cli/main.py", "kitbuild/engine.py", "cache/streaming.py"}


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """One build of the config, with its own cache."""
    settings = ("--offline", "--arch", "amd64", "--images", "images", "--cache-dir", "cache")
    return run(folder, "build", "--quiet", *settings, "system.yml")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command line in a process of its own, for what is loaded in this one says nothing."""
    # A measurement of coverage loads modules of its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    return subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=folder,
        env={**environment, "LINUXKIT_CACHE": str(folder / "none")},
        capture_output=True,
        text=True,
        check=False,
    )


def loaded(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The modules that were loaded when the command line ended."""
    return done.stderr.partition("loaded:\n")[2].splitlines()


def broad_handlers(path: Path) -> Iterator[ast.ExceptHandler]:
    """The handlers of a module that catch whatever comes and let nothing of it go on."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "BaseException"
            lets_go = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
            if caught in ("Exception", "BaseException") and not lets_go:
                yield node
