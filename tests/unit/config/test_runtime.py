from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.config.capabilities import CAPABILITIES
from kitbuild.config.ids import ids_of
from kitbuild.config.load import load
from kitbuild.config.model import Container
from kitbuild.config.runtime import ContainerSpec, container_spec, root_mounts
from kitbuild.errors import ConfigErrors
from kitbuild.image import ImageConfig
from tests.unit.config.configs import config, container, shown

_WORKED = Path(__file__).parent / "worked"
_LABEL = "org.mobyproject.config"


def _image(label: dict[str, Any] | str | None = None, **image: Any) -> ImageConfig:
    text = label if isinstance(label, str) else json.dumps(label)
    return ImageConfig(labels={} if label is None else {_LABEL: text}, **image)


def _spec(written: Container, image: ImageConfig) -> ContainerSpec:
    return container_spec(written, image, ids={"web": 100}, volumes={})


def _json(options: dict[str, Any], label: dict[str, Any], **image: Any) -> Any:
    """config.json with these options in the config and in the label."""
    written = container()._replace(options=options)  # type: ignore[arg-type]
    return json.loads(_spec(written, _image(label, **image)).config_json)


def _at(value: Any, path: str) -> Any:
    """What stands at `process.args`; None if a key on the way is missing."""
    for key in path.split("."):
        value = value.get(key) if value is not None else None
    return value


# --- whole files ----------------------------------------------------------------------------------------------


def test_both_files_of_a_service_are_as_linuxkit_writes_them() -> None:
    system = load([str(_WORKED / "linuxkit.yml")])
    image = _image(
        (_WORKED / "label.json").read_text(encoding="utf-8"),
        entrypoint=("/usr/bin/app", "--serve"),
        command=("-c", "/etc/app.conf"),
        environment=("PATH=/usr/sbin:/usr/bin", "MODE=<prod>"),
        working_directory="/srv",
    )
    [web] = system.services

    spec = container_spec(web, image, ids=ids_of(system.containers), volumes=system.volumes_by_name())
    runtime = spec.runtime_json(web.bundle, f"{web.bundle}/lower")

    assert (_WORKED / "config.json").read_text(encoding="utf-8") == spec.config_json
    assert (_WORKED / "runtime.json").read_text(encoding="utf-8") == runtime
    # What LinuxKit itself wrote, so that the two files beside this test cannot drift with the code.
    assert hashlib.sha256(spec.config_json.encode()).hexdigest() == (
        "4fcf55dbc3d282f831a0294b2d8769248281fdffedcb70685c61fc127d549cef"
    )
    assert hashlib.sha256(runtime.encode()).hexdigest() == (
        "aed9791bfd640a06099c9376428c465333770e7fc65d5dc3c0f43f43c3215275"
    )
    assert not spec.readonly


def test_a_minimal_entry_without_a_label() -> None:
    [third] = config('onshutdown: [{name: third, image: "plain:3", command: [/bin/echo, bye]}]').onshutdown

    spec = container_spec(third, ImageConfig(command=("/bin/sh",)), ids={"third": 100}, volumes={})

    value = json.loads(spec.config_json)
    assert len(spec.config_json.encode()) == 1869
    assert value["process"] == {
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/echo", "bye"],
        "cwd": "/",
        "capabilities": {},
    }
    assert value["root"] == {"path": "rootfs"}
    assert value["linux"] == {"resources": {}, "namespaces": [{"type": "pid"}, {"type": "mount"}]}
    assert [mount["destination"] for mount in value["mounts"]] == [
        "/dev",
        "/dev/pts",
        "/proc",
        "/sys",
        "/sys/fs/cgroup",
    ]


# --- which side wins ------------------------------------------------------------------------------------------

