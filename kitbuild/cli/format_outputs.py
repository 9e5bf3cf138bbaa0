"""The files a format consists of, asked of the format itself: it is given a system to make them of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitbuild.node import Node
from kitbuild.rule import NoOptions, Rule
from kitbuild.system import Format, Part, System, Target

if TYPE_CHECKING:
    from kitbuild.rule import Value, Work


def output_names(output_format: Format, name: str = "") -> tuple[str, ...]:
    """Its outputs by what follows the output name, or with `name` before it; for a kernel without microcode."""
    architecture = next(iter(output_format.loaders), "amd64")
    loaders = {loader: _tree(loader) for loader in output_format.loaders.get(architecture, ())}
    system = System(
        (Part("init", _tree("init"), "", ""),),
        kernel=_tree("kernel"),
        cmdline="console=ttyS0",
        target=Target(architecture=architecture, loaders=loaders),
    )
    return tuple(f"{name}{suffix}" for suffix in output_format.outputs(system))


def _never(_work: Work[NoOptions]) -> Value:
    raise AssertionError("this is never built")


def _tree(name: str) -> Node:
    return Node(name, Rule("stub", 1, "stands for a tree", NoOptions, "tree", _never), NoOptions())
