"""Protobuf's wire format for messages that are declared like this:

    class Digest(Message):
        hash: str = text(1)
        size_bytes: int = integer(2)

A message is a value: made by keyword, compared by what it holds, never changed. A field that is not given has its
default: 0, False, "", b"", () or None (a message). What `encode` writes is canonical: fields in the order of their
numbers, defaults left out, numbers packed. `decode` takes what any protobuf library writes; fields that are not
declared, or that have another wire type than declared, are skipped, and those given twice merge as protobuf says.

Source: Protocol Buffers documentation, "Encoding". No groups, no fixed-size numbers, no floats, no maps: no message
spoken here needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal, NamedTuple, Self, dataclass_transform

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
# A field takes two bytes and some hundred once it is decoded: what four megabytes of them need is too much.
_MOST_FIELDS = 1 << 18
# The numbers that take one byte: nearly all tags and lengths.
_SMALL = tuple(bytes([value]) for value in range(0x80))

_Kind = Literal["integer", "boolean", "text", "content", "message"]
_DEFAULTS: dict[_Kind, Any] = {"integer": 0, "boolean": False, "text": "", "content": b"", "message": None}


class _Field(NamedTuple):
    number: int
    kind: _Kind
    many: bool = False
    message: type[Message] | None = None

    @property
    def default(self) -> Any:
        return () if self.many else _DEFAULTS[self.kind]


def integer(number: int) -> Any:
    """A field that holds an int32, an int64 or an enum."""
    return _Field(number, "integer")


def integers(number: int) -> Any:
    """A field that holds several of them."""
    return _Field(number, "integer", many=True)


def boolean(number: int) -> Any:
    """A field that holds a bool."""
    return _Field(number, "boolean")


def text(number: int) -> Any:
    """A field that holds a string."""
    return _Field(number, "text")


def texts(number: int) -> Any:
    """A field that holds several strings."""
    return _Field(number, "text", many=True)


def content(number: int) -> Any:
    """A field that holds bytes."""
    return _Field(number, "content")


def message(number: int, kind: type[Message]) -> Any:
    """A field that holds a message, or None if it is not there."""
    return _Field(number, "message", message=kind)


def messages(number: int, kind: type[Message]) -> Any:
    """A field that holds several messages."""
    return _Field(number, "message", many=True, message=kind)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Message:
    """What every message is; see the top of this module."""

    _fields: ClassVar[dict[str, _Field]] = {}
    _numbers: ClassVar[dict[int, str]] = {}

    def __init_subclass__(cls) -> None:
        declared = {name: field for name, field in vars(cls).items() if isinstance(field, _Field)}
        cls._fields = dict(sorted(declared.items(), key=lambda item: item[1].number))
        cls._numbers = {field.number: name for name, field in cls._fields.items()}
        # What an instance does not have of its own is looked up here: most fields of most messages.
        for name, field in declared.items():
            setattr(cls, name, field.default)

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            if value != self._fields[name].default:
                self.__dict__[name] = value

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is a value: make another one")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), frozenset(self.__dict__.items())))

    def __repr__(self) -> str:
        given = (f"{name}={getattr(self, name)!r}" for name in self._fields if name in self.__dict__)
        return f"{type(self).__name__}({', '.join(given)})"

    def encode(self) -> bytes:
        """The canonical bytes; raises ValueError for a number beyond 64 bits or a string that is not Unicode."""
        parts: list[bytes] = []
        for name, field in self._fields.items():
            if name in self.__dict__:
                _append(parts, field, self.__dict__[name])
        return b"".join(parts)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Reads a message of this kind; raises ValueError, and nothing else, for what is none."""
        return cls._decode(memoryview(encoded), iter(range(_MOST_FIELDS)))

    @classmethod
    def _decode(cls, encoded: memoryview, budget: Iterator[int]) -> Self:
        lists: dict[str, list[Any]] = {}
        values: dict[str, Any] = {}
        for number, value in _pairs(encoded, budget):
            name = cls._numbers.get(number)
            if name is None:
                continue
            field = cls._fields[name]
            if field.kind == "message" or field.many:
                lists.setdefault(name, []).extend(_elements(field, value))
            elif isinstance(value, int) == (field.kind in ("integer", "boolean")):
                values[name] = _scalar(field, value)
        for name, elements in lists.items():
            values[name] = _gathered(cls._fields[name], elements, budget)
        return cls(**values)


def _append(parts: list[bytes], field: _Field, value: Any) -> None:
    if field.kind in ("integer", "boolean"):
        if field.many:
            _append_bytes(parts, field, b"".join(map(_varint, value)))
        else:
            parts += (_varint(field.number << 3 | _VARINT), _varint(int(value)))
        return
    for element in value if field.many else (value,):
        if field.kind == "message":
            _append_bytes(parts, field, element.encode())
        else:
            _append_bytes(parts, field, element.encode() if field.kind == "text" else element)


def _append_bytes(parts: list[bytes], field: _Field, value: bytes) -> None:
    parts += (_varint(field.number << 3 | _LENGTH), _varint(len(value)), value)


def _varint(value: int) -> bytes:
    if 0 <= value < 0x80:
        return _SMALL[value]
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"expected a number of 64 bits, got {value}")
    value &= (1 << 64) - 1
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _pairs(encoded: memoryview, budget: Iterator[int]) -> Iterator[tuple[int, int | memoryview]]:
    """The fields as (number, value): an unsigned int of 64 bits, or bytes."""
    position, end = 0, len(encoded)
    while position < end:
        if next(budget, None) is None:
            raise ValueError("too many fields")
        tag, position = _read_varint(encoded, position)
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise ValueError(f"field number {number}")
        if wire_type == _VARINT:
            value, position = _read_varint(encoded, position)
            yield number, value
            continue
        if wire_type == _LENGTH:
            size, position = _read_varint(encoded, position)
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
        if size > end - position:
            raise ValueError("a field reaches beyond its message")
        if wire_type == _LENGTH:
            yield number, encoded[position : position + size]
        position += size


def _read_varint(encoded: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for count, digit in enumerate(encoded[position : position + _LONGEST_VARINT]):
        value |= (digit & 0x7F) << 7 * count
        if digit < 0x80:
            return value & (1 << 64) - 1, position + count + 1
    raise ValueError("a number without an end")


def _elements(field: _Field, value: int | memoryview) -> Iterable[int | memoryview]:
    """What one occurrence of a field that may occur more than once adds to it."""
    if field.kind not in ("integer", "boolean"):
        return () if isinstance(value, int) else (value,)
    return (value,) if isinstance(value, int) else _unpacked(value)


def _unpacked(value: memoryview) -> Iterator[int]:
    position = 0
    while position < len(value):
        number, position = _read_varint(value, position)
        yield number


def _gathered(field: _Field, elements: list[Any], budget: Iterator[int]) -> Any:
    if field.message is None:
        return tuple(_scalar(field, element) for element in elements)
    if field.many:
        return tuple(field.message._decode(element, budget) for element in elements)
    # Messages one after another are their merger.
    whole = elements[0] if len(elements) == 1 else memoryview(b"".join(elements))
    return field.message._decode(whole, budget) if elements else None


def _scalar(field: _Field, value: Any) -> Any:
    if field.kind == "integer":
        return value - (1 << 64) if value >= 1 << 63 else value
    if field.kind == "boolean":
        return bool(value)
    return str(value, "utf-8") if field.kind == "text" else bytes(value)
