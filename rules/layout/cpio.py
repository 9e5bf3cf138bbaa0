"""newc cpio archives as the kernel unpacks them into its root file system.

Source: kernel Documentation/driver-api/early-userspace/buffer-format.rst, and init/initramfs.c for what that page
leaves out: hard links are found by inode until the trailer, a parent must be there before its children, names
longer than PATH_MAX are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator

from kitbuild.errors import RuleError
from kitbuild.extents import Slice
from kitbuild.tree import Entry, Tree

_TYPES = {
    "directory": 0o040000,
    "file": 0o100000,
    "symlink": 0o120000,
    "hardlink": 0o100000,
    "char": 0o020000,
    "block": 0o060000,
    "fifo": 0o010000,
}
_NANO = 1_000_000_000
# With the NUL that ends it; the kernel skips entries with longer names without a word.
_MAX_NAME_BYTES = 4096
# Eight hex digits hold every number of a header.
_MAX_NUMBER = (1 << 32) - 1
# An archive is padded to this, so that the next one starts aligned whether it is compressed or not.
_ALIGNMENT = 512
# The kernel knows the end by its name alone; GNU cpio writes it as an entry without a type.
_TRAILER = Entry("TRAILER!!!", "file", 0)


def archive(tree: Tree) -> Iterator[bytes | Slice]:
    """A whole archive of `tree` with trailer and padding: bytes to take as they are, and slices between them.

    Inodes count from 1; all names of a hard-linked file share one, and the last of them carries the data, as GNU
    cpio does it. The root is named `.`. Extended attributes have no place in newc. Raises RuleError for a file of
    4 GiB or more, and for a path the kernel would not take as one.
    """
    last_names = _last_names(tree)
    files = {entry.path: entry for entry in tree if entry.path in last_names}
    inodes: dict[str, int] = {}
    size = 0
    padding = b""
    for entry in tree:
        shared = entry.target if entry.kind == "hardlink" else entry.path
        links, last_name = last_names.get(shared, (2 if entry.kind == "directory" else 1, entry.path))
        file = files.get(shared, entry)
        content = file.content if entry.path == last_name else None
        inode = inodes.setdefault(shared, len(inodes) + 1)
        text = entry.target.encode("utf-8", "surrogateescape") if entry.kind == "symlink" else b""
        length = content.size if content else len(text)
        header = (
            padding + _header(file._replace(path=entry.path), inode=inode, links=links, size=length) + text
        )
        yield header
        if content:
            yield content
        padding = bytes(-length % 4)
        size += len(header) + (content.size if content else 0)
    trailer = padding + _header(_TRAILER, inode=0, links=1, size=0)
    yield trailer + bytes(-(size + len(trailer)) % _ALIGNMENT)


def _last_names(tree: Tree) -> dict[str, tuple[int, str]]:
    """For every file with several names, by the name its entry has: how many names, and the last one."""
    names: dict[str, tuple[int, str]] = {}
    for entry in tree:
        if entry.kind == "hardlink":
            names[entry.target] = (names.get(entry.target, (1, ""))[0] + 1, entry.path)
    return names


def _header(entry: Entry, *, inode: int, links: int, size: int) -> bytes:
    """The header with its name, padded to four bytes."""
    if size > _MAX_NUMBER:
        raise RuleError(
            f"`{entry.path}` has {size} bytes, an initrd holds files of less than 4 GiB",
            hint="leave the file out of the initrd, or use a format with a file system of its own",
        )
    if entry.path == _TRAILER.path and entry is not _TRAILER:
        raise RuleError(
            f"a file named `{entry.path}`, which in an initrd is the end",
            hint="rename the file in the image, or leave the image out",
        )
    name = (entry.path or ".").encode("utf-8", "surrogateescape") + b"\0"
    if len(name) > _MAX_NAME_BYTES:
        raise RuleError(
            f"a path of {len(name) - 1} bytes, an initrd holds {_MAX_NAME_BYTES - 1}: `{entry.path[:60]}...`",
            hint="shorten the path in the image, or leave the image out",
        )
    # Times before 1970 and after 2106 have no place in eight digits.
    mtime = min(max(entry.mtime // _NANO, 0), _MAX_NUMBER)
    major, minor = entry.device
    mode = _TYPES[entry.kind] | entry.mode
    # magic, inode, mode, uid, gid, links, mtime, size, device of the file system (any will do), device, name, check
    header = b"070701%08x%08x%08x%08x%08x%08x%08x0000000300000001%08x%08x%08x00000000" % (
        inode,
        mode,
        entry.uid,
        entry.gid,
        links,
        mtime,
        size,
        major,
        minor,
        len(name),
    )
    return header + name + bytes(-(len(header) + len(name)) % 4)
