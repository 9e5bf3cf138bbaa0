"""Looks inside what kitbuild makes, and what is made in the same formats: without root, without mounting.

    with open_output(Path("linuxkit.qcow2")) as output:
        for entry in output.system():
            print(entry.path, entry.size)

Every structure on disk has a module; each reads from a window into what holds it, so that a file of an initrd in a
file system in a partition of a disk is read without unpacking any of them. What is read may be hostile: sizes,
counts and loops are bounded, and whatever is wrong is a KitbuildError with a place.
"""

from __future__ import annotations

from kitbuild.reading.entries import OutputEntry
from kitbuild.reading.output import Output, open_output

__all__ = ["Output", "OutputEntry", "open_output"]
