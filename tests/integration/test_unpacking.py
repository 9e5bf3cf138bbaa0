"""The model of unpacking that other tests rely on does what GNU tar and bsdtar do."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.golden.site import (
    configs_of,
    golden_images,
    peer_entries,
    write_local_files,
)
from tests.support import images
from tests.support.comparison import KINDS
from tests.support.differences import DIFFERENCES, Difference
from tests.support.registry import tool
from tests.support.unpacking import TarEntry, Unpacked, unpacked

pytestmark = pytest.mark.integration

UNPACKERS = {
    "tar": ["--extract", "--same-permissions", "--numeric-owner"],
    "bsdtar": ["-x", "-p", "--numeric-owner", "--no-xattrs"],
}
# Not those that set the mode of a directory or an absolute symlink twice: tars put both off, and mix them up.
MODELLED = ["init-layers", "init-odd", "init-packages", "services-layers", "all-sections", "files"]


@pytest.mark.parametrize("program", UNPACKERS)
@pytest.mark.parametrize("name", MODELLED)
def test_model_of_unpacking_agrees_with_programs(name: str, program: str, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to give files away and make devices")
    write_local_files(tmp_path)
    entries = peer_entries(tmp_path, configs_of(name), golden_images())

    root = unpacked_by(program, entries, tmp_path)

    assert plain_of(unpacked(entries)) == on_disk(root)


@pytest.mark.parametrize(
    "difference",
    [
        difference
        for difference in DIFFERENCES
        if difference.linuxkit is not None and ".." not in difference.what
    ],
    ids=lambda difference: difference.what,
)
def test_model_of_unpacking_agrees_with_tar_on_every_difference(
    difference: Difference, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to give files away and make devices")
    made = {name: images.image(*stack, cmd=["/x"]) for name, stack in difference.images.items()}
    config = tmp_path / "linuxkit.yml"
    config.write_text(difference.config)
    entries = peer_entries(tmp_path, [str(config)], made)

    root = unpacked_by("tar", entries, tmp_path, check=not unpacked(entries).lost)

    assert plain_of(unpacked(entries)) == on_disk(root)


def unpacked_by(program: str, entries: Sequence[TarEntry], folder: Path, *, check: bool = True) -> Path:
    """A folder in which a program has unpacked the entries."""
    archive, root = folder / "peer.tar", folder / "root"
    archive.write_bytes(written(entries))
    root.mkdir()
    command = [tool(program), *UNPACKERS[program], "-f", str(archive), "-C", str(root)]
    subprocess.run(command, check=check, capture_output=True)
    return root


def written(entries: Sequence[TarEntry]) -> bytes:
    types = {
        "file": tarfile.REGTYPE,
        "hardlink": tarfile.LNKTYPE,
        "symlink": tarfile.SYMTYPE,
        "char": tarfile.CHRTYPE,
        "block": tarfile.BLKTYPE,
        "directory": tarfile.DIRTYPE,
        "fifo": tarfile.FIFOTYPE,
    }
    return images.layer_tar(
        [
            (
                entry.name,
                images.Member(
                    types[entry.kind],
                    entry.content,
                    entry.mode,
                    entry.uid,
                    entry.gid,
                    entry.mtime / 1e9,
                    entry.target,
                    entry.device,
                    {f"SCHILY.xattr.{key}": value.decode() for key, value in entry.xattrs},
                ),
            )
            for entry in entries
        ]
    )


def plain_of(system: Unpacked) -> dict[str, Any]:
    """What a disk can say of it: no modes of symlinks, times in seconds.

    Those of directories are left out: programs set them when they think that nothing more comes below.
    """
    return {
        path: (
            entry.kind,
            0o777 if entry.kind == "symlink" else entry.mode,
            entry.uid,
            entry.gid,
            entry.sha256 or entry.target or entry.device,
            entry.names,
            entry.kind != "directory" and (entry.mtime or 0) // 10**9,
        )
        for path, entry in system.paths.items()
        if path
    }


def on_disk(root: Path) -> dict[str, Any]:
    """The same of a folder."""
    names: dict[int, list[str]] = {}
    paths = sorted(root.rglob("*"))
    for path in paths:
        names.setdefault(path.lstat().st_ino, []).append(path.relative_to(root).as_posix())
    return {path.relative_to(root).as_posix(): _on_disk(path, names) for path in paths}


def _on_disk(path: Path, names: Mapping[int, list[str]]) -> tuple[Any, ...]:
    status = path.lstat()
    kind = KINDS[status.st_mode >> 12]
    device = os.major(status.st_rdev), os.minor(status.st_rdev)
    content: Any = device if kind in ("char", "block") else (0, 0)
    if kind == "file":
        content = images.hex_of(path.read_bytes())
    elif kind == "symlink":
        content = path.readlink().as_posix()
    shared = tuple(names[status.st_ino])
    time = kind != "directory" and status.st_mtime_ns // 10**9
    mode, owner = status.st_mode & 0o7777, (status.st_uid, status.st_gid)
    return kind, mode, *owner, content, shared if len(shared) > 1 else (), time
