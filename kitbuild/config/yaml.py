"""A YAML document as plain values, with the place of every one of them.

The dialect is that of Go's yaml.v3, which LinuxKit reads its configs with, not PyYAML's: `yes`, `on` and `22:22`
are text, `0o17` and `0b1` are integers, a key given twice is a mistake. What Go would turn into a time stays the
text that was written. Only the first document counts.

Source: YAML 1.2.2, chapter 10.3; gopkg.in/yaml.v3, resolve.go and decode.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from yaml import YAMLError
from yaml._yaml import CParser
from yaml.nodes import MappingNode, Node, ScalarNode

from kitbuild.config.scalars import BOOLEAN, MERGE, NULL, STRING, TagError, tag_of, value_of
from kitbuild.config.schema import MAX_MISTAKES
from kitbuild.config.syntax import explained
from kitbuild.errors import ConfigError, Where

Path = Sequence[str | int]

MAX_BYTES = 4 << 20  # no config comes near it; more is a mistaken file
_MAX_DEPTH = 100  # libyaml recurses in C and would take the process with it
_MAX_VALUES = 100_000  # after aliases are followed: a "billion laughs" ends here, within half a second
_PLAIN_COLLECTIONS = {"tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}
# What libyaml counts as the end of a line.
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


class Document:
    """One parsed document: its `value` (dict, list, str, int, float, bool, None) and the place of everything in it.

    `problems` are mistakes that leave the rest readable: a key given twice (the first counts), a key that is no
    text, a tag nobody knows. Places are worked out only when asked for.
    """

    def __init__(self, name: str, text: str, root: Node) -> None:
        self.name = name
        self._text = text
        self._lines: list[str] | None = None
        self._root = root
        reading = _Reading(self)
        self.value: Any = reading.value(root, 0)
        self.problems: tuple[ConfigError, ...] = tuple(reading.problems.values())

    def where(self, path: Path = (), *, key: bool = False) -> Where:
        """The place of the value at `path`, or of its key; of the last one on the way if there is no such value."""
        node = holder = self._root
        for step in path:
            found = _inside(node, step)
            if found is None:
                # Nothing to point at: then the value that should hold it is meant, not its key.
                holder = node
                break
            holder, node = found
        return self.at((holder if key else node).start_mark)

    def lines(self, path: Path = ()) -> dict[str, int]:
        """The line of everything inside the value at `path`, by the way there: `command[2]`, `env`, `image`."""
        top = self._root
        for step in path:
            found = _inside(top, step)
            if found is None:
                return {}
            top = found[1]
        lines: dict[str, int] = {}
        stack = [("", top)]
        while stack:
            name, node = stack.pop()
            if len(lines) >= _MAX_VALUES:
                break
            if type(node) is MappingNode:
                inner = [
                    (f"{name}.{key.value}" if name else str(key.value), key, value)
                    for key, value in node.value
                ]
            elif type(node) is ScalarNode:
                continue
            else:
                inner = [(f"{name}[{number}]", value, value) for number, value in enumerate(node.value)]
            lines.update((inside, key.start_mark.line + 1) for inside, key, _ in inner)
            stack += ((inside, value) for inside, _, value in inner)
        return lines

    def at(self, mark: Any) -> Where:
        """The place of one of libyaml's marks, which count from 0."""
        if self._lines is None:
            self._lines = _LINE_END.split(self._text)
        text = self._lines[mark.line] if mark.line < len(self._lines) else ""
        return Where(self.name, mark.line + 1, mark.column + 1, text)


def parse(content: bytes, name: str) -> Document:
    """Reads the first document of `content`; `name` is the file name for places.

    Raises ConfigError for what cannot be read at all: bad syntax or encoding, nothing there, too large or too deep.
    """
    if len(content) > MAX_BYTES:
        raise ConfigError(
            f"expected at most {MAX_BYTES >> 20} MiB, got more",
            where=Where(name, 1, 1),
            hint="give the YAML file, not an image",
        )
    text = _decoded(content, name)
    try:
        parser = _Parser(text)
        if not parser.check_node():
            raise ConfigError(
                "expected a config, got an empty file",
                where=Where(name, 1, 1),
                hint="start with a section such as `kernel:` or `services:`",
            )
        root = parser.get_node()
        assert root is not None
        # libyaml ends a document where the indentation drops below its first line; only what follows shows it.
        parser.check_node()
    except _LimitError as limit:
        mark = limit.node.start_mark
        where = Where(name, mark.line + 1, mark.column + 1)
        raise ConfigError(str(limit), where=where, hint="give a config: no system needs so much") from None
    except YAMLError as error:
        raise explained(error, name, text, _LINE_END.split(text)) from None
    return Document(name, text, root)


class _LimitError(Exception):
    def __init__(self, what: str, node: Node) -> None:
        super().__init__(what)
        self.node = node


