"""A config written back as text: for `files[].metadata`, and for `kitbuild build --dry-run`.

The keys, their order and what stands where nothing was written are those of LinuxKit, so a container's objects of the
OCI runtime specification (mounts, resources, id mappings) appear with all their fields, in YAML under lower-case
names. kitbuild reads that text back as the config it came from, except for:

- `resources`, and id mappings that are not empty: their lower-case names and nulls are not what a config may hold;
- in JSON, sections without entries: they are null;
- which keys inside a mount, a device or a network interface were written and which were filled in;
- places, and `trust`, which has no meaning.

Source: LinuxKit's types and their tags; OCI runtime-spec 1.2.1, specs-go/config.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from kitbuild.config import emit
from kitbuild.config.json_text import json_text
from kitbuild.config.model import TEMPLATE, Config, Container, File, Volume
from kitbuild.config.resources import id_mappings, resources
from kitbuild.reference import Reference

Json = dict[str, Any]

# LinuxKit's order.
_OPTIONS = (
    *("capabilities", "capabilities.add", "ambient", "mounts", "binds", "binds.add", "devices", "tmpfs"),
    *("command", "env", "cwd", "net", "pid", "ipc", "uts", "userns", "hostname", "readonly", "maskedPaths"),
    *("readonlyPaths", "uid", "gid", "additionalGids", "noNewPrivileges", "oomScoreAdj"),
    *("rootfsPropagation", "cgroupsPath", "resources", "sysctl", "rlimits", "uidMappings", "gidMappings"),
    *("annotations", "runtime"),
)
# Text options whose absence and emptiness are one; all others are printed if they were written.
_TEXTS = frozenset(("cwd", "net", "pid", "ipc", "uts", "userns", "hostname"))
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_MEMORY = ("limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness", "disableOOMKiller")
_RATES = (
    "throttleReadBpsDevice",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
)


class _Form(NamedTuple):
    """How a kind of text writes what the kinds write differently."""

    mount: Callable[[Mapping[str, Any]], Json]
    id_mappings: Callable[[Sequence[Mapping[str, Any]]], list[Json]]
    resources: Callable[[Mapping[str, Any]], Json]
    texts: Callable[[Mapping[str, str]], Json]
    empty_namespaces: bool


def metadata(config: Config, kind: Literal["yaml", "json"]) -> str:
    """The text of a file with `metadata`, its image names in full (but not those of volumes)."""
    if kind == "json":
        return _json(_document(config, _JSON, image=_full_name))
    return emit.yaml_text(_document(config, _METADATA, image=_full_name), emit.METADATA)


def dry_run(config: Config) -> str:
    """The merged config as YAML, its image names as written."""
    return emit.yaml_text(_document(config, _DRY_RUN, image=lambda reference, text: text), emit.DRY_RUN)


def _full_name(reference: Reference, text: str) -> str:
    return text if reference.host == TEMPLATE else str(reference)


def _json(document: Json) -> str:
    """The document as JSON; json_text knows no null, which stands for a section without entries only."""
    members = (
        f'    "{section}": {json_text(value) if value else "null"}'.replace("\n", "\n    ")
        for section, value in document.items()
    )
    return "{\n" + ",\n".join(members) + "\n}"


def _document(config: Config, form: _Form, *, image: Callable[[Reference, str], str]) -> Json:
    kernel = {"image": "", **config.kernel_settings}
    if config.kernel:
        kernel["image"] = image(config.kernel.reference, config.kernel.image_text)

    def containers(section: Sequence[Container]) -> list[Json]:
        return [
            {"name": entry.name, "image": image(entry.reference, entry.image_text), **_options(entry, form)}
            for entry in section
        ]

    return {
        "kernel": _in_order(kernel, ("image", "cmdline", "binary", "tar", "ucode")),
        "init": [image(entry.reference, entry.image_text) for entry in config.init],
        "onboot": containers(config.onboot),
        "onshutdown": containers(config.onshutdown),
        "services": containers(config.services),
        "files": [_file(file) for file in config.files],
        "volumes": [_volume(volume) for volume in config.volumes],
    }


def _file(file: File) -> Json:
    entry = {
        "path": file.path,
        "directory": file.directory,
        "symlink": file.symlink or None,
        "contents": file.contents,
        "source": file.source or None,
        "metadata": file.metadata or None,
        "optional": file.optional,
        "mode": file.mode or None,
        "uid": file.uid,
        "gid": file.gid,
    }
    return {key: value for key, value in entry.items() if value is not None}


def _volume(volume: Volume) -> Json:
    entry = {
        "image": volume.image_text,
        "readonly": volume.readonly,
        "format": volume.format,
        "platforms": list(volume.platforms),
    }
    return {"name": volume.name, **{key: value for key, value in entry.items() if value}}


def _options(container: Container, form: _Form) -> Json:
    options: Mapping[str, Any] = container.options
    written: dict[str, Callable[[Any], Any]] = {
        "mounts": lambda mounts: [form.mount(mount) for mount in mounts],
        "devices": lambda devices: [_device(device) for device in devices],
        "oomScoreAdj": int,
        "resources": form.resources,
        "sysctl": form.texts,
        "uidMappings": form.id_mappings,
        "gidMappings": form.id_mappings,
        "annotations": form.texts,
        "runtime": lambda runtime: _runtime(runtime, form),
    }
    return {
        key: written[key](options[key]) if key in written else options[key]
        for key in _OPTIONS
        if key in options and not (key in _TEXTS and not options[key])
    }


def _device(device: Mapping[str, Any]) -> Json:
    entry = {"path": device.get("path", ""), "type": device.get("type", "")}
    mode = {"mode": device["mode"]} if device.get("mode") else {}
    return {**entry, **{key: int(device.get(key, 0)) for key in ("major", "minor")}, **mode}


def _runtime(runtime: Mapping[str, Any], form: _Form) -> Json:
    entry: Json = _in_order(runtime, ("cgroups", "mounts", "mkdir", "interfaces"))
    if "mounts" in entry:
        entry["mounts"] = [form.mount(mount) for mount in entry["mounts"]]
    if "interfaces" in entry:
        entry["interfaces"] = [_interface(interface) for interface in entry["interfaces"]]
    namespaces = _in_order(runtime.get("bindNS", {}), _NAMESPACES)
    if namespaces or form.empty_namespaces:
        entry["bindNS"] = namespaces
    return {**entry, **_in_order(runtime, ("namespace",))}


def _interface(interface: Mapping[str, Any]) -> Json:
    entry = {key: interface[key] for key in ("name", "add", "peer") if interface.get(key)}
    return {**entry, "createInRoot": interface.get("createInRoot", False)}


def _in_order(written: Mapping[str, Any], keys: Sequence[str]) -> Json:
    return {key: written[key] for key in keys if key in written}


# --- YAML: Go's types as they are, every field under its name in lower case ---


def _yaml_mount(mount: Mapping[str, Any]) -> Json:
    entry: Json = {key: mount.get(key, "") for key in ("destination", "type", "source")}
    entry["options"] = mount.get("options", [])
    return {
        **entry,
        **{key: _yaml_id_mappings(mount.get(key, ())) for key in ("uidmappings", "gidmappings")},
    }


def _yaml_id_mappings(mappings: Sequence[Mapping[str, Any]]) -> list[Json]:
    return [_numbers(mapping, "containerID", "hostID", "size") for mapping in mappings]


def _yaml_resources(written: Mapping[str, Any]) -> Json:
    """All that Go's type holds, also what a config cannot say (null); text is empty rather than null."""
    network: Mapping[str, Any] | None = written.get("network")
    return {
        "devices": [_rule(rule) for rule in written.get("devices", ())],
        "memory": _nulls(written.get("memory"), *_MEMORY, "useHierarchy", "checkBeforeUpdate"),
        "cpu": _cpu(written.get("cpu")),
        "pids": _numbers(written["pids"], "limit") if "pids" in written else None,
        "blockio": _block_io(written.get("blockio")),
        "hugepagelimits": [
            {"pagesize": str(limit.get("pageSize", "")), **_numbers(limit, "limit")}
            for limit in written.get("hugepageLimits", ())
        ],
        "network": None
        if network is None
        else {
            **(_nulls(network, "classID") or {}),
            "priorities": [
                {"name": entry.get("name", ""), **_numbers(entry, "priority")}
                for entry in network.get("priorities", ())
            ],
        },
        "rdma": {},
        "unified": {},
    }


