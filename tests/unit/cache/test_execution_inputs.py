"""What is sent for a node: the tree of its files and the command, the same bytes every time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kitbuild.cache import execution_inputs
from kitbuild.cache.execution_inputs import Content, Inputs, Program, inputs_of, kitbuild_program, program_of
from kitbuild.cache.reapi_messages import Action, Command, Directory
from kitbuild.digest import Digest
from kitbuild.node import Node
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.support.folder_cluster import told
from tests.support.nodes import node

TREE, BLOB = Digest.of(b"tree"), Digest.of(b"blob")
INPUTS = {"inputs": (Result(Artifact("blob", TREE), (BLOB,), 2.0),)}


def bytes_of(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def listed(content: Mapping[Digest, Content], root: Digest, path: str = "") -> dict[str, Digest]:
    """Every file below a directory, by its path."""
    directory = Directory.decode(bytes_of(content[root]))
    found = {f"{path}{file.name}": told(file.digest) for file in directory.files}
    for below in directory.directories:
        found |= listed(content, told(below.digest), f"{path}{below.name}/")
    return found


def messages(inputs: Inputs) -> tuple[Action, Command, dict[str, Digest]]:
    action = Action.decode(bytes_of(inputs.content[inputs.action]))
    command = Command.decode(bytes_of(inputs.content[told(action.command_digest)]))
    return action, command, listed(inputs.content, told(action.input_root_digest))


def upper() -> Node:
    return node("upper", needs=[node("words")], text="a")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a folder of modules, one behind a link, and what is no module."""
    for name in ("package/__init__.py", "package/inner/deep.py", "package/fast.so", "elsewhere/linked.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in ("package/__pycache__/x.py", "package/notes.txt", "package/data/x.bin", "package/_cffi.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "package/link").symlink_to("../elsewhere")
    return tmp_path / "package"


def test_action_of_a_small_node_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    # What changes with every release or Python stays out of it.
    monkeypatch.setattr("kitbuild.cache.execution_request.__version__", "1.2.3")
    monkeypatch.setattr("kitbuild.cache.execution_request.EXTENSION_SUFFIXES", [".cpython-311-x.so"])
    empty = Directory().encode()
    monkeypatch.setattr(
        execution_inputs,
        "kitbuild_program",
        lambda libraries: Program(Digest.of(empty), {Digest.of(empty): empty}),
    )

    inputs = inputs_of(upper(), INPUTS, (("OSFamily", "linux"), ("ISA", "x86-64")))

    # Another digest here is not wrong, but should come from a change that was meant.
    assert inputs.action.hex == "e163a9a9092a848ada48b8719e5741baa1ff7827d37a5bde473977321d0d940f"


def test_tree_holds_the_request_the_content_and_kitbuild() -> None:
    _, _, files = messages(inputs_of(upper(), INPUTS, ()))

    blobs = {path: digest for path, digest in files.items() if path.startswith("blobs/")}
    assert blobs == {f"blobs/{digest.hex}": digest for digest in (TREE, BLOB)}
    assert "request.json" in files
    assert {"program/kitbuild/__main__.py", "program/kitbuild/rules/unpack/layer.py"} <= files.keys()
    assert {path.partition("/")[0] for path in files} == {"request.json", "blobs", "program"}


def test_all_that_is_not_in_the_store_is_at_hand() -> None:
    inputs = inputs_of(upper(), INPUTS, ())

    _, _, files = messages(inputs)

    assert inputs.stored == {TREE, BLOB}
    assert set(files.values()) <= inputs.content.keys() | inputs.stored
    assert all(digest == Digest.of(bytes_of(content)) for digest, content in inputs.content.items())


def test_command_is_kitbuild_out_of_the_inputs() -> None:
    action, command, _ = messages(inputs_of(upper(), INPUTS, ()))

    variables = {variable.name: variable.value for variable in command.environment_variables}
    assert command.arguments == ("python3", "-m", "kitbuild", "worker", "run", ".")
    assert variables["PYTHONPATH"] == "program"
    assert variables["LC_ALL"] == "C"
    assert list(variables) == sorted(variables)
    assert command.output_paths == command.output_directories == ("out",)
    assert command.platform is None
    assert action.do_not_cache


def test_workers_that_have_kitbuild_are_not_sent_it() -> None:
    _, command, files = messages(inputs_of(upper(), INPUTS, (("kitbuild", "1"),)))

    assert command.arguments == ("kitbuild", "worker", "run", ".")
    assert not any(path.startswith("program/") for path in files)
    assert "PYTHONPATH" not in [variable.name for variable in command.environment_variables]


def test_platform_properties_are_sorted_in_action_and_command() -> None:
    action, command, _ = messages(inputs_of(upper(), INPUTS, (("b", "2"), ("a", "3"), ("a", "1"))))

    assert action.platform == command.platform
    assert command.platform is not None
    assert [(one.name, one.value) for one in command.platform.properties] == [
        ("a", "1"),
        ("a", "3"),
        ("b", "2"),
    ]


def test_program_is_the_modules_of_packages(package: Path) -> None:
    program = program_of({"package": package})

    assert {
        path: bytes_of(program.content[digest])
        for path, digest in listed(program.content, program.root).items()
    } == {
        "package/__init__.py": b"package/__init__.py",
        "package/inner/deep.py": b"package/inner/deep.py",
        "package/link/linked.py": b"elsewhere/linked.py",
        "package/fast.so": b"package/fast.so",
    }


def test_program_is_the_same_wherever_it_lies(package: Path, tmp_path: Path) -> None:
    before = program_of({"package": package})

    package.rename(tmp_path / "renamed")

    assert before.root == program_of({"package": tmp_path / "renamed"}).root


def test_libraries_are_those_the_rule_compresses_with() -> None:
    program = kitbuild_program(("isal",))

    packages = {path.partition("/")[0] for path in listed(program.content, program.root)}
    assert packages == {"kitbuild", "isal"}
