"""A container's bundle: its image, and how to run it."""

from __future__ import annotations

from typing import Any, NamedTuple

from kitbuild.draft import Draft
from kitbuild.extents import Slice
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.assemble.root import chain, directory, file, lay
from kitbuild.tree import Tree


class ContainerOptions(NamedTuple):
    """`bundle` is the folder in the system; the texts are whole files. A container whose image another one has
    unpacked already gets no image as input.
    """

    bundle: str
    readonly: bool
    config_json: str
    runtime_json: str


def run(work: Work[ContainerOptions]) -> Tree:
    """The bundle: `rootfs` with the image if it is read-only, else `lower` with it and the ends of an overlay."""
    options = work.options
    bundle = options.bundle
    draft = Draft(chain(bundle))
    images = work.artifacts("image")
    if images:
        root = f"{bundle}/rootfs" if options.readonly else f"{bundle}/lower"
        draft.put(directory(root))
        lay(work.entries(images[0]), draft, folder=root, work=work, resolv_link=False)
    if not options.readonly:
        draft.put(directory(f"{bundle}/tmp"))
        draft.put(directory(f"{bundle}/rootfs"))
    elif not images:
        draft.put(directory(f"{bundle}/rootfs"))
    config, runtime = options.config_json.encode(), options.runtime_json.encode()
    texts = work.put(config + runtime)
    draft.put(file(f"{bundle}/config.json", Slice(texts, 0, len(config))))
    draft.put(file(f"{bundle}/runtime.json", Slice(texts, len(config), len(runtime))))
    draft.fill(directory)
    return draft.tree()


RULE: Rule[Any] = Rule(
    name="assemble/container",
    version=1,
    summary="lay a container's bundle down",
    options=ContainerOptions,
    inputs={"image": Input("tree", optional=True)},
    output="tree",
    run=run,
)