_MOUNT = {"destination": "/m", "type": "bind", "source": "/s"}
_DEVICE = {"path": "/dev/a", "type": "c", "major": 1, "minor": 2, "mode": "0600"}
_REPLACING: list[tuple[str, Any, Any, str, Any, Any, Any]] = [
    # key, in the config, in the label, where it shows, shown if in both, in the label alone, in neither
    ("command", ["a"], ["b"], "process.args", ["a"], ["b"], ["e", "c"]),
    ("env", ["A=1"], ["B=2"], "process.env", ["A=1"], ["B=2"], ["I=3"]),
    ("cwd", "/a", "/b", "process.cwd", "/a", "/b", "/i"),
    ("readonly", True, False, "root.readonly", True, None, None),
    ("readonly", False, True, "root.readonly", None, True, None),
    ("hostname", "a", "b", "hostname", "a", "b", None),
    ("maskedPaths", ["/a"], ["/b"], "linux.maskedPaths", ["/a"], ["/b"], None),
    ("readonlyPaths", ["/a"], ["/b"], "linux.readonlyPaths", ["/a"], ["/b"], None),
    ("uid", 1, 2, "process.user.uid", 1, 2, 0),
    ("uid", "root", 2, "process.user.uid", 0, 2, 0),
    ("gid", "web", 2, "process.user.gid", 100, 2, 0),
    ("additionalGids", [1, "web"], [3], "process.user.additionalGids", [1, 100], [3], None),
    ("noNewPrivileges", True, False, "process.noNewPrivileges", True, None, None),
    ("noNewPrivileges", False, True, "process.noNewPrivileges", None, True, None),
    ("oomScoreAdj", 0, 5, "process.oomScoreAdj", 0, 5, None),
    ("rootfsPropagation", "shared", "slave", "linux.rootfsPropagation", "shared", "slave", None),
    ("cgroupsPath", "/a", "/b", "linux.cgroupsPath", "/a", "/b", None),
    ("resources", {"pids": {}}, {"cpu": {}}, "linux.resources", {"pids": {"limit": 0}}, {"cpu": {}}, {}),
    ("sysctl", {"b": "1", "a": "2"}, {"c": "3"}, "linux.sysctl", {"a": "2", "b": "1"}, {"c": "3"}, None),
    ("annotations", {"b": "1", "a": "2"}, {"c": "3"}, "annotations", {"a": "2", "b": "1"}, {"c": "3"}, None),
    (
        "rlimits",
        ["nofile, 1, 2"],
        ["RLIMIT_cpu,unlimited,Unlimited"],
        "process.rlimits",
        [{"type": "RLIMIT_NOFILE", "hard": 2, "soft": 1}],
        [{"type": "RLIMIT_CPU", "hard": (1 << 64) - 1, "soft": (1 << 64) - 1}],
        None,
    ),
    (
        "uidMappings",
        [{"hostID": 1, "containerID": 2, "size": 3}],
        [{"size": 4}],
        "linux.uidMappings",
        [{"containerID": 2, "hostID": 1, "size": 3}],
        [{"containerID": 0, "hostID": 0, "size": 4}],
        None,
    ),
    (
        "gidMappings",
        [{"hostID": 1}],
        [{"size": 4}],
        "linux.gidMappings",
        [{"containerID": 0, "hostID": 1, "size": 0}],
        [{"containerID": 0, "hostID": 0, "size": 4}],
        None,
    ),
    (
        "devices",
        [_DEVICE],
        [{"path": "all", "type": "b"}],
        "linux.devices",
        [{"path": "/dev/a", "type": "c", "major": 1, "minor": 2, "fileMode": 384}],
        None,
        None,
    ),
    ("ambient", ["CAP_KILL"], ["CAP_BPF"], "process.capabilities.ambient", ["CAP_KILL"], ["CAP_BPF"], None),
]
_IMAGE = {
    "entrypoint": ("e",),
    "command": ("c",),
    "environment": ("I=3",),
    "working_directory": "/i",
}


@pytest.mark.parametrize(
    ("key", "in_config", "in_label", "path", "of_both", "of_label", "of_neither"),
    _REPLACING,
    ids=[f"{row[0]} {row[1]}" for row in _REPLACING],
)
def test_the_config_wins_over_the_label_and_the_label_over_the_image(
    key: str, in_config: Any, in_label: Any, path: str, of_both: Any, of_label: Any, of_neither: Any
) -> None:
    both = _json({key: in_config}, {key: in_label}, **_IMAGE)
    label = _json({}, {key: in_label}, **_IMAGE)
    neither = _json({}, {}, **_IMAGE)

    assert (of_both, of_label, of_neither) == (_at(both, path), _at(label, path), _at(neither, path))


@pytest.mark.parametrize("key", ["command", "env"])
def test_an_empty_list_in_the_config_is_set_and_leaves_the_key_out(key: str) -> None:
    value = _json({key: []}, {key: ["x"]}, **_IMAGE)

    assert {"command": "args", "env": "env"}[key] not in value["process"]


