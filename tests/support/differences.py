"""What kitbuild does otherwise than LinuxKit on purpose, each with a system that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.support.images import directory, hardlink, symlink


class Difference(NamedTuple):
    """A row of the page: its first cell, and a system that shows it.

    `linuxkit` and `kitbuild` say what is at the paths that differ, as `shown` says it; None is nothing. If
    `linuxkit` is None, it fails; if `kitbuild` is None, kitbuild does.
    """

    what: str
    images: Mapping[str, Sequence[Any]]
    linuxkit: Mapping[str, str | None] | None
    kitbuild: Mapping[str, str | None] | None
    config: str = "init: [t/a:v1]\n"


TWO_INITS = "init: [t/a:v1, t/b:v1]\n"
DIFFERENCES = [
    Difference(
        "opaque whiteouts (`.wh..wh..opq`)",
        {"t/a:v1": [{"d/old": "old"}, {"d/.wh..wh..opq": "", "d/new": "new"}]},
        {"d/old": "file: old"},
        {"d/old": None},
    ),
    Difference(
        "a path that comes twice in one layer",
        {"t/a:v1": [[("a", "first"), ("a", "second")]]},
        {"a": "file: first"},
        {"a": "file: second"},
    ),
    Difference(
        "a whiteout and a new entry of its name in one layer",
        {"t/a:v1": [{"q": "old"}, {".wh.q": "", "q": "new"}]},
        {"q": None},
        {"q": "file: new"},
    ),
    Difference(
        "a directory that one layer removes and a later one brings back",
        {"t/a:v1": [{"x/old": "old"}, {".wh.x": ""}, {"x/": directory(), "x/new": "new"}]},
        {"x/old": "file: old"},
        {"x/old": None},
    ),
    Difference(
        "a directory that one layer removes and a later one brings back",
        {"t/a:v1": [{"x/old": "old"}, {"x": "a file"}, {"x/": directory(), "x/new": "new"}]},
        {"x/old": "file: old"},
        {"x/old": None},
    ),
    Difference(
        "a file named `.wh.`",
        {"t/a:v1": [{"d/a": "a"}, {"d/.wh.": ""}]},
        {"d": None, "d/a": None},
        {"d": "directory", "d/a": "file: a"},
    ),
    Difference(
        "a hard link to a file of a lower layer",
        {"t/a:v1": [{"a": "text"}, {"b": hardlink("a")}]},
        {"b": None},
        {"b": "file: text", "a": "file: text"},
    ),
    Difference(
        "a hard link to a file that an upper layer replaces or removes",
        {"t/a:v1": [{"a": "old", "b": hardlink("a")}, {"a": "new"}]},
        {"a": "file: new", "b": "file: new"},
        {"a": "file: new", "b": "file: old"},
    ),
    Difference(
        "a hard link to a file that an upper layer replaces or removes",
        {"t/a:v1": [{"a": "old", "b": hardlink("a")}, {".wh.a": ""}]},
        {"b": None},
        {"b": "file: old"},
    ),
    Difference(
        "a hard link that comes before its file",
        {"t/a:v1": [[("b", hardlink("a")), ("a", "text")]]},
        {"a": "file: text", "b": None},
        {"a": "file: text", "b": "file: text"},
    ),
    Difference(
        "a layer that writes below a symlink of a lower layer",
        {"t/a:v1": [{"usr/lib/": directory(), "lib": symlink("usr/lib")}, {"lib/y": "y"}]},
        {"lib": "directory", "lib/y": "file: y"},
        {"lib": "symlink: usr/lib", "usr/lib/y": "file: y", "lib/y": None},
    ),
    Difference(
        "a path below a symlink that leads nowhere",
        {"t/a:v1": [{"d": symlink("nowhere")}], "t/b:v1": [{"d/y": "y"}]},
        {"nowhere": None, "nowhere/y": None},
        {"nowhere": "directory", "nowhere/y": "file: y"},
        TWO_INITS,
    ),
    Difference(
        "a file in the place of a directory with something in it",
        {"t/a:v1": [{"x/": directory(), "x/a": "a"}], "t/b:v1": [{"x": "a file"}]},
        {"x": "directory", "x/a": "file: a"},
        {"x": "file: a file", "x/a": None},
        TWO_INITS,
    ),
    Difference(
        "`etc/hosts` or `etc/resolv.conf` that is no plain file in an image",
        {"t/a:v1": [{"etc/hosts": symlink("/run/hosts")}]},
        None,
        {},
    ),
    Difference(
        "`etc/hosts` or `etc/resolv.conf` that is no plain file in an image",
        {"t/a:v1": [{"etc/resolv.conf": symlink("/run/resolv.conf")}]},
        None,
        {},
        "services: [{name: a, image: t/a:v1}]\n",
    ),
    Difference(
        "a hard link to a file that is left out or replaced",
        {"t/a:v1": [{"Dockerfile": "FROM x", "b": hardlink("Dockerfile")}]},
        {"b": None},
        {"b": "file: FROM x"},
    ),
    Difference(
        "a hard link to a file that is left out or replaced",
        {"t/a:v1": [{"etc/resolv.conf": "mine", "b": hardlink("etc/resolv.conf")}]},
        {"containers/services/a/lower/b": "file: \n# no resolv.conf configured\n"},
        {"containers/services/a/lower/b": "file: mine"},
        "services: [{name: a, image: t/a:v1}]\n",
    ),
    Difference(
        "microcode that is not in the kernel's image",
        {"t/a:v1": [{"kernel": "k"}]},
        {},
        None,
        "kernel: {image: t/a:v1, tar: none, ucode: ucode.cpio}\n",
    ),
    Difference(
        "a volume of format `oci` whose image is no index",
        {"t/a:v1": [{"a": "a"}]},
        None,
        {"containers/volumes/v/lower/oci-layout": 'file: {\n\t\t"imageLayoutVersion": "1.0.0"\n\t}'},
        "volumes: [{name: v, image: t/a:v1, format: oci}]\n",
    ),
    Difference(
        "a kernel that is a hard link in its image",
        {"t/a:v1": [{"vmlinuz": "k", "kernel": hardlink("vmlinuz")}]},
        {"boot/kernel": "file: "},
        {"boot/kernel": "file: k"},
        "kernel: {image: t/a:v1, tar: none}\n",
    ),
    Difference(
        "an entry of `files` below another one that is a file",
        {},
        {"a": "file: x", "a/b": None},
        {"a": "directory", "a/b": "file: y"},
        "files: [{path: a, contents: x}, {path: a/b, contents: y}]\n",
    ),
    Difference(
        "names of containers and volumes that make no folder",
        {},
        {"containers/volumes/lower": "directory"},
        None,
        "volumes: [{readonly: false}]\n",
    ),
    Difference(
        "names of containers and volumes that make no folder",
        {"t/a:v1": [{"x": "x"}]},
        {"containers/out/config.json": None},
        None,
        "services: [{name: ../out, image: t/a:v1}]\n",
    ),
    Difference(
        "absolute paths and `..` in layers",
        {"t/a:v1": [{"../out": "out"}]},
        {"out": None},
        None,
    ),
    Difference(
        "absolute paths and `..` in layers",
        {"t/a:v1": [{"/a": "a"}]},
        {"a": "file: a"},
        None,
    ),
]
