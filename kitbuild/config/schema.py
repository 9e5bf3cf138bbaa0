"""The shape of a config, declared once: what `validate` checks, and what an editor's schema can be made of.

Source: LinuxKit's JSON schema (draft-04). Wider in one point: `pageSize` of a huge page limit may be text such as
`2MB`, which is what the OCI runtime specification wants; LinuxKit allows only an integer there and loses it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from kitbuild.suggest import one_of

MAX_MISTAKES = 100  # nobody reads more, and each takes time to explain

Kind = Literal["object", "map", "array", "string", "integer", "boolean", "name or number"]


class Schema(NamedTuple):
    """What one value may be.

    object: `fields`, of which `required` must be there, and no other key. map: text keys, values of `items`.
    array: values of `items`. string: one of `choices`, if there are any. integer: `lowest` to `highest`.
    `means` is what a message calls the value where its kind says too little, with an article.
    """

    kind: Kind
    fields: Mapping[str, Schema] = {}
    required: tuple[str, ...] = ()
    items: Schema | None = None
    choices: tuple[str, ...] = ()
    lowest: int = -(1 << 63)
    highest: int = (1 << 63) - 1
    means: str = ""


class Problem(NamedTuple):
    """One mistake: the path of the value, what is wrong, what to do. `at_key`: its key is the wrong thing."""

    path: tuple[str | int, ...]
    message: str
    hint: str
    at_key: bool = False


def _record(*required: str, **fields: Schema) -> Schema:
    return Schema("object", fields=fields, required=required)


def _list(items: Schema) -> Schema:
    return Schema("array", items=items)


_STRING = Schema("string")
_STRINGS = _list(_STRING)
_TEXTS = Schema("map", items=_STRING)
_BOOLEAN = Schema("boolean")
_ID = Schema("name or number")
_INT64 = Schema("integer")
_UINT64 = Schema("integer", lowest=0, highest=(1 << 64) - 1)
_UINT32 = Schema("integer", lowest=0, highest=(1 << 32) - 1)
_UINT16 = Schema("integer", lowest=0, highest=(1 << 16) - 1)
_OCTAL = Schema("string", means='an octal string such as "0644"')
_REFERENCE = Schema("string", means="the name of an image such as linuxkit/init:v1")

_ID_MAPPINGS = _list(_record(hostID=_UINT32, containerID=_UINT32, size=_UINT32))
_MOUNTS = _list(
    _record(
        destination=_STRING,
        type=_STRING,
        source=_STRING,
        options=_STRINGS,
        uidmappings=_ID_MAPPINGS,
        gidmappings=_ID_MAPPINGS,
    )
)
_DEVICES = _list(_record(path=_STRING, type=_STRING, major=_INT64, minor=_INT64, mode=_OCTAL))
_RATES = _list(_record(major=_INT64, minor=_INT64, rate=_UINT64))
_RESOURCES = _record(
    devices=_list(_record(allow=_BOOLEAN, type=_STRING, major=_INT64, minor=_INT64, access=_STRING)),
    memory=_record(
        limit=_INT64,
        reservation=_INT64,
        swap=_INT64,
        kernel=_INT64,
        kernelTCP=_INT64,
        swappiness=_UINT64,
        disableOOMKiller=_BOOLEAN,
    ),
    cpu=_record(
        shares=_UINT64,
        quota=_INT64,
        period=_UINT64,
        realtimeRuntime=_INT64,
        realtimePeriod=_UINT64,
        cpus=_STRING,
        mems=_STRING,
    ),
    pids=_record(limit=_INT64),
    blockio=_record(
        weight=_UINT16,
        leafWeight=_UINT16,
        weightDevice=_list(_record(major=_INT64, minor=_INT64, weight=_UINT16, leafWeight=_UINT16)),
        throttleReadBpsDevice=_RATES,
        throttleWriteBpsDevice=_RATES,
        throttleReadIOPSDevice=_RATES,
        throttleWriteIOPSDevice=_RATES,
    ),
    hugepageLimits=_list(
        _record(pageSize=Schema("name or number", means="a size such as 2MB"), limit=_UINT64)
    ),
    network=_record(classID=_UINT32, priorities=_list(_record(name=_STRING, priority=_UINT32))),
)
_RUNTIME = _record(
    cgroups=_STRINGS,
    mounts=_MOUNTS,
    mkdir=_STRINGS,
    interfaces=_list(_record(name=_STRING, add=_STRING, peer=_STRING, createInRoot=_BOOLEAN)),
    bindNS=_record(
        cgroup=_STRING, ipc=_STRING, mnt=_STRING, net=_STRING, pid=_STRING, user=_STRING, uts=_STRING
    ),
    namespace=_STRING,
)
_OPTIONS: dict[str, Schema] = {
    **dict.fromkeys(("capabilities", "capabilities.add", "ambient"), _STRINGS),
    "mounts": _MOUNTS,
    **dict.fromkeys(("binds", "binds.add", "tmpfs", "command", "env"), _STRINGS),
    "devices": _DEVICES,
    **dict.fromkeys(("cwd", "net", "pid", "ipc", "uts", "userns", "hostname"), _STRING),
    **dict.fromkeys(("readonly", "noNewPrivileges"), _BOOLEAN),
    **dict.fromkeys(("maskedPaths", "readonlyPaths", "rlimits"), _STRINGS),
    **dict.fromkeys(("uid", "gid"), _ID),
    "additionalGids": _list(_ID),
    "oomScoreAdj": _INT64,
    **dict.fromkeys(("rootfsPropagation", "cgroupsPath"), _STRING),
    "resources": _RESOURCES,
    **dict.fromkeys(("sysctl", "annotations"), _TEXTS),
    **dict.fromkeys(("uidMappings", "gidMappings"), _ID_MAPPINGS),
    "runtime": _RUNTIME,
}

CONTAINER = _record("name", "image", name=_STRING, image=_REFERENCE, **_OPTIONS)
LABEL = Schema("object", fields=_OPTIONS, means="an object of container options")
CONFIG = Schema(
    "object",
    fields={
        "kernel": _record(image=_REFERENCE, cmdline=_STRING, binary=_STRING, tar=_STRING, ucode=_STRING),
        "init": _list(_REFERENCE),
        "onboot": _list(CONTAINER),
        "onshutdown": _list(CONTAINER),
        "services": _list(CONTAINER),
        "volumes": _list(
            _record(
                name=_STRING,
                image=_REFERENCE,
                readonly=_BOOLEAN,
                format=Schema("string", choices=("oci", "filesystem")),
                platforms=_STRINGS,
            )
        ),
        "files": _list(
            _record(
                path=_STRING,
                directory=_BOOLEAN,
                symlink=_STRING,
                contents=_STRING,
                source=_STRING,
                metadata=_STRING,
                optional=_BOOLEAN,
                mode=_OCTAL,
                uid=_ID,
                gid=_ID,
            )
        ),
        "trust": _record(image=_STRINGS, org=_STRINGS),
    },
    means="a mapping of sections such as kernel, init and services",
)


def validate(value: Any, schema: Schema) -> list[Problem]:
    """The mistakes in `value`, in the order in which they stand in it; empty if it is as `schema` says.

    Once there are MAX_MISTAKES nothing more is looked at.
    """
    problems: list[Problem] = []
    _check(value, schema, (), problems)
    return problems


def _check(value: Any, schema: Schema, path: tuple[str | int, ...], problems: list[Problem]) -> None:
    if len(problems) >= MAX_MISTAKES:
        return
    kind = schema.kind
    if kind == "string":
        if type(value) is not str:
            problems.append(_mismatch(value, schema, path))
        elif schema.choices and value not in schema.choices:
            named = " or ".join(f"`{choice}`" for choice in schema.choices)
            message = f"expected {named}, got {shown(value)}"
            problems.append(Problem(path, message, one_of(value, schema.choices)))
    elif type(value) is not _TYPES[kind] and not _fits(value, kind):
        problems.append(_mismatch(value, schema, path))
    elif kind == "object":
        _check_fields(value, schema, path, problems)
    elif schema.items is not None:
        for step, item in enumerate(value) if kind == "array" else value.items():
            _check(item, schema.items, (*path, step), problems)
    elif kind == "integer" and not schema.lowest <= value <= schema.highest:
        message = f"expected a number from {schema.lowest} to {schema.highest}, got {value}"
        problems.append(Problem(path, message, "give a number in that range"))


_TYPES = {"object": dict, "map": dict, "array": list, "integer": int, "boolean": bool, "name or number": str}


def _fits(value: Any, kind: Kind) -> bool:
    """What fits besides the usual type: names may be numbers, and 1e6 is an integer, as in JSON schema."""
    if kind == "name or number":
        return type(value) is int
    return kind == "integer" and type(value) is float and value.is_integer()


def _check_fields(
    value: dict[str, Any], schema: Schema, path: tuple[str | int, ...], problems: list[Problem]
) -> None:
    fields = schema.fields
    for key, item in value.items():
        field = fields.get(key)
        if field is None:
            if len(problems) >= MAX_MISTAKES:
                return
            message = f"unknown key {shown(key)}"
            problems.append(Problem((*path, key), message, one_of(key, fields), at_key=True))
        else:
            _check(item, field, (*path, key), problems)
    for key in schema.required:
        if key not in value:
            problems.append(Problem(path, f"expected the key `{key}`", f"add `{key}:` to this entry"))


def _mismatch(value: Any, schema: Schema, path: tuple[str | int, ...]) -> Problem:
    key = next((step for step in reversed(path) if isinstance(step, str)), "")
    wanted = schema.means or _NAMES[schema.kind]
    if not path:
        hint = f"start with a key such as `{next(iter(schema.fields))}:`"
        return Problem(path, f"expected {wanted}, got {shown(value)}", hint)
    subject = f"`{key}` is" if path[-1] == key else f"an entry of `{key}` is"
    return Problem(path, f"{subject} {wanted}, got {shown(value)}", _way_out(value, schema, path))


_NAMES: dict[Kind, str] = {
    "object": "a mapping of keys",
    "map": "a mapping of names to text",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "name or number": "a number or a name",
}
_YES = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def _way_out(value: Any, schema: Schema, path: tuple[str | int, ...]) -> str:
    """What to write where `value` does not fit."""
    if value is None:
        return f"give a value, or remove the {'entry' if isinstance(path[-1], int) else 'key'}"
    way = _WAYS[schema.kind](value, schema) if schema.kind in _WAYS else ""
    return way or f"write {schema.means or _NAMES[schema.kind]}"


def _to_text(value: Any, schema: Schema) -> str:
    if schema is _OCTAL and type(value) is int:
        return 'put the digits in quotes, such as "0644": without them YAML reads a number'
    if isinstance(value, (bool, int, float)):
        return "put the value in quotes"
    return "" if schema.means else "write one text, in quotes if it holds `: ` or starts with `[` or `{`"


def _to_boolean(value: Any, schema: Schema) -> str:
    if not isinstance(value, str):
        return ""
    word = value.lower()
    return f"write {_YES.get(word, word if word in _YES.values() else 'true or false')}, without quotes"


def _to_list(value: Any, schema: Schema) -> str:
    items = schema.items
    if isinstance(value, dict) or (items and items.kind == "object"):
        return "start each entry with `- `"
    if isinstance(value, str) and len(value) <= _LONGEST_SHOWN:
        # A command is written so, with its arguments; other lists have one path or name in a text.
        words = value.split() if value.startswith("/") and " /" not in value else [value]
        quoted = ", ".join(f'"{word}"' for word in words)
        return f"write a list: [{quoted}]"
    return f"write a list: [{value}]" if isinstance(value, (bool, int, float)) else "write a list: [...]"


def _to_integer(value: Any, schema: Schema) -> str:
    size = _SIZE.match(value) if isinstance(value, str) else None
    if not size:
        return ""
    return f"write {int(size[1]) << _SHIFTS[size[2].lower()]}" if size[2] else "remove the quotes"


def _to_mapping(value: Any, schema: Schema) -> str:
    if not schema.fields:
        return 'write a line for each: name: "value"'
    word, colon, _ = value.partition(":") if isinstance(value, str) else ("", "", "")
    if colon and word in schema.fields:
        return f"put a space behind `{word}:`"
    return f"write keys such as `{'` and `'.join(f'{key}:' for key in list(schema.fields)[:2])}`"


_WAYS: dict[Kind, Callable[[Any, Schema], str]] = {
    "string": _to_text,
    "boolean": _to_boolean,
    "array": _to_list,
    "integer": _to_integer,
    "object": _to_mapping,
    "map": _to_mapping,
}
_SIZE = re.compile(r"([0-9]{1,18})([kmgtKMGT]?)(?:i?[bB])?\Z")
_SHIFTS = {"k": 10, "m": 20, "g": 30, "t": 40}
_LONGEST_SHOWN = 60


def shown(value: Any) -> str:
    """A value as a message quotes it: text and numbers as they are, cut at 60 characters, others by their kind."""
    if value is None:
        return "nothing"
    if value == "":
        return "empty text"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value)
    text = text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
    return f"`{text}`" if isinstance(value, str) else text
