"""JSON text exactly as Go's encoding/json indents it, which is how config.json and runtime.json are written."""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import Any

# Go escapes what could end a script in HTML or a line in JavaScript. None of it occurs outside of strings, so
# the finished text is replaced in, once.
_ESCAPES = (
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("&", "\\u0026"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)


def json_text(value: Any) -> str:
    """`value` (dict, list, tuple, str, int, bool) indented by 4 spaces, keys in their order, no newline at the end.

    Half of a surrogate pair, which JSON can name and UTF-8 cannot hold, becomes U+FFFD.
    """
    text = _text(value, "\n")
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    # Five searches: thirty times as fast as str.translate, which looks at every character in Python's tables.
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return text


def _text(value: Any, line: str) -> str:
    """`line` is the newline and indentation before a closing bracket."""
    # One config.json has a hundred values and a system a thousand of them: types are compared, not asked for.
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is dict:
        if not value:
            return "{}"
        inner = line + "    "
        members = [f"{inner}{encode_basestring(key)}: {_text(item, inner)}" for key, item in value.items()]
        return f"{{{','.join(members)}{line}}}"
    if kind is list or kind is tuple:
        if not value:
            return "[]"
        inner = line + "    "
        return f"[{','.join([inner + _text(item, inner) for item in value])}{line}]"
    if kind is bool:
        return "true" if value else "false"
    return str(value)
