"""What each container option becomes in config.json, and the mistakes a schema cannot see.

Source: OCI runtime-spec 1.2.1, config.md and config-linux.md; LinuxKit's way of filling them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kitbuild.config.capabilities import CAPABILITIES, KNOWN, meant
from kitbuild.config.ids import Ids, UnknownIdError, number_of
from kitbuild.config.model import Volume
from kitbuild.config.schema import Problem, shown
from kitbuild.suggest import one_of

Json = dict[str, Any]


class Side(NamedTuple):
    """The options from one origin, the config or the image's label, and what is found wrong with them."""

    options: Mapping[str, Any]
    problems: list[Problem]

    def wrong(self, message: str, hint: str, *path: str | int) -> None:
        """Notes a mistake in the option at `path`."""
        self.problems.append(Problem(path, message, hint))


_DEFAULT_MOUNTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620")),
    ("/proc", "proc", "proc", ("nosuid", "nodev", "noexec", "relatime")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro")),
)
_READONLY_TOO = ("/dev", "/sys")
# Kernel file systems that are their own source, and where they belong.
_OWN_PLACES = {
    "mqueue": "/dev/mqueue",
    "devpts": "/dev/pts",
    "proc": "/proc",
    "sysfs": "/sys",
    "cgroup": "/sys/fs/cgroup",
}
_LIMITS = (
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
)
_UNLIMITED = (1 << 64) - 1
_OCTAL = re.compile(r"[0-7]{1,10}\Z")


def mount(destination: str, kind: str, source: str, options: Sequence[str]) -> Json:
    """One mount as JSON: what is empty is left out, but never the destination."""
    entry: Json = {"destination": destination}
    if kind:
        entry["type"] = kind
    if source:
        entry["source"] = source
    if options:
        entry["options"] = options
    return entry


def default_mounts(readonly: bool) -> dict[str, Json]:
    """The mounts every container has, by destination."""
    mounts = {}
    for destination, kind, source, options in _DEFAULT_MOUNTS:
        more = ("ro",) if readonly and destination in _READONLY_TOO else ()
        mounts[destination] = mount(destination, kind, source, options + more)
    return mounts


def add_tmpfs(side: Side, mounts: dict[str, Json]) -> None:
    """Adds `tmpfs`: "destination" or "destination:option,option"."""
    for position, text in enumerate(side.options.get("tmpfs", ())):
        destination, *rest = text.split(":")
        if len(rest) > 1:
            message = f"expected a path or path:options, got {shown(text)}"
            side.wrong(message, "separate options by `,`", "tmpfs", position)
        else:
            options = rest[0].split(",") if rest else ()
            mounts[destination] = mount(destination, "tmpfs", "tmpfs", options)


def add_binds(
    side: Side, key: str, mounts: dict[str, Json], volumes: Mapping[str, Volume] | None = None
) -> None:
    """Adds `binds` or `binds.add`: "source:destination[:options]"; a source may be the name of a volume.

    Without `volumes` (binds of a label) a source is taken as it is.
    """
    for position, text in enumerate(side.options.get(key, ())):
        source, *rest = text.split(":")
        if not 1 <= len(rest) <= 2:
            message = f"expected source:destination or source:destination:options, got {shown(text)}"
            hint = "add `:` and the destination" if not rest else "separate options by `,`"
            side.wrong(message, hint, key, position)
            continue
        if volumes is not None and not source.startswith("/"):
            volume = _volume(side, source, volumes, (key, position))
            if volume is None:
                continue
            if volume.readonly and rest[1:] != ["ro"]:
                message = (
                    f"volume `{source}` is read-only: expected `{source}:{rest[0]}:ro`, got {shown(text)}"
                )
                side.wrong(message, "bind it with the option `ro` alone", key, position)
            source = volume.merged
        # LinuxKit appends rbind even where the options name it already.
        options = [*rest[1].split(","), "rbind"] if len(rest) == 2 else ["rw", "rbind", "rshared"]
        mounts[rest[0]] = mount(rest[0], "bind", source, options)


def _volume(
    side: Side, name: str, volumes: Mapping[str, Volume], path: tuple[str | int, ...]
) -> Volume | None:
    volume = volumes.get(name)
    if volume is None:
        hint = one_of(name, volumes) if volumes else "start the source with `/`, or add it to `volumes`"
        side.wrong(f"expected a path from `/` or the name of a volume, got {shown(name)}", hint, *path)
    return volume


