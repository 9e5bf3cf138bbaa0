"""Draft is a tree being made, one entry after another, the way unpacking an archive would make it on a disk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from kitbuild.tree import Entry, Tree, parent_of

# As many as Linux follows before it says ELOOP.
_MOST_LINKS = 40


class Draft:
    """A tree in the making. The rules are those of unpacking into an empty folder as root, without one:

    - a directory over a directory replaces its attributes and keeps what is in it;
    - anything else over an entry replaces it, with all that was in it; nothing is ever written through a link;
    - a hard link shares the file its target is at that moment, whatever happens to the target's name later;
    - an entry below a symlink to a directory goes where the link leads, inside the tree.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: dict[str, Entry] = {}
        self._children: defaultdict[str, set[str]] = defaultdict(set)
        # Paths that share a file have the same token; a file of its own has none.
        self._shared: dict[str, object] = {}
        # Hard links whose target has not come yet.
        self._waiting: dict[str, None] = {}
        self._path_characters = 0
        for entry in entries:
            self.put(entry)

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    @property
    def path_characters(self) -> int:
        """The length of all paths that were ever in it, those of directories nobody listed among them."""
        return self._path_characters

    def put(self, entry: Entry) -> str:
        """Adds an entry, or replaces what is there; gives the path where it is now.

        A hard link to nothing waits for its target until `bind`.
        """
        if entry.kind == "hardlink":
            return self._link(entry)
        path = self._landing(entry.path)
        self._place(entry if path == entry.path else entry._replace(path=path))
        return path

    def remove(self, path: str) -> None:
        """Takes an entry away with all that is in it; no matter if there is none."""
        self.empty(path)
        self._shared.pop(path, None)
        self._entries.pop(path, None)
        if siblings := self._children.get(parent_of(path)):
            siblings.discard(path)

    def empty(self, path: str) -> None:
        """Takes away all that is in a directory."""
        below = list(self._children.pop(path, ()))
        while below:
            child = below.pop()
            self._entries.pop(child, None)
            self._shared.pop(child, None)
            below.extend(self._children.pop(child, ()))

    def bind(self, *, complete: bool) -> None:
        """Lets the hard links that came before their target share it; if `complete`, all of them have to."""
        for path in self._waiting:
            chain: dict[str, None] = {}
            while path not in chain and (entry := self._entries.get(path)) and entry.kind == "hardlink":
                chain[path] = None
                path = self._landing(entry.target, makes_room=False)
            end = self._entries.get(path)
            for link in chain:
                if end is not None and end.kind != "hardlink":
                    self._share(link, end, self._token(end))
                elif complete:
                    raise ValueError(f"hard link {link!r} to {path!r}, which is no file")
                else:
                    # The next link of the chain need not follow it all again.
                    self._entries[link] = self._entries[link]._replace(target=path)
        if complete:
            self._waiting.clear()

    def fill(self, directory: Callable[[str], Entry]) -> None:
        """Adds the directories that nobody listed but something is in: the kernel makes none for an initrd."""
        for path in list(self._children):
            if path and path not in self._entries and self._children[path]:
                self._entries[path] = directory(path)

    def tree(self, *, complete: bool = True) -> Tree:
        """The tree so far. A layer is not `complete`: its hard links may lead to the layers below it."""
        self.bind(complete=complete)
        first: dict[object, str] = {}
        entries = []
        for path in sorted(self._entries):
            entry = self._entries[path]
            token = self._shared.get(path)
            if token is not None and (target := first.setdefault(token, path)) != path:
                entry = entry._replace(kind="hardlink", content=None, target=target, xattrs=())
            entries.append(entry)
        return Tree.of(entries, complete=complete)

    def _place(self, entry: Entry) -> None:
        path = entry.path
        self._shared.pop(path, None)
        if path in self._children and entry.kind != "directory":
            self.empty(path)
        is_known = path in self._entries
        self._entries[path] = entry
        if is_known:
            return
        # A directory that nobody listed goes with what it is in, so it has to be known there.
        while path:
            parent = parent_of(path)
            siblings = self._children[parent]
            if path in siblings:
                return
            siblings.add(path)
            self._path_characters += len(path)
            path = parent

    def _link(self, entry: Entry) -> str:
        # The target is looked up first: making room for the link may take its name away.
        target = self._entries.get(self._landing(entry.target, makes_room=False))
        token = self._token(target) if target else None
        path = self._landing(entry.path)
        if target is None:
            self._waiting[path] = None
            self._place(entry._replace(path=path))
        elif target.path != path:
            self._share(path, target, token)
        return path

    def _token(self, file: Entry) -> object | None:
        return self._shared.setdefault(file.path, object()) if file.kind == "file" else None

    def _share(self, path: str, target: Entry, token: object | None) -> None:
        if target.kind == "directory":
            raise ValueError(f"hard link to a directory: {target.path!r}")
        self._place(target._replace(path=path))
        if token is not None:
            self._shared[path] = token
        elif target.kind == "hardlink":
            self._waiting[path] = None

    def _landing(self, path: str, *, makes_room: bool = True) -> str:
        """Where an entry of this path ends up: its directory followed through symlinks, its name kept.

        `makes_room`: what is neither directory nor link on the way goes away; not when only looking something up.
        """
        parent = parent_of(path)
        # What has something in it is a directory, and no symlink leads there any more.
        if not parent or parent in self._children:
            return path
        if (known := self._entries.get(parent)) is not None and known.kind == "directory":
            return path
        directory = self._directory(parent, makes_room=makes_room)
        return f"{directory}/{path[len(parent) + 1 :]}" if directory else path[len(parent) + 1 :]

    def _directory(self, path: str, *, makes_room: bool) -> str:
        """`path` with the symlinks in it followed."""
        real = ""
        most_links = _MOST_LINKS
        parts = [part for part in path.split("/") if part]
        while parts:
            part = parts.pop(0)
            if part == "..":
                real = parent_of(real)
                continue
            step = f"{real}/{part}" if real else part
            entry = self._entries.get(step)
            if entry is None or entry.kind == "directory":
                real = step
            elif entry.kind == "symlink":
                most_links -= 1
                if most_links < 0:
                    raise ValueError(f"too many symlinks above {path!r}")
                if entry.target.startswith("/"):
                    real = ""
                parts = [part for part in entry.target.split("/") if part not in ("", ".")] + parts
            else:
                if makes_room:
                    self.remove(step)
                real = step
        return real


