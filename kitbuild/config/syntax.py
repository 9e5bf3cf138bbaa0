"""What libyaml says about broken syntax, in sentences of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kitbuild.errors import ConfigError, Where


class _Sentence(NamedTuple):
    problem: str  # the start of what libyaml says
    message: str
    hint: str
    at_context: bool = False  # the place is where the broken thing starts, not where libyaml noticed


_SENTENCES = (
    _Sentence(
        "mapping values are not allowed",
        "expected one `key: value` here, got another `: `",
        "put a value that holds `: ` in quotes, correct the indentation, or end the line above with `:`",
    ),
    _Sentence(
        "found unexpected end of stream",
        "expected a closing quote, got the end of the file",
        "close the quote",
        at_context=True,
    ),
    _Sentence(
        "could not find expected ':'",
        "expected `:` after this key",
        "write `key: value`, or correct the indentation",
        at_context=True,
    ),
    _Sentence(
        "did not find expected ',' or ']'",
        "expected `,` or `]` in this list",
        "separate entries by `,`, and close the list with `]`",
    ),
    _Sentence(
        "did not find expected ',' or '}'",
        "expected `,` or `}` in this mapping",
        "separate keys by `,`, and close the mapping with `}`",
    ),
    _Sentence(
        "did not find expected key",
        "expected a key indented like the ones above it",
        "correct the indentation of this line",
    ),
    _Sentence(
        "did not find expected '-' indicator",
        "expected `- ` like the entries above it",
        "correct the indentation of this line",
    ),
    _Sentence(
        "did not find expected <document start>",
        "expected the indentation of the first line, got less",
        "indent this line like the first one",
    ),
    _Sentence(
        "did not find expected node content",
        "expected a value here",
        "give a value or remove the mark before it",
    ),
    _Sentence(
        "block sequence entries are not allowed",
        "expected a value, got the start of a list",
        "start the list on a line of its own",
    ),
    _Sentence(
        "found undefined alias", "expected the name of an anchor after `*`", "define it with `&` further up"
    ),
    _Sentence(
        "second occurrence", "expected each anchor once, got this one again", "give the second another name"
    ),
    _Sentence(
        "found unknown escape character",
        "expected an escape such as \\n or \\\\ in double quotes",
        "use single quotes",
    ),
    _Sentence(
        "found incompatible YAML document", "expected YAML 1.1 or 1.2, got another", "remove this line"
    ),
    _Sentence(
        "found a tab character",
        "expected spaces as indentation, got a tab",
        "indent with spaces",
    ),
)


def explained(error: Any, name: str, text: str, lines: Sequence[str]) -> ConfigError:
    """The ConfigError for a YAMLError that libyaml raised while reading `text`, whose lines are given too."""
    problem = getattr(error, "problem", None)
    if problem is None:
        return _character(error, name, text, lines)
    unmerged = next((number for number, line in enumerate(lines) if line.startswith("<<<<<<< ")), None)
    if unmerged is not None:
        return ConfigError(
            "expected YAML, got the mark of an unfinished merge",
            where=Where(name, unmerged + 1, 1, lines[unmerged]),
            hint="finish the merge: keep one of the two versions, and remove the marks",
        )
    mark = error.problem_mark
    where = _at(mark, name, lines)
    rest = where.text[where.column - 1 :].strip()
    if problem.startswith("did not find expected key") and rest and where.text[: where.column - 1].strip():
        return ConfigError(
            f"expected the end of the line, got `{rest[:60]}`",
            where=where,
            hint="remove it, or put the whole value in quotes",
        )
    sentence = next((one for one in _SENTENCES if problem.startswith(one.problem)), None)
    if sentence is None:
        return _other(problem, where)
    if sentence.at_context and error.context_mark is not None:
        mark = error.context_mark
    return ConfigError(sentence.message, where=_at(mark, name, lines), hint=sentence.hint)


def _other(problem: str, where: Where) -> ConfigError:
    character = where.text[where.column - 1 : where.column]
    if not problem.startswith("found character that cannot start any token"):
        return ConfigError(f"expected YAML: {problem}", where=where, hint="put the value in quotes")
    if character == "\t":
        return ConfigError(
            "expected spaces as indentation, got a tab", where=where, hint="indent with spaces"
        )
    return ConfigError(
        f"expected quotes around a value that starts with {_quoted(character)}",
        where=where,
        hint='put it in quotes: "..."',
    )


def _quoted(character: str) -> str:
    return "a backquote" if character == "`" else f"`{character}`"


def _character(error: Any, name: str, text: str, lines: Sequence[str]) -> ConfigError:
    """A character YAML does not allow; libyaml gives its offset in bytes of UTF-8."""
    before = text.encode()[: getattr(error, "position", 0)].decode("utf-8", "replace")
    line = before.count("\n")
    column = len(before) - (before.rfind("\n") + 1)
    code = getattr(error, "character", 0)
    code = code if isinstance(code, int) else ord(code)
    escape = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return ConfigError(
        f"expected printable text, got the character U+{code:04X}",
        where=Where(name, line + 1, column + 1, lines[line] if line < len(lines) else ""),
        hint="give a text file, saved as UTF-8"
        if "\0" in text
        else f'write it as an escape in double quotes: "{escape}"',
    )


def _at(mark: Any, name: str, lines: Sequence[str]) -> Where:
    return Where(name, mark.line + 1, mark.column + 1, lines[mark.line] if mark.line < len(lines) else "")
