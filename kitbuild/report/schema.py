"""What each event of `--json` says: declared once, for the JSON Schema and the reference alike."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class _Field(NamedTuple):
    schema: Mapping[str, Any]
    text: str


class _Told(NamedTuple):
    text: str
    fields: Mapping[str, _Field]


_TEXT: Mapping[str, Any] = {"type": "string"}
_TEXTS: Mapping[str, Any] = {"type": "array", "items": _TEXT}
_COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
_SECONDS: Mapping[str, Any] = {"type": "number", "minimum": 0}
_TRUTH: Mapping[str, Any] = {"type": "boolean"}
_TEXT_OR_NULL: Mapping[str, Any] = {"type": ["string", "null"]}
_DIGEST: Mapping[str, Any] = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_ARTIFACT: Mapping[str, Any] = {
    "type": "object",
    "properties": {"kind": {"enum": ["blob", "tree", "extents"]}, "digest": _DIGEST, "size": _COUNT},
    "required": ["kind", "digest", "size"],
}
_WHERE: Mapping[str, Any] = {
    "type": ["object", "null"],
    "properties": {
        "file": _TEXT,
        "line": {"type": "integer", "minimum": 1},
        "column": {"type": "integer", "minimum": 1},
    },
    "required": ["file", "line", "column"],
}

_NODE = {
    "node": _Field(_TEXT, "its name, as `kitbuild graph` and `kitbuild why` know it"),
    "section": _Field(_TEXT, "the part of the config it belongs to"),
}
_GAVE = _Field(_ARTIFACT, "what it gave: `kind`, `digest`, `size` of its own bytes")
_ERROR = {
    "message": _Field(_TEXT, "what is wrong"),
    "where": _Field(_WHERE, "`file`, `line`, `column` from 1; or null"),
    "hint": _Field(_TEXT_OR_NULL, "what to do; or null"),
}

EVENTS: Mapping[str, _Told] = {
    "build-started": _Told(
        "A build begins. Always the first event.",
        {
            "version": _Field(_TEXT, "of kitbuild"),
            "configs": _Field(_TEXTS, "as given, without passwords"),
        },
    ),
    "nodes-started": _Told(
        "The configs were read, all images were found. Told again if the nodes have to be gone through anew.",
        {"nodes": _Field(_COUNT, "how many there are"), "jobs": _Field(_COUNT, "how many run here at once")},
    ),
    "node-cached": _Told(
        "A node's result was in a cache.",
        {
            **_NODE,
            "artifact": _GAVE,
            "far": _Field(_TRUTH, "true if it was in the remote cache alone"),
            "seconds": _Field(_SECONDS, "how long it took to make"),
        },
    ),
    "runs-expected": _Told(
        "The first node is about to run, and an earlier build is remembered.",
        {
            "seconds": _Field(
                {"type": "object", "additionalProperties": _SECONDS},
                "how long nodes took when they ran last, by name",
            )
        },
    ),
    "node-started": _Told(
        "A node runs.",
        {
            **_NODE,
            "rule": _Field(_TEXT, "what it does"),
            "why": _Field(_TEXTS, "sentences, one a reason"),
            "elsewhere": _Field(_TRUTH, "true if an executor was given it; it may run here after all"),
        },
    ),
    "node-progressed": _Told(
        "A node that runs is so far; ten times a second at most.",
        {
            **_NODE,
            "done": _Field(_COUNT, "bytes it has gone through"),
            "size": _Field(_COUNT, "bytes it will have; 0: nobody knows"),
        },
    ),
    "node-finished": _Told(
        "A node ran.",
        {
            **_NODE,
            "artifact": _GAVE,
            "seconds": _Field(_SECONDS, "how long that took"),
            "elsewhere": _Field(_TRUTH, "true if it ran on an executor"),
        },
    ),
    "node-failed": _Told("A node failed; those that need it are left.", {**_NODE, **_ERROR}),
    "nodes-finished": _Told(
        "Nothing runs any more.",
        {
            "ran": _Field(_COUNT, "nodes that ran, here or elsewhere"),
            "cached": _Field(_COUNT, "nodes whose result was in a cache"),
            "failed": _Field(_COUNT, "nodes that failed"),
            "left": _Field(_COUNT, "nodes left because of those"),
            "seconds": _Field(_SECONDS, "since `nodes-started`"),
        },
    ),
    "warned": _Told(
        "Something to know that stops nothing.",
        {
            "message": _Field(_TEXT, "what"),
            "node": _Field(_TEXT_OR_NULL, "whose; null if the build itself warns"),
            "section": _Field(_TEXT_OR_NULL, "that of the node; or null"),
        },
    ),
    "fetch-started": _Told(
        "Content of outputs is brought here from the remote cache.",
        {"blobs": _Field(_COUNT, "how many"), "size": _Field(_COUNT, "bytes at most")},
    ),
    "fetch-finished": _Told(
        "It is here.", {"lost": _Field(_COUNT, "blobs that could not be had, and are made again if need be")}
    ),
    "downloaded": _Told(
        "Bytes came from the remote cache, for outputs or nodes that run; ten times a second at most.",
        {"bytes": _Field(_COUNT, "how many up to now")},
    ),
    "keep-started": _Told(
        "The end waits until results are kept in the remote cache.",
        {"place": _Field(_TEXT, "the cache"), "results": _Field(_COUNT, "how many")},
    ),
    "remote-used": _Told(
        "What the remote cache was used for.",
        {
            "place": _Field(_TEXT, "the cache"),
            "asked": _Field(_COUNT, "results looked for there"),
            "results": _Field(_COUNT, "results found there"),
            "blobs": _Field(_COUNT, "blobs taken from there"),
            "bytes": _Field(_COUNT, "their bytes"),
            "kept_results": _Field(_COUNT, "results put there"),
            "kept_blobs": _Field(_COUNT, "blobs put there"),
            "kept_bytes": _Field(_COUNT, "their bytes"),
            "left": _Field(_COUNT, "results that were to be put there and were not"),
            "seconds": _Field(_SECONDS, "how long the end waited for that"),
        },
    ),
    "output-started": _Told(
        "A file is about to be written.",
        {"path": _Field(_TEXT, "where"), "size": _Field(_COUNT, "its bytes")},
    ),
    "output-written": _Told(
        "A file is in place.",
        {
            "path": _Field(_TEXT, "where"),
            "digest": _Field(_DIGEST, "of its bytes"),
            "size": _Field(_COUNT, "its bytes"),
            "fresh": _Field(_TRUTH, "false if it was there already"),
            "seconds": _Field(_SECONDS, "how long writing took"),
            "nodes": _Field(_COUNT, "nodes it is made of"),
            "cached": _Field(_COUNT, "those whose result was in a cache"),
        },
    ),
    "error": _Told(
        "What ends the build, besides nodes that failed: each mistake in a config is one.", _ERROR
    ),
    "build-finished": _Told(
        "The build is over. Always the last event.",
        {
            "outcome": _Field(
                {"enum": ["done", "failed", "interrupted", "refused"]},
                "`done`, `failed`, `interrupted`, or `refused`: a config or the command line is wrong",
            ),
            "status": _Field(_COUNT, "the exit status"),
            "nodes": _Field(_COUNT, "nodes in all; 0 if the configs could not be read"),
            "ran": _Field(_COUNT, "those that ran here"),
            "sent": _Field(_COUNT, "those that ran on an executor"),
            "near": _Field(_COUNT, "those whose result was in the local cache"),
            "far": _Field(_COUNT, "those whose result was in the remote cache"),
            "failed": _Field(_COUNT, "those that failed"),
            "left": _Field(_COUNT, "those not got to"),
            "saved": _Field(_SECONDS, "what it took to make what came from a cache"),
            "seconds": _Field(_SECONDS, "since `build-started`"),
        },
    ),
}


def event_schema() -> dict[str, Any]:
    """The JSON Schema (draft 7) of one line."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "An event of `kitbuild build --json`",
        "description": "One JSON object a line. Readers must expect new fields and new events.",
        "oneOf": [_object(name, told) for name, told in EVENTS.items()],
    }


def event_schema_text() -> str:
    """The schema as a file."""
    return json.dumps(event_schema(), indent=2) + "\n"


def reference() -> str:
    """Every event with its fields, in Markdown."""
    return "\n".join(_lines())


def _object(name: str, told: _Told) -> dict[str, Any]:
    fields = {field: {**one.schema, "description": one.text} for field, one in told.fields.items()}
    return {
        "title": name,
        "description": told.text,
        "type": "object",
        "properties": {"event": {"const": name}, **fields},
        "required": ["event", *fields],
    }


def _lines() -> Iterator[str]:
    for name, told in EVENTS.items():
        yield f"**`{name}`** {told.text}"
        yield ""
        yield from (f"- `{field}`: {one.text}" for field, one in told.fields.items())
        yield ""