@pytest.mark.parametrize("key", ["command", "env"])
def test_an_empty_list_in_the_label_is_set_too(key: str) -> None:
    value = _json({}, {key: []}, **_IMAGE)

    assert {"command": "args", "env": "env"}[key] not in value["process"]


@pytest.mark.parametrize(
    ("key", "path", "text"),
    [
        ("cwd", "process.cwd", "/b"),
        ("hostname", "hostname", "b"),
    ],
)
def test_empty_text_in_the_config_does_not_hide_the_label(key: str, path: str, text: str) -> None:
    assert text == _at(_json({key: ""}, {key: text}), path)


@pytest.mark.parametrize("key", ["rootfsPropagation", "cgroupsPath"])
def test_empty_text_hides_the_label_where_presence_counts(key: str) -> None:
    assert key not in _json({key: ""}, {key: "x"})["linux"]


def test_tmpfs_and_mounts_of_the_config_replace_those_of_the_label() -> None:
    value = _json(
        {"tmpfs": ["/a"], "mounts": [_MOUNT]}, {"tmpfs": ["/b"], "mounts": [{**_MOUNT, "destination": "/n"}]}
    )

    destinations = {mount["destination"] for mount in value["mounts"]}
    assert {"/a", "/m"} <= destinations
    assert not {"/b", "/n"} & destinations


# --- what is added --------------------------------------------------------------------------------------------

_names = st.lists(st.sampled_from(CAPABILITIES), max_size=5)


@given(_names, _names)
def test_added_capabilities_follow_the_labels_with_their_repeats(label: list[str], added: list[str]) -> None:
    capabilities = _json({"capabilities.add": added}, {"capabilities": label})["process"]["capabilities"]

    union = sorted({*label, *added})
    assert capabilities.get("effective", []) == label + added
    assert all(capabilities.get(name, []) == union for name in ("bounding", "inheritable", "permitted"))
    assert list(capabilities) == (["bounding", "effective", "inheritable", "permitted"] if union else [])


@given(_names, _names, _names)
def test_written_capabilities_replace_the_labels_and_silence_what_is_added(
    written: list[str], label: list[str], added: list[str]
) -> None:
    value = _json({"capabilities": written, "capabilities.add": added}, {"capabilities": label})

    assert value["process"]["capabilities"].get("effective", []) == written


@given(_names, _names)
def test_ambient_capabilities_are_allowed_but_not_effective(
    capabilities: list[str], ambient: list[str]
) -> None:
    value = _json({"capabilities": capabilities, "ambient": ambient}, {})["process"]["capabilities"]

    assert value.get("effective", []) == capabilities
    assert value.get("ambient", []) == ambient
    assert value.get("bounding", []) == sorted({*capabilities, *ambient})


@pytest.mark.parametrize("text", ["all", "ALL", "All"])
def test_all_stands_for_every_capability_in_kernel_order(text: str) -> None:
    value = _json({"capabilities": [text]}, {"capabilities": ["CAP_KILL"]})

    assert value["process"]["capabilities"]["effective"] == list(CAPABILITIES)
    assert len(CAPABILITIES) == 41


def test_none_stands_for_no_capability() -> None:
    assert _json({"capabilities": ["none"]}, {"capabilities": ["CAP_KILL"]})["process"]["capabilities"] == {}


def test_all_may_be_added_where_the_label_has_none() -> None:
    value = _json({"capabilities.add": ["all"]}, {})

    assert len(value["process"]["capabilities"]["effective"]) == 41


def test_adding_keys_in_a_label_count_for_nothing() -> None:
    value = _json({}, {"capabilities.add": ["CAP_KILL"], "binds.add": ["/a:/b"]})

    assert value["process"]["capabilities"] == {}
    assert len(value["mounts"]) == 5


_paths = st.lists(st.from_regex(r"/[a-z]{1,3}", fullmatch=True), max_size=4)


@given(_paths, _paths)
def test_added_binds_follow_the_labels_and_win_at_the_same_place(label: list[str], added: list[str]) -> None:
    value = _json(
        {"binds.add": [f"/config:{path}:ro" for path in added]},
        {"binds": [f"/label:{path}" for path in label]},
    )

    sources = {mount["destination"]: mount["source"] for mount in value["mounts"] if mount["type"] == "bind"}
    assert sources == {path: "/label" for path in label} | {path: "/config" for path in added}
    destinations = [mount["destination"] for mount in value["mounts"]]
    assert destinations == sorted(destinations)


