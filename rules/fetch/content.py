"""fetch/content: bytes that stand in the config itself."""

from __future__ import annotations

from typing import NamedTuple

from kitbuild.digest import Digest
from kitbuild.rule import Rule, Work


class ContentOptions(NamedTuple):
    """The bytes."""

    content: bytes


def run(work: Work[ContentOptions]) -> Digest:
    """Puts the bytes into a blob."""
    return work.put(work.options.content)


RULE = Rule(
    name="fetch/content",
    version=1,
    summary="bytes that stand in the config itself",
    options=ContentOptions,
    output="blob",
    run=run,
)
