"""What a node that runs elsewhere is told, and what it tells: the files of its folder.

    request.json                     what to run: see Request
    blobs/<hex>                      the content of its inputs
    program/kitbuild/ ...            kitbuild and the compressors it needs, unless the workers have it
    out/result                       a row (row.py): the artifact, its blobs, how long it took
    out/blobs/<hex>                  the content of the result that is not among the inputs

`request.json` is JSON, ASCII, one serialisation. A result in it is a row too, without how long it took: the same node
over the same inputs gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Any, NamedTuple

from kitbuild import __version__
from kitbuild.cache.row import decode_result, encode_result
from kitbuild.node import KEY_FORMAT, Node, plain
from kitbuild.store import Result

REQUEST = "request.json"
BLOBS = "blobs"
PROGRAM = "program"
OUTPUT = "out"
RESULT = "result"

# How a worker ends, beside 0. Python itself ends with 1 and 2, a shell with 126 and more.
UNFIT = 70
REFUSED = 71
BROKEN = 72


class Request(NamedTuple):
    """What to run: `options` are the rule's as `plain` gives them, `inputs` the results by the rule's names.

    The rest is what the worker must have, or be, to give the same bytes: kitbuild's version, the `suffix` of compiled
    modules (empty if kitbuild and its libraries are the worker's own), the rule's version, its tools.
    """

    kitbuild: str
    suffix: str
    rule: str
    version: int
    tools: Mapping[str, str]
    options: Any
    inputs: Mapping[str, tuple[Result, ...]]

    def encode(self) -> bytes:
        """The content of `request.json`."""
        inputs = {name: [_row(result) for result in results] for name, results in self.inputs.items()}
        document = {"format": KEY_FORMAT, **self._asdict(), "tools": dict(self.tools), "inputs": inputs}
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def request_of(node: Node, inputs: Mapping[str, tuple[Result, ...]], *, is_shipped: bool) -> Request:
    """The request to run a node; `is_shipped` if this kitbuild goes with it."""
    rule = node.rule
    suffix = EXTENSION_SUFFIXES[0] if is_shipped else ""
    tools = rule.tools(node.options)
    return Request(__version__, suffix, rule.name, rule.version, tools, plain(node.options), inputs)


def decode_request(content: bytes) -> Request:
    """Reads what `Request.encode` wrote; raises ValueError for anything else."""
    try:
        document = json.loads(content)
        if document.pop("format") != KEY_FORMAT:
            raise ValueError("it is of another format")
        inputs = {name: tuple(map(_result, rows)) for name, rows in document.pop("inputs").items()}
        return Request(**document, inputs=inputs)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it is no request: {error}") from error


def _row(result: Result) -> str:
    return encode_result(Result(result.artifact, result.blobs)).decode("ascii")


def _result(row: str) -> Result:
    result = decode_result(row.encode("ascii"))
    if result is None:
        raise ValueError(f"expected a result, got {row[:100]!r}")
    return result