def _rule(rule: Mapping[str, Any]) -> Json:
    numbers = _nulls(rule, "major", "minor") or {}
    start = {"allow": rule.get("allow", False), "type": rule.get("type", "")}
    return {**start, **numbers, "access": rule.get("access", "")}


def _cpu(written: Mapping[str, Any] | None) -> Json | None:
    if written is None:
        return None
    keys = ("shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod")
    texts = {key: written.get(key, "") for key in ("cpus", "mems")}
    return {**(_nulls(written, *keys) or {}), **texts, "idle": None}


def _block_io(written: Mapping[str, Any] | None) -> Json | None:
    if written is None:
        return None
    weights = [
        {**_numbers(device, "major", "minor"), **(_nulls(device, "weight", "leafWeight") or {})}
        for device in written.get("weightDevice", ())
    ]
    rates = {
        key.lower(): [_numbers(device, "major", "minor", "rate") for device in written.get(key, ())]
        for key in _RATES
    }
    return {**(_nulls(written, "weight", "leafWeight") or {}), "weightdevice": weights, **rates}


def _nulls(written: Mapping[str, Any] | None, *keys: str) -> Json | None:
    """The fields that are pointers in Go: null where nothing was written."""
    if written is None:
        return None
    return {key.lower(): _whole(written[key]) if key in written else None for key in keys}


def _numbers(written: Mapping[str, Any], *keys: str) -> Json:
    return {key.lower(): _whole(written.get(key, 0)) for key in keys}


def _whole(value: float | bool) -> int | bool:
    """Numbers such as 1e6, which the schema takes for integers, as such."""
    return int(value) if isinstance(value, float) else value


# --- JSON: the names of the OCI runtime specification, and nothing that is empty ---


def _json_mount(mount: Mapping[str, Any]) -> Json:
    entry: Json = {key: mount[key] for key in ("type", "source", "options") if mount.get(key)}
    mappings = {"uidMappings": mount.get("uidmappings"), "gidMappings": mount.get("gidmappings")}
    return {
        "destination": mount.get("destination", ""),
        **entry,
        **{key: id_mappings(value) for key, value in mappings.items() if value},
    }


_JSON = _Form(
    mount=_json_mount,
    id_mappings=id_mappings,
    resources=lambda written: resources(written, ()),
    texts=lambda texts: dict(sorted(texts.items())),
    empty_namespaces=True,
)
_METADATA = _Form(
    mount=_yaml_mount,
    id_mappings=_yaml_id_mappings,
    resources=_yaml_resources,
    texts=lambda texts: emit.sorted_keys(texts, emit.METADATA),
    empty_namespaces=False,
)
_DRY_RUN = _METADATA._replace(texts=lambda texts: emit.sorted_keys(texts, emit.DRY_RUN))
