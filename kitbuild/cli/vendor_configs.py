"""Configs and the local files they name, as they go into a VendorFolder: what they name has to be inside it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kitbuild.cli.vendor_folder import RESERVED, VendorFolder
from kitbuild.config.model import TEMPLATE, Config, File
from kitbuild.config.sources import folder_of, name_of
from kitbuild.config.template import image_of_package
from kitbuild.digest import Digest
from kitbuild.errors import ConfigError, ConfigErrors, KitbuildError
from kitbuild.tree import is_inside

# A template is a quoted text: a plain one cannot begin with `@`.
_TEMPLATE = re.compile(rf"""(?P<quote>["'])(?P<text>{re.escape(TEMPLATE)}[^"'\n]*)(?P=quote)""")
_PIECE_BYTES = 1 << 20


def names_of(configs: Sequence[str]) -> dict[str, str]:
    """What the configs are called in the folder, by source; the last, which outputs are named after, first of all."""
    names: dict[str, str] = {}
    for config in reversed(configs):
        base = re.split(r"[?#]", name_of(config))[0] if folder_of(config) is None else config
        name = "moby.yml" if config == "-" else base.rstrip("/").rpartition("/")[2] or "config.yml"
        number = 2
        plain = name
        while name in names.values() or name in (".", "..") or name in RESERVED:
            name, number = f"{number}-{plain}", number + 1
        names[config] = name
    return {config: names[config] for config in configs}


class LocalFile(NamedTuple):
    """A file a config names: as written, where it is, what is in it, and where it goes in the folder."""

    source: str
    path: Path
    digest: Digest
    name: str


def local_files(
    config: Config, digests: Mapping[str, Digest], folder: VendorFolder, *, taken: Collection[str] = ()
) -> list[LocalFile]:
    """The files of a config that are there.

    Those whose path leads out of the folder, or is `taken` in it, get another one in it.
    """
    found: dict[str, LocalFile] = {}
    for file in config.files:
        digest = digests.get(file.source)
        if digest is not None:
            path = Path(file.source).expanduser()
            name = _name_of(file.source, digest, folder, taken)
            found[file.source] = LocalFile(file.source, path, digest, name)
    moved = [local for local in found.values() if os.path.normpath(local.source) != local.name]
    metadata = next((file for file in config.files if file.metadata), None)
    if moved and metadata:
        raise ConfigErrors([_moved_though_shown(config, local, metadata) for local in moved])
    return list(found.values())


def _name_of(source: str, digest: Digest, folder: VendorFolder, taken: Collection[str]) -> str:
    plain = os.path.normpath(source)
    if is_inside(plain) and not source.startswith("~") and folder.is_free(plain) and plain not in taken:
        return plain
    return f"files/{digest.hex[:16]}-{Path(plain).name}"


def _moved_though_shown(config: Config, local: LocalFile, metadata: File) -> ConfigError:
    where = next(file.place.where("source") for file in config.files if file.source == local.source)
    return ConfigError(
        f"expected a path inside this folder, got `{local.source}`, which the system shows as it is written "
        f"(`metadata` at {metadata.place.where('metadata')})",
        where=where,
        hint="copy the file beside the config, and name it by a relative path",
    )


def copy_files(files: Sequence[LocalFile], folder: VendorFolder) -> None:
    """Brings the files; raises KitbuildError for one that cannot be read or is another by now."""
    for local in files:
        copy_file(local.path, local.digest, folder, local.name)


def copy_file(path: Path, digest: Digest, folder: VendorFolder, name: str) -> None:
    """Brings one file."""
    if folder.has_file(name, digest):
        return
    try:
        with path.open("rb", buffering=0) as stream:
            folder.write_file(name, digest, iter(lambda: stream.read(_PIECE_BYTES), b""))
    except OSError as error:
        raise KitbuildError(f"cannot read `{path}`: {(error.strerror or '').lower()}") from error


def rewritten(source: str, content: bytes, config: Config, files: Sequence[LocalFile]) -> bytes:
    """A config as it goes into the folder: names of images for templates, and new paths for files that moved.

    Everything else stays as it was written. Raises ConfigErrors for a path that cannot be replaced.
    """
    moved = {local.source: local.name for local in files if os.path.normpath(local.source) != local.name}
    named = TEMPLATE.encode() in content
    if not moved and not named:
        return content
    text = content.decode("utf-8-sig")
    lines = text.splitlines(keepends=True)
    edits = list(_edits(source, config, moved, lines))
    for line, start, end, path in sorted(edits, reverse=True):
        # Texts of JSON are texts of YAML.
        lines[line] = f"{lines[line][:start]}{json.dumps(path, ensure_ascii=False)}{lines[line][end:]}"
    text = "".join(lines)
    if named and (folder := folder_of(source)) is not None:
        text = _TEMPLATE.sub(lambda match: _image_of(match["text"], folder), text)
    return text.encode()


def _image_of(text: str, folder: str) -> str:
    return f'"{image_of_package(Path(os.path.normpath(f"{folder}/{text.removeprefix(TEMPLATE)}")))}"'


def _edits(
    source: str, config: Config, moved: Mapping[str, str], lines: Sequence[str]
) -> Iterator[tuple[int, int, int, str]]:
    """Line, first and last column (all from 0) of each path to replace, and what by."""
    errors = []
    for file in config.files:
        if file.source not in moved or file.place.document.name != name_of(source):
            continue
        where = file.place.where("source")
        start = where.column - 1
        rest = lines[where.line - 1][start:]
        written = next((text for text in _spellings(file.source) if rest.startswith(text)), None)
        if written is None:
            message = f"expected a path that can be replaced, got `{file.source}` in a form that cannot"
            errors.append(ConfigError(message, where=where, hint="write it in one line, in double quotes"))
        else:
            yield where.line - 1, start, start + len(written), moved[file.source]
    if errors:
        raise ConfigErrors(errors)


def _spellings(path: str) -> tuple[str, ...]:
    return f'"{path}"', f"'{path}'", path
