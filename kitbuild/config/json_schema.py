"""The shape of a config as a JSON Schema, which editors complete and explain keys by.

Made from the declarations in kitbuild.config.schema; draft 7, the newest that all YAML plug-ins of editors take.
"""

from __future__ import annotations

import json
from typing import Any

from kitbuild.config.schema import CONFIG, CONTAINER, Schema

Json = dict[str, Any]

# What the largest number of a JSON parser without integers can hold; wider bounds would be rounded.
_EXACT = 1 << 53

_MOUNT = CONTAINER.fields["mounts"].items
_ID_MAPPING = CONTAINER.fields["uidMappings"].items
# What occurs more than once, or would nest deeply, by the name it has in the schema.
_DEFINITIONS: dict[str, Schema | None] = {
    "container": CONTAINER,
    "mount": _MOUNT,
    "idMapping": _ID_MAPPING,
    "resources": CONTAINER.fields["resources"],
    "runtime": CONTAINER.fields["runtime"],
    "rate": CONTAINER.fields["resources"].fields["blockio"].fields["throttleReadBpsDevice"].items,
}

# By the path from the definition a key is in (or from the top): what the key is for.
DESCRIPTIONS = {
    "kernel": "The kernel image and how it boots.",
    "kernel.image": "Image with the kernel, its modules and perhaps microcode.",
    "kernel.cmdline": "Kernel command line, for example console=ttyS0.",
    "kernel.binary": "The kernel's file in the image (default: kernel).",
    "kernel.tar": "The modules' archive in the image (default: kernel.tar); none or empty for no modules.",
    "kernel.ucode": "The CPU microcode's file in the image; without it no microcode is loaded.",
    "init": "Images unpacked over each other into the root file system, in this order.",
    "onboot": "Containers run one after another while the system boots, each to its end.",
    "onshutdown": "Containers run one after another when the system shuts down.",
    "services": "Containers started together after onboot, which stay. Their names are unique.",
    "volumes": "Named folders that containers share, empty or filled from an image.",
    "volumes.name": "Name for binds and mounts: a-z, 0-9, _ and -.",
    "volumes.image": "Image whose files the volume starts with; without one it starts empty.",
    "volumes.readonly": "Whether containers may only read it; each bind of it then says ro.",
    "volumes.format": "filesystem (default): the unpacked files. oci: the image itself as an OCI layout.",
    "volumes.platforms": "For the format oci: the platforms to keep, for example linux/amd64.",
    "files": "Files, folders and links in the root file system, written over all that images bring.",
    "files.path": "Where it goes, for example etc/motd. Missing folders are made.",
    "files.directory": "Whether it is a folder.",
    "files.symlink": "What it points to, if it is a symbolic link.",
    "files.contents": "Its text.",
    "files.source": "A file of this machine whose content it gets; ~/ is the home folder.",
    "files.metadata": "Makes it this config, merged from all files, as yaml or json.",
    "files.optional": "Whether it is left out if source does not exist; otherwise that is a mistake.",
    "files.mode": 'Permissions in octal, in quotes (default: "0600", folders "0700").',
    "files.uid": "Owner: a number, root, or the name of a container (default: 0).",
    "files.gid": "Group: a number, root, or the name of a container (default: 0).",
    "trust": "Without effect; accepted because old configs have it.",
    "trust.image": "Without effect.",
    "trust.org": "Without effect.",
    "container.name": "Name of the container; unique among the services.",
    "container.image": "Image of the container, for example docker.io/library/redis:7.",
    "container.capabilities": "Rights of its processes, such as CAP_NET_ADMIN, or all; default: the label's.",
    "container.capabilities.add": "Rights added to those the image's label asks for.",
    "container.ambient": "Capabilities that programs without privileges inherit too.",
    "container.mounts": "File systems to mount; binds and tmpfs are shorter for the usual ones.",
    "container.binds": "source:destination[:options]; a source is a path of the root file system or a volume.",
    "container.binds.add": "Binds added to those of the image's label.",
    "container.tmpfs": "destination[:options]: file systems in memory.",
    "container.command": "The program and its arguments, in place of those of the image.",
    "container.env": "Environment variables as NAME=value, in place of those of the image.",
    "container.devices": "Device nodes in the container.",
    "container.devices.path": "Path of the node; all makes none and allows every device of the type.",
    "container.devices.type": "b (block), c or u (character), p (pipe); a for all.",
    "container.devices.major": "Major number.",
    "container.devices.minor": "Minor number.",
    "container.devices.mode": 'Permissions in octal, in quotes, for example "0660".',
    "container.cwd": "Working directory of the command.",
    "container.net": "Network: host (default), none or new, or the path of a namespace to join.",
    "container.pid": "Process ids: host, new (default), or the path of a namespace to join.",
    "container.ipc": "Interprocess communication: host (default), new, or the path of a namespace to join.",
    "container.uts": "Host name: the system's (host, the default), new, or the path of a namespace to join.",
    "container.userns": "User ids: host (default), new, or the path of a namespace to join.",
    "container.hostname": "Host name inside the container.",
    "container.readonly": "Whether its root file system is read-only.",
    "container.noNewPrivileges": "Whether its processes can never gain rights, as by set-uid programs.",
    "container.maskedPaths": "Paths hidden from it.",
    "container.readonlyPaths": "Paths it can only read.",
    "container.rlimits": "name,soft,hard; numbers or unlimited, for example nofile,1024,4096.",
    "container.uid": "User it runs as: a number, root, or the name of a container.",
    "container.gid": "Group it runs as: a number, root, or the name of a container.",
    "container.additionalGids": "More groups: numbers, or names of containers.",
    "container.oomScoreAdj": "When memory runs out: -1000 (end it never) to 1000 (first).",
    "container.rootfsPropagation": "Propagation of mounts in its root: private, slave, shared or unbindable.",
    "container.cgroupsPath": "Path of its control group.",
    "container.resources": "Limits, as in the OCI runtime specification.",
    "container.sysctl": "Kernel settings of its own namespaces, values in quotes.",
    "container.annotations": "Texts for whoever reads config.json.",
    "container.uidMappings": "User ids outside that stand for ids inside, with a new userns.",
    "container.gidMappings": "Group ids outside that stand for ids inside, with a new userns.",
    "container.runtime": "What is prepared in the running system before the container starts.",
    "mount.destination": "Where, inside the container.",
    "mount.type": "File system type; bind for a folder that exists.",
    "mount.source": "What is mounted: a device, a path, or the name of a volume.",
    "mount.options": "Mount options, for example ro.",
    "mount.uidmappings": "User id mappings; passed on for the mounts of runtime only.",
    "mount.gidmappings": "Group id mappings; passed on for the mounts of runtime only.",
    "idMapping.hostID": "First id outside.",
    "idMapping.containerID": "First id inside.",
    "idMapping.size": "How many ids.",
    "resources.devices": "Device rules, before those made from devices of the container.",
    "resources.devices.allow": "Whether the rule allows or forbids.",
    "resources.devices.type": "a, b or c.",
    "resources.devices.major": "Major number; every one if left out.",
    "resources.devices.minor": "Minor number; every one if left out.",
    "resources.devices.access": "Of r, w and m (make nodes).",
    "resources.memory": "Memory, in bytes.",
    "resources.memory.limit": "Most memory; above it the container is ended.",
    "resources.memory.reservation": "Memory it is left with when memory is short.",
    "resources.memory.swap": "Most memory and swap together.",
    "resources.memory.kernel": "Most kernel memory (control groups v1).",
    "resources.memory.kernelTCP": "Most kernel memory for TCP buffers (control groups v1).",
    "resources.memory.swappiness": "0 to 100: how gladly memory is swapped out.",
    "resources.memory.disableOOMKiller": "Whether the container waits when memory runs out instead of being ended.",
    "resources.cpu": "Processor time.",
    "resources.cpu.shares": "Weight against other containers.",
    "resources.cpu.quota": "Microseconds it may run in each period.",
    "resources.cpu.period": "Length of a period in microseconds.",
    "resources.cpu.realtimeRuntime": "Microseconds it may run in real time in each period.",
    "resources.cpu.realtimePeriod": "Length of a real-time period in microseconds.",
    "resources.cpu.cpus": "Processors it may use, for example 0-2,7.",
    "resources.cpu.mems": "Memory nodes it may use, for example 0-1.",
    "resources.pids": "Processes.",
    "resources.pids.limit": "Most processes and threads.",
    "resources.blockio": "Disks.",
    "resources.blockio.weight": "Weight against other containers.",
    "resources.blockio.leafWeight": "Weight against its own child groups.",
    "resources.blockio.weightDevice": "Weights for single disks.",
    "resources.blockio.weightDevice.major": "Major number of the disk.",
    "resources.blockio.weightDevice.minor": "Minor number of the disk.",
    "resources.blockio.weightDevice.weight": "Weight against other containers.",
    "resources.blockio.weightDevice.leafWeight": "Weight against its own child groups.",
    "resources.blockio.throttleReadBpsDevice": "Most bytes read a second, by disk.",
    "resources.blockio.throttleWriteBpsDevice": "Most bytes written a second, by disk.",
    "resources.blockio.throttleReadIOPSDevice": "Most reads a second, by disk.",
    "resources.blockio.throttleWriteIOPSDevice": "Most writes a second, by disk.",
    "rate.major": "Major number of the disk.",
    "rate.minor": "Minor number of the disk.",
    "rate.rate": "How much a second.",
    "resources.hugepageLimits": "Huge pages.",
    "resources.hugepageLimits.pageSize": "Size of a page, for example 2MB.",
    "resources.hugepageLimits.limit": "Most bytes in such pages.",
    "resources.network": "Marks and priorities of its packets.",
    "resources.network.classID": "Class of its packets, for tc.",
    "resources.network.priorities": "Priorities by network interface.",
    "resources.network.priorities.name": "Name of the interface.",
    "resources.network.priorities.priority": "Priority of its packets there.",
    "runtime.cgroups": "Control groups to make.",
    "runtime.mounts": "Mounts to make in the root file system.",
    "runtime.mkdir": "Folders to make in the root file system.",
    "runtime.interfaces": "Network interfaces to make or move into the container.",
    "runtime.interfaces.name": "Name inside the container.",
    "runtime.interfaces.add": "Type of the interface to make, for example veth; without it one is moved.",
    "runtime.interfaces.peer": "For veth: the name of the other end.",
    "runtime.interfaces.createInRoot": "Whether it is made outside and then moved, as wireguard needs.",
    "runtime.bindNS": "Paths to bind its namespaces to, for other containers to join.",
    "runtime.bindNS.cgroup": "Path for its control group namespace.",
    "runtime.bindNS.ipc": "Path for its interprocess communication.",
    "runtime.bindNS.mnt": "Path for its mounts.",
    "runtime.bindNS.net": "Path for its network.",
    "runtime.bindNS.pid": "Path for its process ids.",
    "runtime.bindNS.user": "Path for its user ids.",
    "runtime.bindNS.uts": "Path for its host name.",
    "runtime.namespace": "containerd namespace it runs in.",
}

