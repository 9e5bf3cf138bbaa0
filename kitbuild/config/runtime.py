"""config.json and runtime.json of a container, from its image's config, the image's label and the YAML.

The YAML's options win over those of the label `org.mobyproject.config`, which win over the image config. Lists
and maps are replaced, never merged, except by `binds.add` and `capabilities.add`, which follow the label's list.

Source: OCI runtime-spec 1.2.1, config.md; LinuxKit's label and its runtime.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kitbuild.config import options
from kitbuild.config.ids import Ids
from kitbuild.config.json_text import json_text
from kitbuild.config.label import NAME as LABEL_NAME
from kitbuild.config.label import label_options
from kitbuild.config.model import Container, Volume
from kitbuild.config.options import Json, Side, mount
from kitbuild.config.resources import as_linuxkit_reads, id_mappings, resources
from kitbuild.config.schema import Problem
from kitbuild.errors import ConfigError, ConfigErrors, Where
from kitbuild.image import ImageConfig

_OCI_VERSION = "1.2.1"


class ContainerSpec(NamedTuple):
    """What a container's bundle says about running it.

    `config_json` is the text of config.json. `readonly` decides how the bundle is laid out. `runtime` holds what
    runtime.json says besides the mounts of the root file system, which `runtime_json` adds.
    """

    config_json: str
    readonly: bool
    runtime: Mapping[str, Any]

    def runtime_json(self, bundle: str, root: str) -> str:
        """The text of runtime.json.

        `bundle` is the container's folder (`containers/services/web`), `root` the folder where its image was first
        unpacked (`containers/onboot/000-prep/lower`); both relative to the root of the system.
        """
        mounts = root_mounts(f"/{bundle}", f"/{root}", readonly=self.readonly)
        return json_text({**self.runtime, "mounts": mounts + self.runtime["mounts"]})


def root_mounts(bundle: str, root: str, *, readonly: bool) -> list[Json]:
    """What makes `<bundle>/rootfs` out of the unpacked image: a bind mount, or an overlay over it in memory."""
    rootfs, tmp = f"{bundle}/rootfs", f"{bundle}/tmp"
    if readonly:
        return [mount(rootfs, "", root, ["bind"])]
    layers = [f"lowerdir={root}", f"upperdir={tmp}/upper", f"workdir={tmp}/work"]
    return [
        mount(tmp, "tmpfs", "tmpfs", ()),
        # Its own propagation, so that the overlay does not show up in other mount namespaces.
        mount(tmp, "", "", ["remount", "private"]),
        mount(rootfs, "overlay", "overlay", layers),
    ]


def container_spec(
    container: Container,
    image: ImageConfig,
    *,
    ids: Ids,
    volumes: Mapping[str, Volume],
    linuxkit_compatible: bool = False,
) -> ContainerSpec:
    """The spec of one container; `linuxkit_compatible` loses what LinuxKit loses of its options.

    Raises ConfigErrors: mistakes in the options at their own places, mistakes in the label at `image:`.
    """
    given, wrong_in_label = label_options(image.labels.get(LABEL_NAME, ""))
    options: Mapping[str, Any] = container.options
    if linuxkit_compatible:
        options, given = as_linuxkit_reads(options), as_linuxkit_reads(given)
    written, label = Side(options, []), Side(given, list(wrong_in_label))
    merge = _Merge(written, label, image, ids, volumes, linuxkit_compatible=linuxkit_compatible)
    config = merge.config()
    if written.problems or label.problems:
        raise ConfigErrors(_located(container, written.problems, label.problems))
    return ContainerSpec(json_text(config), merge.readonly, merge.runtime())


def option_problems(options: Mapping[str, Any], *, ids: Ids, volumes: Mapping[str, Volume]) -> list[Problem]:
    """The mistakes in a container's options that can be known without its image, found by the code above."""
    written = Side(options, [])
    _Merge(written, Side({}, []), ImageConfig(), ids, volumes).config()
    return written.problems


