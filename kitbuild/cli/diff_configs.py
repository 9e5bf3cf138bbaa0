"""A config as a system to compare: lowered, its images looked for here alone, its trees taken from the cache."""

from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack
from typing import TYPE_CHECKING

from kitbuild.cli.configs import add_config_arguments, lowered
from kitbuild.cli.diff_trees import (
    Trees,
    bundles_of,
    cmdline_of,
    file_size,
    flags_of,
    images_of,
    settings_of,
)
from kitbuild.cli.flags import Parser
from kitbuild.compare.sections import System, part_named, section_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitbuild.cli.configs import Lowered
    from kitbuild.node import Node
    from kitbuild.store import Result
    from kitbuild.system import Part


def config_system(name: str, arguments: Namespace, *, formats: Sequence[str], closing: ExitStack) -> System:
    """The system that a config describes; raises what `lowered` raises."""
    from kitbuild.lookup import status
    from kitbuild.node import plain
    from kitbuild.work import OpenBlobs

    found = lowered(_arguments_for(name, arguments), formats=formats, offline=True)
    store, origins = found.store, found.origins()
    known = status(found.graph, store)
    trees = Trees(store, closing.enter_context(OpenBlobs(store)))
    unknown = [_section_of(part) for part in found.parts if part.in_initrd and not _add(part, known, trees)]
    lost = {reference for reference, image in origins.images.items() if image.error}
    containers = (node for node in found.graph if node.rule.name == "assemble/container")
    # Without its image nobody knows what a container runs that the config does not say.
    bundles = bundles_of(
        (node.section, plain(node.options)) for node in containers if not _is_lost(node, found, lost)
    )
    return System(
        name,
        "config",
        trees.files,
        trees.documents(),
        has_parts=True,
        unknown=tuple(dict.fromkeys(unknown)),
        cmdline=cmdline_of(origins),
        settings=settings_of(origins),
        images=images_of(origins),
        runtimes=bundles.runtimes,
        numbers=bundles.numbers,
        flags=flags_of(origins),
        outputs=_outputs(found, known),
        missing=_missing(name, unknown),
    )


def _arguments_for(config: str, arguments: Namespace) -> Namespace:
    """The flags of `diff` as those of a command that reads this one config."""
    parser = Parser(prog="kitbuild diff")
    add_config_arguments(parser)
    found = parser.parse_args(["--", config])
    given = {name: value for name, value in vars(arguments).items() if name in found and name != "configs"}
    found.__dict__.update(given)
    found.offline = True
    return found


def _section_of(part: Part) -> str:
    return part_named(part.location, part.source) or section_key(part.tree.section)


def _add(part: Part, known: Mapping[Node, Result | None], trees: Trees) -> bool:
    """Takes the tree of a part; if only those of other parts decide what is left out of it, the whole of it."""
    result = known.get(part.tree)
    if result is None and part.tree.rule.name == "assemble/settled":
        result = known.get(part.tree.inputs["part"][0])
    return result is not None and trees.add(result.artifact, _section_of(part))


def _is_lost(node: Node, found: Lowered, lost: set[str]) -> bool:
    return any(part.source in lost for part in found.parts if part.tree is node)


def _outputs(found: Lowered, known: Mapping[Node, Result | None]) -> dict[str, int]:
    sizes = {
        suffix: file_size(result.artifact, found.store)
        for suffix, node in found.graph.outputs.items()
        if (result := known.get(node)) is not None
    }
    return {suffix: size for suffix, size in sizes.items() if size is not None}


def _missing(name: str, unknown: Sequence[str]) -> tuple[str, ...]:
    sections = list(dict.fromkeys(unknown))
    if not sections:
        return ()
    shown = ", ".join(sections[:4]) + (f" and {len(sections) - 4} more" if len(sections) > 4 else "")
    return (f"{name} is not built as it is now: the files of {shown} are not compared",)
