"""The root file system of an image as LinuxKit lays it down: what it drops, replaces and adds.

Used for init images (at the root), containers and volumes (below a folder of their own).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kitbuild.digest import Digest
from kitbuild.draft import Draft
from kitbuild.extents import Slice
from kitbuild.rule import Work
from kitbuild.system import MTIME
from kitbuild.tree import Entry, parents_of

# What container engines leave in images; the system brings its own.
_DROPPED = frozenset(
    {
        ".dockerenv",
        "Dockerfile",
        "dev/console",
        "dev/pts",
        "dev/shm",
        "etc/hostname",
        "etc/hosts",
        "etc/resolv.conf",
    }
)
_HOSTS = (
    b"127.0.0.1       localhost\n"
    b"::1     localhost ip6-localhost ip6-loopback\n"
    b"fe00::0 ip6-localnet\n"
    b"ff00::0 ip6-mcastprefix\n"
    b"ff02::1 ip6-allnodes\n"
    b"ff02::2 ip6-allrouters\n"
)
_RESOLV_CONF = b"\n# no resolv.conf configured\n"
# Where the running system keeps its own; the init makes the file.
_RESOLV_LINK = "/run/resolvconf/resolv.conf"


def lay(image: Iterable[Entry], draft: Draft, *, folder: str, work: Work[Any], resolv_link: bool) -> None:
    """Puts an image into `folder` of a draft (empty: its root), with the standard entries every LinuxKit root has,
    whatever the image says about them.

    `resolv_link`: etc/resolv.conf leads to where the running system writes its own; otherwise it is a file
    without servers.
    """
    dropped = []
    has_mtab = False
    for entry in image:
        if entry.path in _DROPPED:
            # A file goes in and out again: others may be hard links to it.
            if entry.kind == "file":
                dropped.append(draft.put(_moved(entry, folder)))
            continue
        if entry.path == "etc/mtab":
            entry, has_mtab = entry._replace(mtime=MTIME), True
        draft.put(_moved(entry, folder))
    for path in dropped:
        draft.remove(path)
    texts = work.put(_HOSTS + _RESOLV_CONF)
    for entry in _standard(texts, resolv_link=resolv_link):
        if entry.path != "etc/mtab" or not has_mtab:
            draft.put(_moved(entry, folder))


def _moved(entry: Entry, folder: str) -> Entry:
    """The entry in a folder; the root's own becomes that of the folder."""
    if not folder:
        return entry
    target = f"{folder}/{entry.target}" if entry.kind == "hardlink" else entry.target
    return entry._replace(path=f"{folder}/{entry.path}" if entry.path else folder, target=target)


def _standard(texts: Digest, *, resolv_link: bool) -> Iterator[Entry]:
    for path in ("dev", "dev/pts", "dev/shm", "etc", "proc", "sys"):
        yield directory(path)
    yield file("etc/hosts", Slice(texts, 0, len(_HOSTS)))
    yield Entry("etc/mtab", "symlink", 0o755, mtime=MTIME, target="/proc/mounts")
    if resolv_link:
        yield Entry("etc/resolv.conf", "symlink", 0o644, mtime=MTIME, target=_RESOLV_LINK)
    else:
        yield file("etc/resolv.conf", Slice(texts, len(_HOSTS), len(_RESOLV_CONF)))


def directory(path: str) -> Entry:
    """A directory as kitbuild makes it: root's, 0755."""
    return Entry(path, "directory", 0o755, mtime=MTIME)


def file(path: str, content: Slice) -> Entry:
    """A file as kitbuild makes it: root's, 0644."""
    return Entry(path, "file", 0o644, mtime=MTIME, content=content if content.size else None)


def chain(folder: str) -> list[Entry]:
    """The directories down to `folder`, and it."""
    return [directory(path) for path in [*parents_of(folder), folder]]