def _decoded(content: bytes, name: str) -> str:
    utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        if utf16:
            raise ConfigError(
                "expected UTF-16 text, as the first two bytes say, got half a character",
                where=Where(name, 1, 1),
                hint="save the file as UTF-8",
            ) from None
        before = content[: error.start].decode("utf-8", "replace")
        lines = _LINE_END.split(before)
        raise ConfigError(
            f"expected UTF-8 text, got the byte 0x{content[error.start]:02x}",
            where=Where(name, len(lines), len(lines[-1]) + 1, lines[-1]),
            hint="save the file as UTF-8",
        ) from None


class _Parser(CParser):
    """libyaml's composer with our resolver; the three methods are called for every node."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        self._depth = 0
        self._count = 0

    def resolve(self, kind: type[Node], value: str, implicit: Any) -> str:
        if kind is ScalarNode:
            return tag_of(value) if implicit[0] else STRING
        return "tag:yaml.org,2002:map" if kind is MappingNode else "tag:yaml.org,2002:seq"

    def descend_resolver(self, parent: Node | None, _index: Any) -> None:
        self._depth += 1
        self._count += 1
        if parent is not None:
            if self._depth > _MAX_DEPTH:
                raise _LimitError(f"expected at most {_MAX_DEPTH} levels, got more", parent)
            if self._count > _MAX_VALUES:
                raise _LimitError(f"expected at most {_MAX_VALUES} values, got more", parent)

    def ascend_resolver(self) -> None:
        self._depth -= 1


class _Reading:
    """Turns nodes into values and collects what is wrong on the way, once per place."""

    def __init__(self, document: Document) -> None:
        self.problems: dict[tuple[int, int], ConfigError] = {}
        self._document = document
        self._left = _MAX_VALUES

    def value(self, node: Node, depth: int) -> Any:
        if type(node) is ScalarNode:
            return node.value if node.tag == STRING else self._scalar(node)
        if node.tag not in _PLAIN_COLLECTIONS:
            self._problem(node, f"expected no tag here, got `{_short(node.tag)}`", "remove the tag")
        self._left -= len(node.value)
        if self._left < 0 or depth > _MAX_DEPTH:
            limit = f"{_MAX_VALUES} values" if self._left < 0 else f"{_MAX_DEPTH} levels"
            raise ConfigError(
                f"expected at most {limit}, got more",
                where=self._document.at(node.start_mark),
                hint="look for an alias that holds itself or multiplies",
            )
        if type(node) is MappingNode:
            return self._mapping(node, depth)
        return [self.value(item, depth + 1) for item in node.value]

    def _scalar(self, node: ScalarNode) -> Any:
        try:
            return value_of(node.tag, node.value)
        except TagError as error:
            self._problem(node, str(error), "remove the tag or correct the value")
            return node.value

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        sources: list[Node] = []
        for key, value in node.value:
            name = key.value
            if key.tag != STRING or type(key) is not ScalarNode:
                if key.tag == MERGE:
                    sources.append(value)
                else:
                    self._odd_key(key)
            elif name in values:
                if len(self.problems) >= MAX_MISTAKES:
                    continue
                first = next(other for other, _ in node.value if other.value == name).start_mark.line + 1
                self._problem(
                    key,
                    f"expected each key once, got `{name}` again",
                    f"remove it, or join it with the one in line {first}",
                )
            else:
                values[name] = self.value(value, depth + 1)
        for source in sources:
            for merged in self._merged(source, depth):
                for name, item in merged.items():
                    values.setdefault(name, item)
        return values

    def _merged(self, source: Node, depth: int) -> Iterator[dict[str, Any]]:
        for part in _sources(source):
            if type(part) is MappingNode:
                value = self.value(part, depth + 1)
                yield value
            else:
                self._problem(
                    part, "expected a mapping to merge with `<<`", "name an anchor that holds a mapping"
                )

    def _odd_key(self, key: Node) -> None:
        if type(key) is ScalarNode:
            written = key.value or "nothing"
            kind = {BOOLEAN: "a boolean", NULL: "null"}.get(key.tag, "a number")
            self._problem(
                key, f"expected text as a key, got {kind} (`{written}`)", f'write "{key.value}": in quotes'
            )
        else:
            self._problem(
                key, "expected text as a key, got a list or mapping", "write a plain name before the `:`"
            )

    def _problem(self, node: Node, message: str, hint: str) -> None:
        mark = node.start_mark
        if (mark.line, mark.column) not in self.problems and len(self.problems) < MAX_MISTAKES:
            error = ConfigError(message, where=self._document.at(mark), hint=hint)
            self.problems[mark.line, mark.column] = error


def _sources(source: Node) -> list[Node]:
    """The nodes a merge key names: one, or those of a list."""
    return [source] if type(source) in (MappingNode, ScalarNode) else source.value


def _inside(node: Node, step: str | int) -> tuple[Node, Node] | None:
    """Key (or position) and value of one step down, through merge keys where the step is not in the node itself."""
    if isinstance(node, ScalarNode):
        return None
    if not isinstance(node, MappingNode):
        return (node.value[step],) * 2 if isinstance(step, int) and step < len(node.value) else None
    for key, value in node.value:
        if key.value == step and key.tag == STRING:
            return key, value
    for key, value in node.value:
        if key.tag == MERGE:
            for source in _sources(value):
                found = _inside(source, step)
                if found is not None:
                    return found
    return None


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