def _located(container: Container, written: list[Problem], label: list[Problem]) -> list[ConfigError]:
    """Problems with their places in the config; a label has none, so its image's name stands for it."""
    place = container.place
    errors = [ConfigError(text, where=place.where(*path), hint=hint) for path, text, hint, _ in written]
    for problem in label:
        message = f"label {LABEL_NAME} of image `{container.image_text}`: {_in(problem)}{problem.message}"
        hint = f"correct the label in the image: {problem.hint}"
        errors.append(ConfigError(message, where=place.where("image"), hint=hint))
    return sorted(errors, key=lambda error: (error.where or Where("", 0, 0))[1:3])


def _in(problem: Problem) -> str:
    # A message that starts with the name of the key says it once.
    path = problem.path
    if path and (problem.at_key or problem.message.startswith(f"`{path[-1]}` ")):
        path = path[:-1]
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    return f"in {text}, " if text else ""


class _Merge:
    """The options of one container from both sides, as JSON values in the order of the OCI runtime-spec."""

    def __init__(
        self,
        written: Side,
        label: Side,
        image: ImageConfig,
        ids: Ids,
        volumes: Mapping[str, Volume],
        *,
        linuxkit_compatible: bool = False,
    ) -> None:
        self._written = written
        self._label = label
        self._image = image
        self._ids = ids
        self._volumes = volumes
        self._linuxkit_compatible = linuxkit_compatible
        self.readonly: bool = self._value("readonly", False)

    def _side(self, key: str) -> Side:
        return self._written if key in self._written.options else self._label

    def _value(self, key: str, absent: Any) -> Any:
        written = self._written.options
        return written[key] if key in written else self._label.options.get(key, absent)

    def _text(self, key: str, absent: str = "") -> str:
        """Text: the first side that is not empty counts."""
        return self._written.options.get(key) or self._label.options.get(key) or absent

    def config(self) -> Json:
        root: Json = {"path": "rootfs"}
        if self.readonly:
            root["readonly"] = True
        config: Json = {"ociVersion": _OCI_VERSION, "process": self._process(), "root": root}
        if hostname := self._text("hostname"):
            config["hostname"] = hostname
        config["mounts"] = self._mounts()
        if annotations := self._value("annotations", None):
            config["annotations"] = dict(sorted(annotations.items()))
        config["linux"] = self._linux()
        return config

    def _process(self) -> Json:
        image = self._image
        user: Json = {key: options.number(self._side(key), key, self._ids) for key in ("uid", "gid")}
        if more := options.numbers(self._side("additionalGids"), "additionalGids", self._ids):
            user["additionalGids"] = more
        process: Json = {"user": user}
        if command := self._value("command", None) or self._default_command():
            process["args"] = command
        if environment := self._value("env", image.environment):
            process["env"] = environment
        process["cwd"] = self._text("cwd", image.working_directory or "/")
        process["capabilities"] = self._capabilities()
        if limits := options.rlimits(self._side("rlimits")):
            process["rlimits"] = limits
        if self._value("noNewPrivileges", False):
            process["noNewPrivileges"] = True
        score = self._value("oomScoreAdj", None)
        if score is not None:
            process["oomScoreAdj"] = int(score)
        return process

    def _default_command(self) -> tuple[str, ...]:
        """What the image runs; a command that is set but empty means none at all."""
        if "command" in self._side("command").options:
            return ()
        return self._image.entrypoint + self._image.command

    def _capabilities(self) -> Json:
        written = self._written
        if "capabilities" in written.options:
            parts = [(written, "capabilities")]
        else:
            parts = [(self._label, "capabilities"), (written, "capabilities.add")]
        effective = options.capability_list(parts)
        ambient = options.capability_list([(self._side("ambient"), "ambient")])
        union = sorted({*effective, *ambient})
        sets = {
            "bounding": union,
            "effective": effective,
            "inheritable": union,
            "permitted": union,
            "ambient": ambient,
        }
        return {name: names for name, names in sets.items() if names}

    def _mounts(self) -> list[Json]:
        written = self._written
        mounts = options.default_mounts(self.readonly)
        options.add_tmpfs(self._side("tmpfs"), mounts)
        if "binds" in written.options:
            options.add_binds(written, "binds", mounts, self._volumes)
        else:
            options.add_binds(self._label, "binds", mounts)
            options.add_binds(written, "binds.add", mounts, self._volumes)
        side = self._side("mounts")
        volumes = self._volumes if side is written else None
        options.add_mounts(side, mounts, volumes, linuxkit_compatible=self._linuxkit_compatible)
        return [mounts[destination] for destination in sorted(mounts)]

    def _linux(self) -> Json:
        linux: Json = {}
        for key in ("uidMappings", "gidMappings"):
            if mappings := self._value(key, None):
                linux[key] = id_mappings(mappings)
        if sysctl := self._value("sysctl", None):
            linux["sysctl"] = dict(sorted(sysctl.items()))
        nodes, rules = options.devices(self._side("devices"))
        linux["resources"] = resources(self._value("resources", {}), rules)
        if path := self._value("cgroupsPath", ""):
            linux["cgroupsPath"] = path
        linux["namespaces"] = self._namespaces()
        if nodes:
            linux["devices"] = nodes
        if propagation := self._value("rootfsPropagation", ""):
            linux["rootfsPropagation"] = propagation
        for key in ("maskedPaths", "readonlyPaths"):
            if paths := self._value(key, None):
                linux[key] = paths
        return linux

    def _namespaces(self) -> list[Json]:
        entries = []
        for key, kind, absent, fresh in _NAMESPACES:
            text = self._text(key, absent)
            if text in fresh:
                entries.append({"type": kind})
            elif text not in ("root", "host"):
                entries.append({"type": kind, "path": text})
        return [*entries, {"type": "mount"}]

    def runtime(self) -> Json:
        """What runtime.json holds, with the mounts of the two sides alone."""
        written, label = (side.options.get("runtime", {}) for side in (self._written, self._label))

        def value(key: str, absent: Any) -> Any:
            return written[key] if key in written else label.get(key, absent)

        names = (written.get("bindNS", {}), label.get("bindNS", {}))
        return {
            "cgroups": value("cgroups", []),
            "mounts": [_runtime_mount(entry) for entry in value("mounts", [])],
            "mkdir": value("mkdir", []),
            "interfaces": [_interface(entry) for entry in value("interfaces", [])],
            "bindNS": {kind: names[0].get(kind, names[1].get(kind, "")) for kind in _BIND_NAMESPACES},
            "namespace": value("namespace", ""),
        }


# Key, type in config.json, what holds if nothing is said, and what asks for a new namespace. A pid namespace is
# new unless `root` or `host` is said; `none` means a new one for the network alone.
_NAMESPACES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("net", "network", "root", ("none", "new")),
    ("ipc", "ipc", "root", ("new",)),
    ("uts", "uts", "root", ("new",)),
    ("pid", "pid", "new", ("new",)),
    ("userns", "user", "root", ("new",)),
)
_BIND_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def _runtime_mount(entry: Mapping[str, Any]) -> Json:
    result = mount(
        entry.get("destination", ""), entry.get("type", ""), entry.get("source", ""), entry.get("options", ())
    )
    for key, name in (("uidmappings", "uidMappings"), ("gidmappings", "gidMappings")):
        if entry.get(key):
            result[name] = id_mappings(entry[key])
    return result


def _interface(entry: Mapping[str, Any]) -> Json:
    names = {key: entry[key] for key in ("name", "add", "peer") if entry.get(key)}
    return {**names, "createInRoot": entry.get("createInRoot", False)}