# What kitbuild.config checks with rules of its own and a schema can say as well.
_RULES: dict[str, Json] = {
    "files.metadata": {"enum": ["yaml", "json"]},
    "files.mode": {"pattern": "^[0-7]*$"},  # empty: the default
    "volumes.name": {"pattern": "^[a-z0-9_-]*$"},
}


def json_schema() -> Json:
    """The whole schema as JSON values."""
    definitions = {name: _shape(schema, name) for name, schema in _DEFINITIONS.items() if schema}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "LinuxKit config, as kitbuild reads it",
        **_shape(CONFIG, ""),
        "definitions": definitions,
    }


def json_schema_text() -> str:
    """The schema as a file."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _shape(schema: Schema, path: str) -> Json:
    """What may stand at `path`; its keys are described by longer paths."""
    kind = schema.kind
    if kind == "object":
        properties = {
            key: _described(field, f"{path}.{key}".lstrip(".")) for key, field in schema.fields.items()
        }
        required = {"required": list(schema.required)} if schema.required else {}
        return {"type": "object", "properties": properties, **required, "additionalProperties": False}
    if kind == "map" and schema.items:
        return {"type": "object", "additionalProperties": _shape(schema.items, path)}
    if kind == "array" and schema.items:
        return {"type": "array", "items": _named(schema.items) or _shape(schema.items, path)}
    if kind == "integer":
        bounds = {"minimum": schema.lowest, "maximum": schema.highest}
        return {"type": "integer", **{key: bound for key, bound in bounds.items() if abs(bound) < _EXACT}}
    if kind == "name or number":
        return {"type": ["string", "integer"]}
    return {"type": kind, **({"enum": list(schema.choices)} if schema.choices else {})}


def _described(schema: Schema, path: str) -> Json:
    description = {"description": DESCRIPTIONS[path]}
    # In draft 7 nothing may stand beside a reference.
    named = _named(schema)
    shape = {"allOf": [named]} if named else _shape(schema, path)
    return {**description, **shape, **_RULES.get(path, {})}


def _named(schema: Schema) -> Json | None:
    name = next((name for name, known in _DEFINITIONS.items() if known is schema), None)
    return {"$ref": f"#/definitions/{name}"} if name else None