def overlay(layers: Iterable[Tree], *, whiteouts: bool) -> Tree:
    """The layers over each other, lowest first.

    With `whiteouts` the names beginning with `.wh.` mean what they mean in an image layer: `.wh.NAME` takes NAME
    of the layers below away, `.wh..wh..opq` everything of its directory. They never act on their own layer,
    wherever they stand in it, and never through a symlink. Source: OCI image-spec, layer.md, "Whiteouts".
    Raises ValueError for a hard link to what neither its layer nor those below have.
    """
    draft = Draft()
    for layer in layers:
        marks = (
            {entry.path for entry in layer if ".wh." in entry.path and _is_mark(entry.path)}
            if whiteouts
            else ()
        )
        held: list[str] = []
        if marks:
            for path in marks:
                _hide(path, draft)
            # What AUFS keeps for hard links goes in and out again, so that the links have their file.
            targets = {entry.target for entry in layer if entry.kind == "hardlink"}
            held = [draft.put(entry) for entry in layer if entry.path in marks and entry.path in targets]
        for entry in layer:
            if entry.path not in marks:
                draft.put(entry)
        draft.bind(complete=True)
        for path in held:
            draft.remove(path)
    return draft.tree()


def _is_mark(path: str) -> bool:
    """Whether this is a whiteout, or of what AUFS keeps beside them."""
    return path.startswith(".wh.") or "/.wh." in path


def _hide(path: str, draft: Draft) -> None:
    name = path.rpartition("/")[2]
    if name == ".wh..wh..opq":
        draft.empty(parent_of(path))
    elif name.startswith(".wh.") and not name.startswith(".wh..wh.") and len(name) > len(".wh."):
        draft.remove(path[: -len(name)] + name.removeprefix(".wh."))
