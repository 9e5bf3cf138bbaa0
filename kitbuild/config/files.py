"""The rules an entry of `files` must keep that a schema cannot say."""

from __future__ import annotations

import re

from kitbuild.config.model import File
from kitbuild.config.schema import Problem, shown
from kitbuild.suggest import one_of

_OCTAL = re.compile(r"[0-7]+\Z")
_METADATA = ("yaml", "json")


def file_problems(file: File) -> list[Problem]:
    """The mistakes in one entry, with paths inside it."""
    return [problem for problem in (_path(file), _mode(file), _content(file)) if problem is not None]


def _path(file: File) -> Problem | None:
    parts = file.path.split("/")
    if not any(parts) and file.path:
        return Problem(
            ("path",), f"expected the path of a file, got {shown(file.path)}", "name what is in it"
        )
    if not file.path:
        return Problem(("path",), "expected the path of the file", "add `path:`, for example etc/motd")
    if ".." in parts or "\0" in file.path:
        message = f"expected a path inside the system, got {shown(file.path)}"
        return Problem(("path",), message, "write the path from the root, without `..`")
    return None


def _mode(file: File) -> Problem | None:
    if not file.mode or (_OCTAL.match(file.mode) and int(file.mode, 8) <= 0o7777):
        return None
    message = f'`mode` is an octal string such as "0644", got {shown(file.mode)}'
    return Problem(("mode",), message, "write three or four digits from 0 to 7")


def _content(file: File) -> Problem | None:
    """Exactly one kind of content; directories and symlinks have none."""
    given = [
        name
        for name, value in (
            ("contents", file.contents),
            ("source", file.source or None),
            ("metadata", file.metadata or None),
        )
        if value is not None
    ]
    if file.directory and file.contents is not None:
        return Problem(("contents",), "a directory has no `contents`", "remove `contents:` or `directory:`")
    whole = file.directory or bool(file.symlink)
    if not given and not whole:
        message = f"expected what is in `{file.path}`: `contents`, `source` or `metadata`"
        return Problem((), message, "add one of them, or `directory: true` or `symlink:`")
    kind = "directory" if file.directory else "symlink" if file.symlink else given[0]
    # A symlink may have `contents` beside it: LinuxKit lets the link win.
    surplus = [name for name in given if name != kind and not (file.symlink and name == "contents")]
    if surplus:
        message = f"expected one kind of content, got `{kind}` and `{surplus[0]}`"
        return Problem((surplus[0],), message, "keep one of them")
    if file.metadata and file.metadata not in _METADATA:
        message = f"expected `yaml` or `json`, got {shown(file.metadata)}"
        return Problem(("metadata",), message, one_of(file.metadata, _METADATA))
    return None
