"""Mounts: whether a folder lies on a network file system.

Source: proc_pid_mountinfo(5); SQLite's warning at https://sqlite.org/faq.html#q5.
"""

from __future__ import annotations

import re
from pathlib import Path

_NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "lustre",
    "beegfs",
    "gpfs",
    "glusterfs",
} | {f"fuse.{name}" for name in ("sshfs", "glusterfs", "s3fs", "rclone", "gcsfuse")}

_MOUNTINFO = Path("/proc/self/mountinfo")


def network_file_system(path: Path, mountinfo: Path = _MOUNTINFO) -> str | None:
    """The kind of network file system the absolute `path` is on ("nfs4"), None if it is a local one or unknown."""
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None  # not Linux
    deepest, kind = -1, ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        # Most lines are pseudo file systems of containers: a prefix settles them without building a Path.
        name = _unescaped(fields.split(" ")[4])
        if str(path).startswith(name):
            point = Path(name)
            # On equal depth the later mount hides the earlier one.
            if path.is_relative_to(point) and len(point.parts) >= deepest:
                deepest, kind = len(point.parts), rest.split(" ")[0]
    return kind if kind in _NETWORK else None


def _unescaped(name: str) -> str:
    # Space, tab, newline and backslash are written as a backslash and three octal digits.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), name)
