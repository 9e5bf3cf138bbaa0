"""`resources` in the order and spelling of config.json.

What is a pointer in the OCI runtime specification's Go types is printed if it was written, even as 0; the rest
is left out if empty.

Source: OCI runtime-spec 1.2.1, specs-go/config.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

# The options LinuxKit reads into Go types without names for YAML.
_UNNAMED = ("mounts", "resources", "uidMappings", "gidMappings")

_MEMORY = ("limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness", "disableOOMKiller")
_CPU = ("shares", "quota", "period", "realtimeRuntime", "realtimePeriod")
_RATES = (
    "throttleReadBpsDevice",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
)


def resources(written: Mapping[str, Any], rules: Sequence[Json]) -> Json:
    """The whole object; `rules` are the cgroup rules of `devices`, which follow those written here."""
    result: Json = {}
    devices = [_rule(rule) for rule in written.get("devices", ())] + list(rules)
    if devices:
        result["devices"] = devices
    if "memory" in written:
        result["memory"] = _given(written["memory"], _MEMORY)
    if "cpu" in written:
        cpu = written["cpu"]
        result["cpu"] = _given(cpu, _CPU) | {key: cpu[key] for key in ("cpus", "mems") if cpu.get(key)}
    if "pids" in written:
        result["pids"] = _always(written["pids"], ("limit",))
    if "blockio" in written:
        result["blockIO"] = _block_io(written["blockio"])
    if written.get("hugepageLimits"):
        result["hugepageLimits"] = [
            {"pageSize": str(limit.get("pageSize", "")), "limit": _whole(limit.get("limit", 0))}
            for limit in written["hugepageLimits"]
        ]
    if "network" in written:
        result["network"] = _network(written["network"])
    return result


def as_linuxkit_reads(options: Mapping[str, Any]) -> Json:
    """The options of a container without what LinuxKit accepts and then loses.

    Below `resources`, `mounts` and id mappings its decoder finds only keys without capitals, but its schema wants
    `hostID`, `kernelTCP`, `leafWeight` and more spelt so.
    """
    read = dict(options)
    for key in _UNNAMED:
        if key in read:
            read[key] = _found(read[key])
    runtime = read.get("runtime", {})
    if "mounts" in runtime:
        read["runtime"] = {**runtime, "mounts": _found(runtime["mounts"])}
    return read


def _found(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _found(item) for key, item in value.items() if key == key.lower()}
    return [_found(item) for item in value] if isinstance(value, list) else value


def id_mappings(written: Iterable[Mapping[str, Any]]) -> list[Json]:
    """`uidMappings` or `gidMappings`: every number printed, 0 if not given."""
    return [_always(mapping, ("containerID", "hostID", "size")) for mapping in written]


def _rule(rule: Mapping[str, Any]) -> Json:
    result: Json = {"allow": rule.get("allow", False)}
    if rule.get("type"):
        result["type"] = rule["type"]
    result |= _given(rule, ("major", "minor"))
    if rule.get("access"):
        result["access"] = rule["access"]
    return result


def _block_io(written: Mapping[str, Any]) -> Json:
    result = _given(written, ("weight", "leafWeight"))
    if written.get("weightDevice"):
        result["weightDevice"] = [
            _always(device, ("major", "minor")) | _given(device, ("weight", "leafWeight"))
            for device in written["weightDevice"]
        ]
    for key in _RATES:
        if written.get(key):
            result[key] = [_always(device, ("major", "minor", "rate")) for device in written[key]]
    return result


def _network(written: Mapping[str, Any]) -> Json:
    result = _given(written, ("classID",))
    if written.get("priorities"):
        result["priorities"] = [
            {"name": entry.get("name", ""), "priority": _whole(entry.get("priority", 0))}
            for entry in written["priorities"]
        ]
    return result


def _given(written: Mapping[str, Any], keys: Iterable[str]) -> Json:
    return {key: _whole(written[key]) for key in keys if key in written}


def _always(written: Mapping[str, Any], keys: Iterable[str]) -> Json:
    return {key: _whole(written.get(key, 0)) for key in keys}


def _whole(value: float | bool) -> int | bool:
    """Numbers such as 1e6, which the schema takes for integers, as such."""
    return int(value) if isinstance(value, float) else value
