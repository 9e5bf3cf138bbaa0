"""What a YAML scalar without quotes stands for, by the rules of Go's yaml.v3.

Source: gopkg.in/yaml.v3, resolve.go; the forms of YAML 1.2.2, chapter 10.3.2, and those of 1.1 that Go keeps.
"""

from __future__ import annotations

import math
import re

STRING = "tag:yaml.org,2002:str"
INTEGER = "tag:yaml.org,2002:int"
FLOAT = "tag:yaml.org,2002:float"
BOOLEAN = "tag:yaml.org,2002:bool"
NULL = "tag:yaml.org,2002:null"
MERGE = "tag:yaml.org,2002:merge"
_BINARY = "tag:yaml.org,2002:binary"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"

_WORDS: dict[str, tuple[str, bool | float | None]] = {
    **{text: (NULL, None) for text in ("", "~", "null", "Null", "NULL")},
    **{text: (BOOLEAN, True) for text in ("true", "True", "TRUE")},
    **{text: (BOOLEAN, False) for text in ("false", "False", "FALSE")},
    **{text: (FLOAT, float("nan")) for text in (".nan", ".NaN", ".NAN")},
    **{sign + text: (FLOAT, float("inf")) for sign in ("", "+") for text in (".inf", ".Inf", ".INF")},
    **{text: (FLOAT, float("-inf")) for text in ("-.inf", "-.Inf", "-.INF")},
    "<<": (MERGE, None),
}
# Only scalars that start so can be anything but text; all others are settled by this one look.
_FIRST = frozenset("~ntfNTF<+-.0123456789")
# Underscores are taken out before. A leading zero means octal, so 08 is no integer (it becomes the float 8).
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*|0[0-7]+|0[oO][0-7]+|0[xX][0-9a-fA-F]+|0[bB][01]+)\Z")
_LONGEST = 80  # characters of 64 bits in base 2, with room for zeros; Python refuses to read 5,000 digits
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")


class TagError(ValueError):
    """A scalar's explicit tag is unknown or does not fit its text."""


def tag_of(text: str) -> str:
    """The tag of a scalar written without quotes and without a tag."""
    if text and text[0] not in _FIRST:
        return STRING
    word = _WORDS.get(text)
    if word is not None:
        return word[0]
    if text[0] in "~ntfNTF<":
        return STRING
    plain = text.replace("_", "")
    if _INTEGER.match(plain) and _integer(plain) is not None:
        return INTEGER
    # A number too large for a float is text to Go.
    return FLOAT if _FLOAT.match(plain) and math.isfinite(float(plain)) else STRING


def value_of(tag: str, text: str) -> str | int | float | bool | None:
    """The value of a scalar with this tag, resolved or written; raises TagError."""
    if tag in (STRING, _TIMESTAMP):
        return text
    found = tag_of(text)
    if tag == INTEGER and found == INTEGER:
        return _integer(text.replace("_", ""))
    if tag == FLOAT and found in (FLOAT, INTEGER):
        return _float(text)
    if tag == found and tag in (BOOLEAN, NULL):
        return _WORDS[text][1]
    if tag == MERGE:
        return text  # `<<` as a value is text
    if tag == _BINARY:
        return _text_of_base64(text)
    raise TagError(
        f"expected a value that fits its tag, got `{tag.replace('tag:yaml.org,2002:', '!!')} {text}`"
    )


def _integer(plain: str) -> int | None:
    """The integer, or None outside of what 64 bits hold, signed or unsigned."""
    if len(plain) > _LONGEST:
        return None
    octal = len(digits := plain.lstrip("+-")) > 1 and digits.isdigit() and digits[0] == "0"
    number = int(plain, 8) if octal else int(plain, 0)
    return number if -(1 << 63) <= number < 1 << 64 else None


def _float(text: str) -> float:
    word = _WORDS.get(text)
    if word is not None and isinstance(word[1], float):
        return word[1]
    plain = text.replace("_", "")
    if _FLOAT.match(plain):
        return float(plain)
    return float(_integer(plain) or 0)


def _text_of_base64(text: str) -> str:
    import base64  # only one config in a thousand holds !!binary

    try:
        return base64.b64decode(text, validate=False).decode()
    except ValueError as error:
        raise TagError("expected base64 of UTF-8 text for the tag `!!binary`") from error
