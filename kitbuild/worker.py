"""Runs one node in a folder that holds all it needs: what `kitbuild worker run` does on a worker of a cluster.

The folder is described in kitbuild.cache.execution_request. Nothing else is read, and nothing outside `out/` is
written but scratch folders: no cache, no network, no settings.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, BinaryIO

from kitbuild import __version__
from kitbuild.cache.execution_request import BLOBS, OUTPUT, REQUEST, RESULT, Request, decode_request
from kitbuild.cache.row import encode_result
from kitbuild.digest import Digest, Hasher
from kitbuild.errors import KitbuildError, MissingBlobError
from kitbuild.node import Key
from kitbuild.options import decoded
from kitbuild.rule import BlobWriter, Rule
from kitbuild.store import Result
from kitbuild.work import StoreWork, kept

# As rules are named; nothing else may become the name of a module.
_RULE = re.compile(r"[a-z]+/[a-z0-9-]+")


class UnfitError(KitbuildError):
    """This worker would not give the bytes that the sender wants, whatever the node."""


def run(folder: Path) -> Result:
    """Runs what `request.json` says, and leaves what it gave in `out/`.

    Raises UnfitError if this is not the kitbuild that was asked for, and KitbuildError when the rule refuses.
    """
    request = _request(folder / REQUEST)
    rule = _rule(request)
    options = _options(rule, request)
    _check_tools(rule, options, request)
    (folder / OUTPUT / BLOBS).mkdir(parents=True, exist_ok=True)
    store = FolderStore(folder)
    started = time.monotonic()
    artifacts = {name: tuple(one.artifact for one in given) for name, given in request.inputs.items()}
    with StoreWork(options=options, inputs=artifacts, store=store) as work:
        artifact, blobs = kept(rule.run(work), work, request.inputs)
    result = Result(artifact, blobs, round(time.monotonic() - started, 6))
    store.keep_only(result.content())
    (folder / OUTPUT / RESULT).write_bytes(encode_result(result))
    return result


def rule_named(name: str) -> Rule[Any]:
    """The rule of this name, which its module is named after; raises UnfitError if there is none."""
    if _RULE.fullmatch(name):
        try:
            found = import_module(f"kitbuild.rules.{name.replace('/', '.').replace('-', '_')}").RULE
        except (ImportError, AttributeError):
            found = None
        if isinstance(found, Rule) and found.name == name:
            return found
    raise UnfitError(f"expected a rule, got `{name}`, which this kitbuild does not have")


class FolderStore:
    """A Store of what lies in a request's folder: content alone, no results."""

    def __init__(self, folder: Path) -> None:
        self._given = folder / BLOBS
        self._made = folder / OUTPUT / BLOBS

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """A new blob in `out/`, unless it is among the inputs."""
        path = self._made / f"{os.urandom(8).hex()}.part"
        try:
            with path.open("xb") as file:
                yield _Writer(file, self)
        finally:
            path.unlink(missing_ok=True)

    def path(self, digest: Digest) -> Path:
        """The file of a blob; raises MissingBlobError."""
        for folder in (self._given, self._made):
            path = folder / digest.hex
            if path.is_file() and path.stat().st_size == digest.size:
                return path
        raise MissingBlobError(f"{digest.oci} is not among the inputs")

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those that are in neither folder."""
        return {digest for digest in digests if not self._has(digest)}

    def distance(self, digests: Iterable[Digest]) -> float:
        """0.0 or infinite."""
        return math.inf if self.missing(digests) else 0.0

    def fetch(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those that are in neither folder."""
        return self.missing(digests)

    def results(self, keys: Sequence[Key]) -> list[Result | None]:
        """None of any key."""
        return [None for _ in keys]

    def record(self, key: Key, result: Result) -> None:
        """Does nothing."""

    def take(self, file: Path, digest: Digest) -> None:
        """Gives a file that is whole its name."""
        if not self._has(digest):
            file.rename(self._made / digest.hex)

    def keep_only(self, digests: Iterable[Digest]) -> None:
        """Removes what was made besides `digests`: nobody asks for it, and it would be sent."""
        names = {digest.hex for digest in digests}
        for path in list(self._made.iterdir()):
            if path.name not in names:
                path.unlink()

    def _has(self, digest: Digest) -> bool:
        try:
            self.path(digest)
        except MissingBlobError:
            return False
        return True


class _Writer:
    def __init__(self, file: BinaryIO, store: FolderStore) -> None:
        self._file = file
        self._store = store
        self._hasher = Hasher()

    def write(self, piece: bytes | memoryview) -> int:
        self._file.write(piece)
        self._hasher.update(piece)
        return len(piece)

    @property
    def size(self) -> int:
        return self._hasher.size

    def digest(self) -> Digest:
        return self._hasher.digest()

    def commit(self) -> Digest:
        self._file.flush()
        digest = self._hasher.digest()
        self._store.take(Path(self._file.name), digest)
        return digest


def _request(path: Path) -> Request:
    try:
        return decode_request(path.read_bytes())
    except ValueError as error:
        # Most likely of a kitbuild that says it in another way.
        raise UnfitError(f"`{path}` cannot be read: {error}") from error


def _rule(request: Request) -> Rule[Any]:
    if request.kitbuild != __version__:
        raise UnfitError(f"expected kitbuild {request.kitbuild}, got {__version__}")
    if request.suffix and request.suffix not in EXTENSION_SUFFIXES:
        raise UnfitError(
            f"expected a Python that takes modules named `{request.suffix}`, got one for `{EXTENSION_SUFFIXES[0]}`"
        )
    rule = rule_named(request.rule)
    if rule.version != request.version:
        raise UnfitError(f"expected version {request.version} of {rule.name}, got {rule.version}")
    return rule


def _options(rule: Rule[Any], request: Request) -> Any:
    try:
        return decoded(rule.options, request.options)
    except ValueError as error:
        raise UnfitError(f"expected options of {rule.name}, got others: {error}") from error


def _check_tools(rule: Rule[Any], options: Any, request: Request) -> None:
    try:
        tools = dict(rule.tools(options))
    except ImportError as error:
        raise UnfitError(f"a library is missing: {error}") from error
    if tools != request.tools:
        wanted, got = (json.dumps(found, sort_keys=True) for found in (request.tools, tools))
        raise UnfitError(f"expected the tools {wanted}, got {got}")