def add_mounts(
    side: Side,
    mounts: dict[str, Json],
    volumes: Mapping[str, Volume] | None = None,
    *,
    linuxkit_compatible: bool = False,
) -> None:
    """Adds `mounts`, filling in what kernel file systems leave out.

    A bind mount of a volume gets the volume's path as source. LinuxKit checks the name and then leaves it as it
    is, where runc takes it for a path inside the bundle; `linuxkit_compatible` does so too.
    """
    for position, entry in enumerate(side.options.get("mounts", ())):
        kind, source = entry.get("type", ""), entry.get("source", "")
        destination, options = entry.get("destination", ""), entry.get("options", ())
        if not kind:
            kind = source if source in _OWN_PLACES else "tmpfs" if destination == "/dev" else ""
        if not kind:
            message = f"expected the type of the mount at `{destination}`"
            side.wrong(message, "add `type:`, for example bind or tmpfs", "mounts", position)
            continue
        destination = destination or _OWN_PLACES.get(kind, "")
        if not destination:
            message = f"expected the destination of this {kind} mount"
            side.wrong(message, "add `destination:`", "mounts", position)
            continue
        if kind == "bind" and volumes is not None and not source.startswith("/"):
            volume = _volume(side, source, volumes, ("mounts", position, "source"))
            if volume is None:
                continue
            access = next((option for option in options if option in ("ro", "rw")), "")
            if volume.readonly and access != "ro":
                got = f"`{access}`" if access else "none"
                message = f"volume `{source}` is read-only: expected the option `ro`, got {got}"
                side.wrong(message, "add `ro` to the options", "mounts", position, "options")
            source = source if linuxkit_compatible else volume.merged
        mounts[destination] = mount(destination, kind, source or kind, options)


def capability_list(parts: Sequence[tuple[Side, str]]) -> list[str]:
    """The capabilities of some options one after another; `all` or `none` counts if it is the only entry."""
    names = [name for side, key in parts for name in side.options.get(key, ())]
    if len(names) == 1 and names[0].lower() in ("all", "none"):
        return list(CAPABILITIES) if names[0].lower() == "all" else []
    if not KNOWN.issuperset(names):
        for side, key in parts:
            for position, name in enumerate(side.options.get(key, ())):
                if name not in KNOWN:
                    side.wrong(f"expected a capability, got {shown(name)}", meant(name), key, position)
    return names


def rlimits(side: Side) -> list[Json]:
    """`rlimits`: "name,soft,hard"."""
    return [
        limit
        for position, text in enumerate(side.options.get("rlimits", ()))
        if (limit := _rlimit(side, position, text)) is not None
    ]


def _rlimit(side: Side, position: int, text: str) -> Json | None:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3:
        message = f"expected name,soft,hard, got {shown(text)}"
        side.wrong(message, "write a limit such as nofile,1024,unlimited", "rlimits", position)
        return None
    name = parts[0].upper().removeprefix("RLIMIT_")
    if name not in _LIMITS:
        hint = one_of(name.lower(), [limit.lower() for limit in _LIMITS])
        side.wrong(f"expected the name of a limit, got {shown(parts[0])}", hint, "rlimits", position)
        return None
    numbers = []
    for part in parts[1:]:
        number = _UNLIMITED if part.lower() == "unlimited" else _unsigned(part)
        if number is None:
            message = f"expected a number or `unlimited`, got {shown(part)}"
            side.wrong(message, "write a limit such as nofile,1024,unlimited", "rlimits", position)
            return None
        numbers.append(number)
    return {"type": f"RLIMIT_{name}", "hard": numbers[1], "soft": numbers[0]}


def _unsigned(text: str) -> int | None:
    number = int(text) if len(text) <= 20 and text.isascii() and text.isdigit() else -1
    return number if 0 <= number <= _UNLIMITED else None


def devices(side: Side) -> tuple[list[Json], list[Json]]:
    """The device nodes of `devices` and the cgroup rules that allow them; the path `all` is a rule alone."""
    nodes: list[Json] = []
    rules: list[Json] = []
    for position, entry in enumerate(side.options.get("devices", ())):
        path, kind, mode = entry.get("path", ""), entry.get("type", ""), entry.get("mode", "")
        rule: Json = {"allow": True}
        if kind:
            rule["type"] = kind
        if path != "all":
            if not _OCTAL.match(mode):
                got = shown(mode) if mode else "none"
                message = f'expected the mode of device `{path}` in octal such as "0660", got {got}'
                hint = "correct `mode:`" if mode else 'add `mode: "0660"`'
                side.wrong(message, hint, "devices", position, "mode")
                continue
            numbers = {"major": int(entry.get("major", 0)), "minor": int(entry.get("minor", 0))}
            nodes.append({"path": path, "type": kind, **numbers, "fileMode": int(mode, 8)})
            rule.update(numbers)
        rule["access"] = "rwm"
        rules.append(rule)
    return nodes, rules


def number(side: Side, key: str, ids: Ids) -> int:
    """`uid` or `gid` as a number; 0 if not given or unknown."""
    return _number(side, side.options.get(key), ids, (key,))


def numbers(side: Side, key: str, ids: Ids) -> list[int]:
    """A list of ids as numbers."""
    values = side.options.get(key, ())
    return [_number(side, value, ids, (key, position)) for position, value in enumerate(values)]


def _number(side: Side, value: str | int | None, ids: Ids, path: tuple[str | int, ...]) -> int:
    try:
        return number_of(value, ids)
    except UnknownIdError as error:
        side.wrong(str(error), error.hint, *path)
        return 0
