"""An init image, unpacked at the root of the system."""

from __future__ import annotations

from typing import Any

from kitbuild.draft import Draft
from kitbuild.rule import Input, NoOptions, Rule, Work
from kitbuild.rules.assemble.root import lay
from kitbuild.tree import Tree


def run(work: Work[NoOptions]) -> Tree:
    """The image with the standard entries; etc/resolv.conf leads to the running system's."""
    draft = Draft()
    lay(work.entries(work.artifact("image")), draft, folder="", work=work, resolv_link=True)
    return draft.tree()


RULE: Rule[Any] = Rule(
    name="assemble/init",
    version=1,
    summary="lay an init image down",
    options=NoOptions,
    inputs={"image": Input("tree")},
    output="tree",
    run=run,
)
