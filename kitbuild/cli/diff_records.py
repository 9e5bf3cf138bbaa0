"""The record of a build as a system to compare: what it says, and the trees that are still in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from kitbuild.cli.diff_trees import (
    Trees,
    bundles_of,
    cmdline_of,
    file_size,
    flags_of,
    images_of,
    settings_of,
)
from kitbuild.compare.sections import System, order_of, section_key

if TYPE_CHECKING:
    from kitbuild.record import NodeRecord, Record
    from kitbuild.store import Store

# Trees that are no part of the root file system.
_BESIDE = ("assemble/loader", "assemble/conflicts")


def record_system(name: str, record: Record, store: Store, *, closing: ExitStack) -> System:
    """The system that a build made."""
    from kitbuild.work import OpenBlobs

    trees = Trees(store, closing.enter_context(OpenBlobs(store)))
    unknown = [
        section
        for section, node in _parts(record)
        if node.artifact is None or not trees.add(node.artifact, section)
    ]
    containers = (
        (node.section, node.ingredients)
        for node in record.nodes.values()
        if node.rule == "assemble/container"
    )
    bundles = bundles_of(
        (section, ingredients.options)
        for section, ingredients in containers
        if ingredients is not None and isinstance(ingredients.options, dict)
    )
    origins = record.origins
    return System(
        name,
        "record",
        trees.files,
        trees.documents(),
        has_parts=True,
        unknown=tuple(dict.fromkeys(unknown)),
        cmdline=cmdline_of(origins),
        settings=settings_of(origins) or None,
        images=images_of(origins),
        runtimes=bundles.runtimes,
        numbers=bundles.numbers,
        flags=flags_of(origins) or None,
        outputs=_outputs(record, store),
        missing=_missing(name, unknown),
    )


def _parts(record: Record) -> list[tuple[str, NodeRecord]]:
    """The trees the root file system was laid of, lowest first, with their sections."""
    settled = {
        given
        for node in record.nodes.values()
        if node.rule == "assemble/settled"
        for given in node.inputs.get("part", ())
    }
    found = [
        (section_key(node.section), name, node)
        for name, node in record.nodes.items()
        if node.rule.startswith("assemble/") and node.rule not in _BESIDE and name not in settled
    ]
    # Records list nodes with inputs first, and parts of one kind as the config does.
    found.sort(
        key=lambda part: (order_of(part[0])[0], part[1].startswith(("kernel modules", "init packages")))
    )
    return [(section, node) for section, _, node in found]


def _outputs(record: Record, store: Store) -> dict[str, int]:
    def sizes() -> Iterator[tuple[str, int | None]]:
        for suffix, name in record.outputs.items():
            node = record.nodes.get(name)
            yield suffix, file_size(node.artifact, store) if node and node.artifact else None

    return {suffix: size for suffix, size in sizes() if size is not None}


def _missing(name: str, unknown: list[str]) -> tuple[str, ...]:
    if not unknown:
        return ()
    sections = list(dict.fromkeys(unknown))
    shown = ", ".join(sections[:4]) + (f" and {len(sections) - 4} more" if len(sections) > 4 else "")
    return (f"{name}: the files of {shown} are no longer in the cache, and not compared",)
