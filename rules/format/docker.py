"""The root file system as what `docker build` takes."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.tar import tar_of
from kitbuild.rules.layout.ustar import BLOCK, TRAILER, header
from kitbuild.system import MTIME, Format, System
from kitbuild.tree import Entry

_DOCKERFILE = b'\nFROM scratch\n\nCOPY . ./\n\nENTRYPOINT ["/bin/rc.init"]\n'


def _outputs(system: System) -> Mapping[str, Node]:
    entry = Entry("Dockerfile", "file", 0o644, mtime=MTIME)
    # The content stands in the recipe, so only the header's size field knows of it.
    member = header(entry, {}, size=len(_DOCKERFILE)) + _DOCKERFILE + bytes(-len(_DOCKERFILE) % BLOCK)
    return {".docker": tar_of(system, "docker", member + TRAILER)}


FORMAT = Format("docker", "a tar with a Dockerfile, for `docker build -`", _outputs, stream=True)
