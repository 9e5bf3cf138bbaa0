"""A volume: the file system it starts from, and the ends of the overlay over it."""

from __future__ import annotations

from typing import Any, NamedTuple

from kitbuild.draft import Draft
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.assemble.root import chain, directory, lay
from kitbuild.tree import Tree


class VolumeOptions(NamedTuple):
    """`folder` is the volume's in the system: containers/volumes/<name>."""

    folder: str


def _content(work: Work[VolumeOptions]) -> Tree:
    """`lower`, with the image if there is one."""
    lower = f"{work.options.folder}/lower"
    draft = Draft(chain(lower))
    for image in work.artifacts("image"):
        lay(work.entries(image), draft, folder=lower, work=work, resolv_link=True)
    draft.fill(directory)
    return draft.tree()


CONTENT: Rule[Any] = Rule(
    name="assemble/volume",
    version=1,
    summary="lay a volume's content down",
    options=VolumeOptions,
    inputs={"image": Input("tree", optional=True)},
    output="tree",
    run=_content,
)


def _mounts(work: Work[VolumeOptions]) -> Tree:
    """`tmp` and `merged`, where the running system lays the overlay."""
    return Tree.of(directory(f"{work.options.folder}/{name}") for name in ("merged", "tmp"))


MOUNTS: Rule[Any] = Rule(
    name="assemble/volume-mounts",
    version=1,
    summary="make a volume's mount points",
    options=VolumeOptions,
    output="tree",
    run=_mounts,
)
