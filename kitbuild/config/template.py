"""Templates: `@pkg:../redis` in a config stands for the image that LinuxKit builds from that package.

The rest of the text is a folder, seen from the config's. Its build.yml names the image; the tag says what was
committed there: git's tree, and whether something has changed since. Nothing is built; the image is looked for like
any other. Where LinuxKit keeps the text as it is when anything of this fails, it is a mistake here. Other text that
begins with `@` stays as it is (LinuxKit makes it empty).

Source: LinuxKit's pkglib; the tag is that of `linuxkit pkg show-tag --canonical`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kitbuild.config.model import TEMPLATE
from kitbuild.config.schema import Problem
from kitbuild.config.yaml import Document, parse
from kitbuild.errors import ConfigError
from kitbuild.reference import Reference
from kitbuild.suggest import did_you_mean

_PACKAGE_FILE = "build.yml"
_ORGANISATION = "linuxkit"
_KEYS = (
    *("image", "org", "tag", "dockerfile", "arches", "extra-sources", "gitrepo", "network", "disable-cache"),
    *("config", "buildArgs", "depends"),
)
# Seconds for one question to git; a tree of a million files on a slow disk takes some.
_TIMEOUT_SECONDS = 60
_PIECE_BYTES = 1 << 20
_DIRTY_DIGITS = 7
# What git needs to know of where it runs. Not GIT_DIR and the like: in a hook those name another repository.
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "XDG_CONFIG_HOME", "TMPDIR")


class TemplateError(ValueError):
    """A template that stands for no image, and perhaps an order that helps."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def replace_templates(document: Document, folder: str) -> list[Problem]:
    """Puts names of images in the place of all templates in `document`, keys and values; `folder` is the config's.

    Gives what is wrong with those that had to stay.
    """
    replacing = _Replacing(folder)
    document.value = replacing.value(document.value, ())
    return replacing.problems


class _Replacing:
    def __init__(self, folder: str) -> None:
        self.problems: list[Problem] = []
        self._folder = folder
        self._known: dict[str, str | TemplateError] = {}

    def value(self, value: Any, path: tuple[str | int, ...]) -> Any:
        if isinstance(value, str):
            return self._text(value, path) if value.startswith(TEMPLATE) else value
        if isinstance(value, list):
            return [self.value(item, (*path, number)) for number, item in enumerate(value)]
        if isinstance(value, dict):
            return {
                self.value(name, (*path, name)): self.value(item, (*path, name))
                for name, item in value.items()
            }
        return value

    def _text(self, text: str, path: tuple[str | int, ...]) -> str:
        if text not in self._known:
            try:
                # As one path, also where the text begins with a slash.
                folder = os.path.normpath(f"{self._folder or '.'}/{text.removeprefix(TEMPLATE)}")
                self._known[text] = image_of_package(Path(folder))
            except TemplateError as error:
                self._known[text] = error
        known = self._known[text]
        if isinstance(known, TemplateError):
            self.problems.append(Problem(path, f"`{text}`: {known}", known.hint))
            return text
        return known


def image_of_package(folder: Path) -> str:
    """The full name of the image of the package in `folder`; raises TemplateError."""
    package = _package(folder)
    name = f"{package.organisation}/{package.image}:{_hash(folder, package.sources) or 'latest'}"
    try:
        return str(Reference.parse(name))
    except ValueError as error:
        raise TemplateError(f"{folder / _PACKAGE_FILE}: {error}", "mend `image` and `org` there") from error


class _Package(NamedTuple):
    image: str
    organisation: str
    sources: tuple[str, ...]


def _package(folder: Path) -> _Package:
    file = folder / _PACKAGE_FILE
    try:
        document = parse(file.read_bytes(), str(file))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TemplateError(f"cannot read {file}: {reason}", "name the folder of a package") from error
    except ValueError as error:  # a NUL in the path
        raise TemplateError(f"cannot read {file}: {error}") from error
    except ConfigError as error:
        raise TemplateError(str(error), error.hint or "") from error
    for problem in document.problems:
        raise TemplateError(str(problem), problem.hint or "")
    value = document.value if isinstance(document.value, dict) else {}
    for key in value:
        if key not in _KEYS:
            raise TemplateError(
                f"{document.where((key,), key=True)}: unknown key `{key}`", did_you_mean(key, _KEYS) or ""
            )
    return _Package(
        _said(document, value, "image"),
        _said(document, value, "org", _ORGANISATION),
        _sources(document, value),
    )


def _said(document: Document, value: dict[str, Any], key: str, otherwise: str = "") -> str:
    text = value.get(key, otherwise)
    if not isinstance(text, str) or not text:
        got = f"`{text}`" if text else "none"
        raise TemplateError(f"{document.where((key,))}: expected the name of an image in `{key}`, got {got}")
    return text