@given(_paths, _paths, _paths)
def test_written_binds_replace_the_labels_and_silence_what_is_added(
    written: list[str], label: list[str], added: list[str]
) -> None:
    value = _json(
        {"binds": [f"/config:{path}" for path in written], "binds.add": [f"/x:{path}" for path in added]},
        {"binds": [f"/label:{path}" for path in label]},
    )

    sources = {mount["destination"]: mount["source"] for mount in value["mounts"] if mount["type"] == "bind"}
    assert sources == dict.fromkeys(written, "/config")


# --- namespaces -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "entry"),
    [
        ({"net": "root"}, None),
        ({"net": "host"}, None),
        ({"net": "none"}, {"type": "network"}),
        ({"net": "new"}, {"type": "network"}),
        ({"net": "/run/netns/a"}, {"type": "network", "path": "/run/netns/a"}),
        ({"ipc": "host"}, None),
        ({"ipc": "new"}, {"type": "ipc"}),
        ({"ipc": "none"}, {"type": "ipc", "path": "none"}),
        ({"uts": "root"}, None),
        ({"uts": "new"}, {"type": "uts"}),
        ({"uts": "/a"}, {"type": "uts", "path": "/a"}),
        ({"userns": "host"}, None),
        ({"userns": "new"}, {"type": "user"}),
        ({"userns": "/a"}, {"type": "user", "path": "/a"}),
    ],
)
def test_namespaces_besides_pid_and_mount(options: dict[str, Any], entry: dict[str, str] | None) -> None:
    [*others, mount] = _json(options, {})["linux"]["namespaces"]

    assert ([entry] if entry else []) == [other for other in others if other != {"type": "pid"}]
    assert mount == {"type": "mount"}


@pytest.mark.parametrize(
    ("pid", "entry"),
    [
        ("", [{"type": "pid"}]),
        ("new", [{"type": "pid"}]),
        ("root", []),
        ("host", []),
        ("/a", [{"type": "pid", "path": "/a"}]),
    ],
)
def test_the_pid_namespace_is_new_unless_said_otherwise(pid: str, entry: list[dict[str, str]]) -> None:
    assert [*entry, {"type": "mount"}] == _json({"pid": pid}, {})["linux"]["namespaces"]


def test_namespaces_stand_in_one_order_and_the_label_fills_in() -> None:
    written = {"userns": "new", "uts": "new", "net": ""}
    label = {"net": "new", "ipc": "new", "pid": "new", "uts": "/label"}

    namespaces = _json(written, label)["linux"]["namespaces"]

    assert namespaces == [{"type": kind} for kind in ("network", "ipc", "uts", "pid", "user", "mount")]


# --- the label ------------------------------------------------------------------------------------------------


def test_a_label_may_be_yaml() -> None:
    spec = _spec(container(), _image("readonly: true\nhostname: x\n"))

    assert spec.readonly
    assert json.loads(spec.config_json)["hostname"] == "x"


def test_an_empty_label_says_nothing() -> None:
    assert _spec(container(), _image("")).config_json == _spec(container(), _image()).config_json


