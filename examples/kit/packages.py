"""Debian packages: which ones the kit is made from, how they get here, and the files inside them.

Everything goes through the machine's own apt, so it honours the mirrors, proxies and signatures set up there.
No root: packages are downloaded into a folder and read in place, never installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple, cast

# What is installed on a machine does not matter; what a package depends on does, but only libraries: the rest
# (init scripts, debconf, adduser) is for a Debian system, which the kit is not.
_FOLLOWED = ("lib", "linux-image-")


class KitError(Exception):
    """Something the user can act on: a sentence, and a hint that says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class PackageFile(NamedTuple):
    """One file of a package: a regular file with `data`, or a symbolic link with `target`. Paths have no `./`."""

    path: str
    data: bytes = b""
    target: str = ""


def fetched(names: Sequence[str], folder: Path, *, architecture: str, refresh: bool = False) -> list[Path]:
    """The packages `names` and the libraries they need, as .deb files in `folder`, sorted by name.

    The list is kept in `folder`, so a second call needs neither apt nor a network. `refresh` asks apt again.
    """
    record = folder / "packages.txt"
    wanted = " ".join(names)
    if record.exists() and not refresh:
        asked, *known = record.read_text().splitlines()
        debs = [folder / name for name in known]
        if asked == wanted and all(deb.exists() for deb in debs):
            return debs
    folder.mkdir(parents=True, exist_ok=True)
    environment = _environment(folder, architecture)
    closure = _with_libraries(names, environment)
    with tempfile.TemporaryDirectory() as empty:
        # One line a package: 'address' file size checksum; but none for a file that is already in the folder.
        listing = _apt(
            ["apt-get", "-q", "download", "--print-uris", *closure], Path(empty), environment=environment
        )
    debs = sorted(folder / line.split()[1] for line in listing.splitlines() if line.startswith("'"))
    _apt(["apt-get", "-q", "download", *closure], folder, environment=environment)
    for deb in set(folder.glob("*.deb")) - set(debs):
        deb.unlink()
    record.write_text("\n".join([wanted, *(deb.name for deb in debs)]) + "\n")
    return debs


def files(deb: Path) -> Iterator[PackageFile]:
    """The regular files and symbolic links of a package, in its order; hard links count as regular files."""
    seen: dict[str, bytes] = {}
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as unpack:
        stream = cast("IO[bytes]", unpack.stdout)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                path = member.name.removeprefix("./")
                if member.issym():
                    yield PackageFile(path, target=member.linkname)
                elif member.islnk():
                    yield PackageFile(path, seen[member.linkname.removeprefix("./")])
                elif member.isreg():
                    content = archive.extractfile(member)
                    seen[path] = content.read() if content else b""
                    yield PackageFile(path, seen[path])
    if unpack.returncode:
        raise KitError(f"`{deb.name}` cannot be unpacked", hint=f"delete {deb} and run this again")


def native_architecture() -> str:
    """The Debian name of this machine's architecture, such as `amd64`."""
    return _run(["dpkg", "--print-architecture"]).strip()


def require_tools() -> None:
    """Raises KitError if this is not a machine with Debian's tools."""
    for tool in ("apt-get", "apt-cache", "dpkg", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise KitError(
                f"expected a Debian or Ubuntu machine with `{tool}`, found none",
                hint="run this in a Debian 12 container or machine and copy the resulting folder",
            )


def _environment(folder: Path, architecture: str) -> dict[str, str]:
    """What makes apt speak of `architecture`: nothing for this machine's own, else a state of apt's own in `folder`.

    The machine's mirrors and keys are used all the same; its list of architectures is neither needed nor changed.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    if architecture == native_architecture():
        return environment
    state = (folder / "apt").resolve()
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
    }
    config = state / "apt.conf"
    config.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    environment["APT_CONFIG"] = str(config)
    _apt(["apt-get", "-q", "update"], folder, environment=environment)
    return environment


def _with_libraries(names: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """`names` without the empty meta packages among them, plus every library they depend on, sorted."""
    found: set[str] = set()
    queue = list(names)
    while queue:
        answer = _apt(["apt-cache", "depends", "--important", *queue], environment=environment)
        found.update(queue)
        queue = sorted({name for name in _depended(answer) if name.startswith(_FOLLOWED)} - found)
    # A meta package such as linux-image-cloud-amd64 only names the real one.
    return sorted(name for name in found if not name.startswith("linux-image-cloud-"))


def _depended(answer: str) -> Iterator[str]:
    for line in answer.splitlines():
        kind, _, name = line.strip().partition(" ")
        # Alternatives (`|Depends:`) stand before the last choice; virtual packages are written <like this>.
        if kind.lstrip("|") in {"Depends:", "PreDepends:"} and not name.startswith("<"):
            yield name.partition(":")[0]


def _apt(command: list[str], folder: Path | None = None, *, environment: Mapping[str, str]) -> str:
    try:
        return _run(command, folder, environment=environment)
    except KitError as error:
        hint = "run `apt-get update` as root, then this again; it needs the machine's package mirror once"
        raise KitError(str(error), hint=hint) from error


def _run(
    command: list[str], folder: Path | None = None, *, environment: Mapping[str, str] | None = None
) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise KitError(f"`{' '.join(command[:3])}` failed:\n{reason}")
    return done.stdout