def _sources(document: Document, value: dict[str, Any]) -> tuple[str, ...]:
    entries = value.get("extra-sources") or []
    if not isinstance(entries, list):
        entries = [entries]
    for entry in entries:
        if not isinstance(entry, str) or entry.count(":") != 1:
            where = document.where(("extra-sources",))
            raise TemplateError(f"{where}: expected `folder:destination` in `extra-sources`, got `{entry}`")
    return tuple(entry.partition(":")[0] for entry in entries)


def _hash(folder: Path, sources: Sequence[str]) -> str:
    """What git knows of the folder, as the tag says it; nothing outside a work tree."""
    trees = [_committed(Path(os.path.normpath(folder / source))) for source in sources]
    if not _in_work_tree(folder):
        return ""
    found = _tree(folder)
    if trees:
        # Not for safety: LinuxKit names the image by it.
        found = hashlib.sha1("".join([found, *trees]).encode("ascii"), usedforsecurity=False).hexdigest()
    others = _git(folder, "ls-files", "-z", "--exclude-standard", "--others")
    if others or _is_changed(folder):
        return f"{found}-dirty-{_content(folder, others)[:_DIRTY_DIGITS]}"
    return found


def _is_changed(folder: Path) -> bool:
    """Whether a tracked file is not as it was committed; a change that is staged and then undone is none."""
    # `git diff` writes what it learns into the index, `git status` need not; mostly there is nothing to say.
    if not _git(folder, "status", "--porcelain", "--no-renames", "--untracked-files=no", "--", "."):
        return False
    status, _ = _asked(folder, "diff", "--no-ext-diff", "--quiet", "HEAD", "--", ".", passing=(0, 1))
    return status == 1


def _committed(source: Path) -> str:
    if not _in_work_tree(source):
        raise TemplateError(f"expected `extra-sources` inside a git work tree, got {source}")
    return _tree(source)


def _in_work_tree(folder: Path) -> bool:
    status, output = _asked(folder, "rev-parse", "--is-inside-work-tree", passing=(0, 128))
    if status == 0:
        if output.strip() == b"true":
            return True
    elif b"not a git repository" in output:
        return False
    reason = output.decode("utf-8", "replace").strip().partition("\n")[0]
    raise TemplateError(f"git refuses {folder}: {reason}", f"see what `git -C {folder} status` says")


def _tree(folder: Path) -> str:
    """The object name of the folder's tree in the last commit."""
    inside = os.fsdecode(_git(folder, "rev-parse", "--show-prefix")).rstrip("\n").rstrip("/")
    status, output = _asked(folder, "rev-parse", "--verify", "--quiet", f"HEAD:{inside}", passing=(0, 1, 128))
    if status:
        raise TemplateError(f"{folder} is in no commit of its git repository", "commit it first")
    return output.decode("ascii").strip()


def _content(folder: Path, others: bytes) -> str:
    """The hash of the content of all files, tracked ones and `others`; their names and modes do not count."""
    hasher = hashlib.sha256()
    for listed in (_git(folder, "ls-files", "-z"), others):
        for name in listed.split(b"\0"):
            path = folder / os.fsdecode(name)
            try:
                if not name or not stat.S_ISREG(path.lstat().st_mode):
                    continue
                with path.open("rb") as stream:
                    while piece := stream.read(_PIECE_BYTES):
                        hasher.update(piece)
            except OSError:
                continue  # deleted, or not to be read: LinuxKit leaves it out
    return hasher.hexdigest()


def _git(folder: Path, *arguments: str) -> bytes:
    return _asked(folder, *arguments, passing=(0,))[1]


def _asked(folder: Path, *arguments: str, passing: tuple[int, ...]) -> tuple[int, bytes]:
    """The exit status and output of git in `folder`, stderr if it failed; raises TemplateError for other statuses."""
    import subprocess

    # Reading must not write (the index), and a repository's settings must not start a program.
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *arguments]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            env={**environment, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
            check=False,
        )
    except FileNotFoundError as error:
        raise TemplateError("the program git is not there, and templates need it", "install git") from error
    except subprocess.TimeoutExpired as error:
        raise TemplateError(f"git did not answer in {_TIMEOUT_SECONDS} s in {folder}") from error
    except OSError as error:
        raise TemplateError(f"cannot run git: {error.strerror}") from error
    if done.returncode not in passing:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise TemplateError(f"`git {arguments[0]}` fails in {folder}: {said or done.returncode}")
    return done.returncode, done.stderr if done.returncode > 1 else done.stdout
