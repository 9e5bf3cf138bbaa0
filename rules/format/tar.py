"""The root file system as a tar."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.members import JOIN, RULE, JoinOptions, MembersOptions
from kitbuild.rules.layout.ustar import TRAILER
from kitbuild.system import Format, Part, System


def tar_of(system: System, name: str, tail: bytes) -> Node:
    """All parts as members of one tar, then `tail`."""
    members = tuple(members_of(system, part) for part in system.parts)
    return Node(name, JOIN, JoinOptions(tail), {"pieces": members})


def members_of(system: System, part: Part) -> Node:
    """One part as members of a tar, without a trailer."""
    name = f"{part.name}: tar members"
    options = MembersOptions(part.source, part.location, part.locations)
    return system.once(name, lambda: Node(name, RULE, options, {"tree": (part.tree,)}, part.tree.section))


def _outputs(system: System) -> Mapping[str, Node]:
    return {".tar": tar_of(system, "tar", TRAILER)}


FORMAT = Format("tar", "the root file system as a tar", _outputs, stream=True)
