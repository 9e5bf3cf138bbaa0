"""The root file system as a tar, alone or with what `docker build` needs."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.members import JOIN, RULE, JoinOptions, MembersOptions
from kitbuild.rules.format.ustar import BLOCK, TRAILER, header
from kitbuild.system import MTIME, Format, Part, System
from kitbuild.tree import Entry

_DOCKERFILE = b'\nFROM scratch\n\nCOPY . ./\n\nENTRYPOINT ["/bin/rc.init"]\n'


def _members(system: System, part: Part) -> Node:
    name = f"{part.name}: tar members"
    options = MembersOptions(part.source, part.location, part.locations)
    return system.once(name, lambda: Node(name, RULE, options, {"tree": (part.tree,)}, part.tree.section))


def _tar(system: System, name: str, tail: bytes) -> Node:
    members = tuple(_members(system, part) for part in system.parts)
    return Node(name, JOIN, JoinOptions(tail), {"pieces": members})


def _plain(system: System) -> Mapping[str, Node]:
    return {".tar": _tar(system, "tar", TRAILER)}


def _docker(system: System) -> Mapping[str, Node]:
    entry = Entry("Dockerfile", "file", 0o644, mtime=MTIME)
    # The content stands in the recipe, so only the header's size field knows of it.
    member = header(entry, {}, size=len(_DOCKERFILE)) + _DOCKERFILE + bytes(-len(_DOCKERFILE) % BLOCK)
    return {".docker": _tar(system, "docker", member + TRAILER)}


FORMATS = (
    Format("tar", "the root file system as a tar", _plain, stream=True),
    Format("docker", "a tar with a Dockerfile, for `docker build -`", _docker, stream=True),
)
