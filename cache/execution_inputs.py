"""What a node that runs elsewhere needs, as the Remote Execution API wants it: a Merkle tree of its files.

    <root>          Directory: request.json, blobs/, program/ (see execution_request.py)
    Action          names a Command and that root

The same node over the same inputs gives the same bytes on every machine that has the same kitbuild and libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from kitbuild.cache.execution_request import BLOBS, OUTPUT, PROGRAM, REQUEST, request_of
from kitbuild.cache.reapi_messages import (
    Action,
    BlobDigest,
    Command,
    Directory,
    DirectoryNode,
    EnvironmentVariable,
    FileNode,
    Platform,
    Property,
)
from kitbuild.digest import Digest
from kitbuild.node import Node
from kitbuild.store import Result

# A platform property of this name says that the workers have kitbuild, so that it need not be sent.
INSTALLED = "kitbuild"

# Where Python and kitbuild may be on a worker that starts without a PATH.
_PATH = "/usr/local/bin:/usr/bin:/bin"
# The libraries a rule needs that are no part of Python, by what it names among its tools.
_LIBRARIES = {"isal": "isal", "zstd": "zstandard"}
# The same, for rules that name none because what they decompress is the same in every version.
_ALSO = {"unpack/package": ("zstandard",)}
# What a library has for other Pythons than CPython, as large as all the rest.
_LEFT_OUT = ("_cffi", "backend_cffi")

# A file's content: bytes at hand, or where they lie.
Content = bytes | Path


class Inputs(NamedTuple):
    """What is to be there before a node can run elsewhere.

    `action` is what to run. `content` is by digest what is ours to give; `stored` is in the store.
    """

    action: Digest
    content: Mapping[Digest, Content]
    stored: frozenset[Digest]


class Program(NamedTuple):
    """The folder that kitbuild is sent as."""

    root: Digest
    content: Mapping[Digest, Content]


def inputs_of(
    node: Node, inputs: Mapping[str, tuple[Result, ...]], properties: tuple[tuple[str, str], ...]
) -> Inputs:
    """All that a node needs, and the action that runs it on a worker with these platform properties."""
    is_shipped = all(name != INSTALLED for name, _ in properties)
    request = request_of(node, inputs, is_shipped=is_shipped).encode()
    stored = frozenset(digest for given in inputs.values() for result in given for digest in result.content())
    program = kitbuild_program(libraries_of(node)) if is_shipped else None
    content: dict[Digest, Content] = {Digest.of(request): request}
    blobs = _added(content, Directory(files=_files({digest.hex: digest for digest in stored})))
    folders = {BLOBS: blobs}
    if program is not None:
        content.update(program.content)
        folders[PROGRAM] = program.root
    root = Directory(files=_files({REQUEST: Digest.of(request)}), directories=_folders(folders))
    platform = _platform(properties)
    command = _added(content, _command(platform, is_shipped=is_shipped))
    action = Action(
        command_digest=sent(command),
        input_root_digest=sent(_added(content, root)),
        # Results are kept under kitbuild's own keys, which say more than this action's digest does.
        do_not_cache=True,
        platform=platform,
    )
    return Inputs(_added(content, action), content, stored)


def sent(digest: Digest) -> BlobDigest:
    """A digest as it is sent."""
    return BlobDigest(hash=digest.hex, size_bytes=digest.size)


def libraries_of(node: Node) -> tuple[str, ...]:
    """The libraries that a node needs beside kitbuild, by their packages' names."""
    named = {_LIBRARIES[tool] for tool in node.rule.tools(node.options) if tool in _LIBRARIES}
    return tuple(sorted(named.union(_ALSO.get(node.rule.name, ()))))


@cache
def kitbuild_program(libraries: tuple[str, ...]) -> Program:
    """This kitbuild and these libraries, as they are now; read once a process."""
    return program_of({name: _folder_of(name) for name in ("kitbuild", *libraries)})


def program_of(packages: Mapping[str, Path]) -> Program:
    """The modules of Python packages, by name and folder; links to folders become folders."""
    content: dict[Digest, Content] = {}
    folders = {name: _package(folder, content) for name, folder in packages.items()}
    return Program(_added(content, Directory(directories=_folders(folders))), content)


def _folder_of(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _package(folder: Path, content: dict[Digest, Content]) -> Digest:
    files, folders = {}, {}
    for path in folder.iterdir():
        if path.is_dir():
            if path.name != "__pycache__" and any(path.rglob("*.py")):
                folders[path.name] = _package(path, content)
        elif path.suffix in (".py", ".so") and not path.name.startswith(_LEFT_OUT):
            code = path.read_bytes()
            files[path.name] = Digest.of(code)
            # Modules are small; compiled ones are not.
            content[files[path.name]] = code if path.suffix == ".py" else path
    return _added(content, Directory(files=_files(files), directories=_folders(folders)))


def _command(platform: Platform | None, *, is_shipped: bool) -> Command:
    variables = {"LC_ALL": "C", "PATH": _PATH}
    program: tuple[str, ...] = ("kitbuild",)
    if is_shipped:
        program = ("python3", "-m", "kitbuild")
        # Folders of inputs are links into a cache on some workers: nothing is to be written beside a module.
        variables |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": PROGRAM}
    return Command(
        arguments=(*program, "worker", "run", "."),
        environment_variables=tuple(
            EnvironmentVariable(name=name, value=value) for name, value in sorted(variables.items())
        ),
        # Servers of API 2.0 know the one, those of 2.1 and later prefer the other.
        output_directories=(OUTPUT,),
        output_paths=(OUTPUT,),
        platform=platform,
    )


def _platform(properties: tuple[tuple[str, str], ...]) -> Platform | None:
    if not properties:
        return None
    return Platform(properties=tuple(Property(name=name, value=value) for name, value in sorted(properties)))


def _files(digests: Mapping[str, Digest]) -> tuple[FileNode, ...]:
    return tuple(FileNode(name=name, digest=sent(digest)) for name, digest in sorted(digests.items()))


def _folders(digests: Mapping[str, Digest]) -> tuple[DirectoryNode, ...]:
    return tuple(DirectoryNode(name=name, digest=sent(digest)) for name, digest in sorted(digests.items()))


def _added(content: dict[Digest, Content], message: Directory | Command | Action) -> Digest:
    encoded = message.encode()
    digest = Digest.of(encoded)
    content[digest] = encoded
    return digest
