"""Where the user wrote what a node comes from: asked when one fails, so that other builds pay nothing for it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from kitbuild.errors import KitbuildError, Where
from kitbuild.graph import Graph
from kitbuild.node import Node
from kitbuild.record import Origin, Origins

# A longer line is no line of a config that people read.
_LONGEST_LINE = 1 << 16
# The section of images and their layers, which is not written as such.
_SHARED = "images"


class Places:
    """Places of the nodes of a graph."""

    def __init__(self, graph: Graph, origins: Origins) -> None:
        self._users = graph.users()
        self._origins = origins

    def placed(self, node: Node, error: KitbuildError) -> KitbuildError:
        """The error that ended `node`, with the place of that node if it has none of its own."""
        origin = None if error.where else self.origin_of(node)
        if origin is None:
            return error
        where = Where(origin.file, origin.line, origin.column, _line(origin))
        return KitbuildError(error.message, where=where, hint=error.hint)

    def origin_of(self, node: Node) -> Origin | None:
        """Where a node or its section is written; a layer is written where the first image that uses it is.

        None for what is of the whole system: the root file system, an output.
        """
        level, seen = [node], {node}
        while level:
            for one in level:
                for name in (one.name, one.section):
                    if name in self._origins.places:
                        return self._origins.places[name]
            # What uses other nodes may be any section: a mistake of the root file system is not its.
            shared = [one for one in level if one.section == _SHARED]
            users = (user for one in shared for user in self._users[one])
            level = [user for user in dict.fromkeys(users) if user not in seen]
            seen.update(level)
        return None


def _line(origin: Origin) -> str:
    """The line there, empty if it cannot be read again: of a URL, of stdin, of a file that is gone."""
    path = Path(origin.file)
    try:
        # To open a pipe would be to wait for whoever writes it.
        if not path.is_file():
            return ""
        with path.open(encoding="utf-8", errors="replace") as lines:
            return next(islice(lines, origin.line - 1, None), "")[:_LONGEST_LINE].rstrip("\r\n")
    except (OSError, ValueError):
        return ""