@pytest.mark.parametrize(
    ("label", "message"),
    [
        pytest.param('{"bindz": []}', "unknown key `bindz`", id="unknown key"),
        pytest.param('{"name": "x"}', "unknown key `name`", id="a name"),
        pytest.param("[1]", "expected an object of container options, got a list", id="no object"),
        pytest.param("null", "expected an object of container options, got nothing", id="null"),
        pytest.param('{"env": []', "expected `,` or `}` in this mapping", id="no JSON"),
        pytest.param('{"a": 1, "a": 2}', "expected each key once, got `a` again", id="key twice"),
        pytest.param('{"env": [1]}', "in env[0], an entry of `env` is text, got 1", id="wrong type"),
        pytest.param(
            '{"runtime": {"x": 1}}',
            "in runtime, unknown key `x`",
            id="deep down",
        ),
        pytest.param(
            '{"capabilities": ["NOT_A_CAP"]}',
            "in capabilities[0], expected a capability, got `NOT_A_CAP`",
            id="capability",
        ),
        pytest.param(
            '{"binds": ["/a"]}',
            "in binds[0], expected source:destination or source:destination:options, got `/a`",
            id="bind",
        ),
    ],
)
def test_a_wrong_label_is_reported_at_the_image_of_the_section(label: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as raised:
        _spec(container(), _image(label))

    error = raised.value.errors[0]
    assert error.message == f"label org.mobyproject.config of image `acme/web:1`: {message}"
    assert error.where is not None and error.where[1:3] == (3, 12)
    assert error.hint is not None and error.hint.startswith("correct the label in the image: ")


def test_all_of_the_label_clashes_with_added_capabilities() -> None:
    written = container("capabilities.add: [CAP_KILL]")

    with pytest.raises(ConfigErrors) as raised:
        _spec(written, _image({"capabilities": ["all"]}))

    [error] = raised.value.errors
    assert error.message == (
        "label org.mobyproject.config of image `acme/web:1`: in capabilities[0], expected a capability, got `all`"
    )


def test_added_all_clashes_with_a_labels_capabilities_at_its_own_place() -> None:
    written = container("capabilities.add: [all]")

    with pytest.raises(ConfigErrors) as raised:
        _spec(written, _image({"capabilities": ["CAP_KILL"]}))

    assert [shown(error) for error in raised.value.errors] == [
        "4:24 expected a capability, got `all` "
        "(`all` must be the only entry: leave out the others or name each capability)"
    ]


def test_a_label_never_names_volumes() -> None:
    value = _json({}, {"binds": ["vol:/a"], "mounts": [{**_MOUNT, "source": "vol"}]})

    sources = {mount["destination"]: mount["source"] for mount in value["mounts"]}
    assert (sources["/a"], sources["/m"]) == ("vol", "vol")


# --- runtime.json ---------------------------------------------------------------------------------------------


def _runtime(options: dict[str, Any], label: dict[str, Any]) -> Any:
    written = container()._replace(options={"runtime": options})
    spec = _spec(written, _image({"runtime": label, "readonly": True}))
    return json.loads(spec.runtime_json("containers/services/web", "containers/services/web/rootfs"))


@pytest.mark.parametrize(
    ("key", "in_config", "in_label"),
    [
        ("cgroups", ["a"], ["b"]),
        ("cgroups", [], ["b"]),
        ("mkdir", ["/a"], ["/b"]),
        ("namespace", "a", "b"),
        ("namespace", "", "b"),
        (
            "interfaces",
            [{"name": "a", "createInRoot": False}],
            [{"add": "b", "peer": "c", "createInRoot": True}],
        ),
    ],
)
def test_each_part_of_runtime_is_replaced_on_its_own(key: str, in_config: Any, in_label: Any) -> None:
    assert in_config == _runtime({key: in_config}, {key: in_label})[key]
    assert in_label == _runtime({}, {key: in_label})[key]


def test_namespaces_to_keep_are_replaced_one_by_one() -> None:
    value = _runtime({"bindNS": {"net": "/a"}}, {"bindNS": {"net": "/b", "pid": "/c"}})

    assert value["bindNS"] == {
        "cgroup": "",
        "ipc": "",
        "mnt": "",
        "net": "/a",
        "pid": "/c",
        "user": "",
        "uts": "",
    }


def test_runtime_has_every_key_in_one_order_even_if_nothing_is_said() -> None:
    value = _runtime({}, {})

    assert list(value) == ["cgroups", "mounts", "mkdir", "interfaces", "bindNS", "namespace"]
    assert (value["cgroups"], value["mkdir"], value["interfaces"], value["namespace"]) == ([], [], [], "")


def test_runtime_mounts_follow_those_of_the_root_and_keep_their_id_mappings() -> None:
    mapping = [{"hostID": 1, "containerID": 2, "size": 3}]
    value = _runtime({"mounts": [{"type": "tmpfs", "uidmappings": mapping, "gidmappings": []}]}, {})

    assert value["mounts"] == [
        {
            "destination": "/containers/services/web/rootfs",
            "source": "/containers/services/web/rootfs",
            "options": ["bind"],
        },
        {
            "destination": "",
            "type": "tmpfs",
            "uidMappings": [{"containerID": 2, "hostID": 1, "size": 3}],
        },
    ]


def test_a_root_unpacked_for_another_container_is_the_lower_layer() -> None:
    mounts = root_mounts("/containers/services/b", "/containers/onboot/000-a/rootfs", readonly=False)

    assert [mount["destination"] for mount in mounts] == [
        "/containers/services/b/tmp",
        "/containers/services/b/tmp",
        "/containers/services/b/rootfs",
    ]
    assert mounts[2]["options"][0] == "lowerdir=/containers/onboot/000-a/rootfs"
