from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.cli.main import main
from kitbuild.config.dump import dry_run, metadata
from kitbuild.config.load import load
from kitbuild.config.lower import lower
from kitbuild.config.model import Config, Container, Place
from kitbuild.config.nodes import Sources
from kitbuild.node import Node
from tests.unit.config.configs import config, written

_SMALL = """
    kernel: {image: linuxkit/kernel:6, cmdline: console=ttyS0, tar: none}
    init: [linuxkit/init:v1, "@pkg:../runc"]
    onboot:
      - name: dhcp
        image: alpine
        command: [/sbin/dhcpcd, "-1"]
        readonly: false
        env: []
        net: ""
    volumes:
      - {name: data, image: alpine:3, readonly: true, platforms: [linux/amd64]}
      - {name: blank, readonly: false}
    files:
      - {path: etc/linuxkit.yml, metadata: yaml, mode: "0644", uid: 0}
      - {path: etc/motd, contents: "hello\\nworld\\n", optional: false}
      - {path: srv, directory: true, gid: "dhcp"}
    trust: {org: [linuxkit]}
"""


def test_metadata_is_the_config_with_the_full_names_of_images() -> None:
    assert metadata(config(_SMALL), "yaml") == (
        "kernel:\n  image: docker.io/linuxkit/kernel:6\n  cmdline: console=ttyS0\n  tar: none\n"
        "init:\n- docker.io/linuxkit/init:v1\n- '@pkg:../runc'\n"
        "onboot:\n- name: dhcp\n  image: docker.io/library/alpine\n  command:\n  - /sbin/dhcpcd\n"
        '  - "-1"\n  env: []\n  readonly: false\n'
        "onshutdown: []\nservices: []\n"
        "files:\n- path: etc/linuxkit.yml\n  directory: false\n  metadata: yaml\n  optional: false\n"
        '  mode: "0644"\n  uid: 0\n'
        "- path: etc/motd\n  directory: false\n  contents: |\n    hello\n    world\n  optional: false\n"
        "- path: srv\n  directory: true\n  optional: false\n  gid: dhcp\n"
        "volumes:\n- name: data\n  image: alpine:3\n  readonly: true\n  platforms:\n  - linux/amd64\n"
        "- name: blank\n"
    )


def test_dry_run_is_the_config_with_images_named_as_written() -> None:
    text = dry_run(config(_SMALL))

    assert text.startswith(
        "kernel:\n    image: linuxkit/kernel:6\n    cmdline: console=ttyS0\n    tar: none\ninit:\n"
    )
    assert "    - name: dhcp\n      image: alpine\n      command:\n        - /sbin/dhcpcd\n" in text
    assert "    - name: data\n      image: alpine:3\n" in text


def test_json_has_null_for_sections_without_entries() -> None:
    text = metadata(
        config("onboot: [{name: a, image: b, runtime: {}, command: [echo, <&>]}]\nservices: []"), "json"
    )

    assert text == (
        '{\n    "kernel": {\n        "image": ""\n    },\n    "init": null,\n    "onboot": [\n        {\n'
        '            "name": "a",\n            "image": "docker.io/library/b",\n            "command": [\n'
        '                "echo",\n                "\\u003c\\u0026\\u003e"\n            ],\n'
        '            "runtime": {\n                "bindNS": {}\n            }\n        }\n    ],\n'
        '    "onshutdown": null,\n    "services": null,\n    "files": null,\n    "volumes": null\n}'
    )


@pytest.mark.parametrize(
    ("text", "kernel"),
    [
        pytest.param("{}", {"image": ""}, id="no kernel"),
        pytest.param(
            "kernel: {cmdline: x, ucode: ''}", {"image": "", "cmdline": "x", "ucode": ""}, id="no image"
        ),
        pytest.param(
            "kernel: {image: a, binary: ''}", {"image": "docker.io/library/a"}, id="an empty binary"
        ),
    ],
)
def test_kernel_settings_are_those_written(text: str, kernel: dict[str, str]) -> None:
    assert json.loads(metadata(config(text), "json"))["kernel"] == kernel


def test_files_are_merged_before(tmp_path: Path) -> None:
    paths = [
        written(tmp_path, "kernel: {image: a, cmdline: c}\ninit: [a]\n", name="a.yml"),
        written(tmp_path, "kernel: {cmdline: d, tar: ''}\ninit: [b]\n", name="b.yml"),
    ]

    text = dry_run(load(paths))

    assert text.startswith(
        'kernel:\n    image: a\n    cmdline: d\n    tar: ""\ninit:\n    - a\n    - b\nonboot: []\n'
    )


_OCI = """
    services:
      - name: a
        image: b
        mounts: [{type: bind, source: /a, destination: /b, gidmappings: [{hostID: 5}]}]
        devices: [{path: /dev/x, type: c, mode: "0600"}]
        oomScoreAdj: 1e1
        uidMappings: [{hostID: 1000, size: 10}]
        sysctl: {b: "1", a: "2"}
        resources:
          devices: [{allow: true, major: 1}]
          memory: {limit: 1, kernelTCP: 2}
          cpu: {shares: 3, mems: "0"}
          pids: {}
          blockio: {leafWeight: 4, weightDevice: [{major: 8, weight: 5}], throttleReadBpsDevice: [{rate: 6}]}
          hugepageLimits: [{pageSize: 2MB, limit: 7}]
          network: {classID: 8, priorities: [{name: eth0, priority: 9}]}
        runtime: {interfaces: [{name: eth0}], bindNS: {net: /run/n, cgroup: ""}, namespace: ""}
"""


def test_oci_objects_are_whole_in_yaml() -> None:
    text = metadata(config(_OCI), "yaml")

    assert text.partition("- name: a\n  image: docker.io/library/b\n")[2].partition("files:")[0] == (
        """\
  mounts:
  - destination: /b
    type: bind
    source: /a
    options: []
    uidmappings: []
    gidmappings:
    - containerid: 0
      hostid: 5
      size: 0
  devices:
  - path: /dev/x
    type: c
    major: 0
    minor: 0
    mode: "0600"
  oomScoreAdj: 10
  resources:
    devices:
    - allow: true
      type: ""
      major: 1
      minor: null
      access: ""
    memory:
      limit: 1
      reservation: null
      swap: null
      kernel: null
      kerneltcp: 2
      swappiness: null
      disableoomkiller: null
      usehierarchy: null
      checkbeforeupdate: null
    cpu:
      shares: 3
      quota: null
      burst: null
      period: null
      realtimeruntime: null
      realtimeperiod: null
      cpus: ""
      mems: "0"
      idle: null
    pids:
      limit: 0
    blockio:
      weight: null
      leafweight: 4
      weightdevice:
      - major: 8
        minor: 0
        weight: 5
        leafweight: null
      throttlereadbpsdevice:
      - major: 0
        minor: 0
        rate: 6
      throttlewritebpsdevice: []
      throttlereadiopsdevice: []
      throttlewriteiopsdevice: []
    hugepagelimits:
    - pagesize: 2MB
      limit: 7
    network:
      classid: 8
      priorities:
      - name: eth0
        priority: 9
    rdma: {}
    unified: {}
  sysctl:
    a: "2"
    b: "1"
  uidMappings:
  - containerid: 0
    hostid: 1000
    size: 10
  runtime:
    interfaces:
    - name: eth0
      createInRoot: false
    bindNS:
      cgroup: ""
      net: /run/n
    namespace: ""
"""
    )


def test_oci_objects_have_their_own_names_and_nothing_empty_in_json() -> None:
    [service] = json.loads(metadata(config(_OCI), "json"))["services"]

    assert service["mounts"] == [
        {
            "destination": "/b",
            "type": "bind",
            "source": "/a",
            "gidMappings": [{"containerID": 0, "hostID": 5, "size": 0}],
        }
    ]
    assert service["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 10}]
    assert service["resources"]["memory"] == {"limit": 1, "kernelTCP": 2}
    assert service["resources"]["blockIO"]["throttleReadBpsDevice"] == [{"major": 0, "minor": 0, "rate": 6}]
    assert list(service["sysctl"]) == ["a", "b"]
    assert service["runtime"]["bindNS"] == {"cgroup": "", "net": "/run/n"}


def test_resources_that_say_nothing_are_nulls_and_empty_lists() -> None:
    text = metadata(config("services: [{name: a, image: b, resources: {}}]"), "yaml")

    assert text.partition("  resources:\n")[2].partition("files:")[0] == (
        "    devices: []\n    memory: null\n    cpu: null\n    pids: null\n    blockio: null\n"
        "    hugepagelimits: []\n    network: null\n    rdma: {}\n    unified: {}\n"
    )


# --- read back ------------------------------------------------------------------------------------------------

_TEXT = st.one_of(
    st.text(
        st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"], exclude_characters="\0"),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(["yes", "1", "0644", "a: b", "a\nb\n", " \n", "- x", "12:30", "2020-01-01", "x " * 60]),
)
_NAME = st.sampled_from(
    ["alpine", "linuxkit/init:v1", "quay.io/a/b:2", "localhost:5000/x", "a/b/c", "@pkg:../x"]
)
_LIST = st.lists(_TEXT, max_size=3)
# Containers have folders of their names.
_FOLDER = _TEXT.map(lambda text: f"x{text}".replace("/", "-"))


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


# Without what the module's docstring says is lost: resources, and id mappings with entries.
_MOUNT = st.fixed_dictionaries(
    {"destination": st.just("/x"), "type": st.just("tmpfs")},
    optional={"source": _TEXT, "options": _LIST, "uidmappings": st.just([])},
)
_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("command", "env", "maskedPaths", "readonlyPaths"), _LIST),
    **dict.fromkeys(("cwd", "net", "pid", "ipc", "uts", "userns", "hostname"), st.one_of(st.just(""), _TEXT)),
    **dict.fromkeys(("rootfsPropagation", "cgroupsPath"), st.one_of(st.just(""), _TEXT)),
    **dict.fromkeys(("readonly", "noNewPrivileges"), st.booleans()),
    **dict.fromkeys(("uid", "gid"), st.one_of(st.integers(0, 99), st.just("root"))),
    "capabilities": st.lists(st.sampled_from(["CAP_KILL", "CAP_BPF"]), max_size=2),
    "capabilities.add": st.just(["CAP_KILL"]),
    "binds": st.just(["/a:/b:ro"]),
    "mounts": st.lists(_MOUNT, max_size=2),
    "devices": st.lists(st.just({"path": "/dev/x", "type": "c", "mode": "0600"}), max_size=1),
    "oomScoreAdj": st.integers(-1000, 1000),
    "additionalGids": st.lists(st.integers(0, 9), max_size=2),
    "sysctl": st.dictionaries(_TEXT, _TEXT, max_size=3),
    "annotations": st.dictionaries(_TEXT, _TEXT, max_size=3),
    "runtime": _some(
        mkdir=_LIST,
        mounts=st.lists(_MOUNT, max_size=1),
        interfaces=st.lists(_some(name=_TEXT, createInRoot=st.booleans()), max_size=2),
        bindNS=_some(net=_TEXT, uts=st.just("")),
        namespace=_TEXT,
    ),
}
_CONTAINERS = st.lists(
    st.fixed_dictionaries({"name": _FOLDER, "image": _NAME}, optional=_OPTIONS),
    max_size=2,
    unique_by=lambda entry: entry["name"],
)
_FILE = st.fixed_dictionaries(
    {"path": _FOLDER},
    optional={"mode": st.just("0644"), "uid": st.integers(0, 9), "optional": st.booleans()},
)
_CONTENT = st.one_of(
    _TEXT.map(lambda text: {"contents": text}),
    st.sampled_from(
        [{"directory": True}, {"symlink": "a"}, {"source": "~/b"}, {"metadata": "json"}, {"contents": ""}]
    ),
)
_CONFIG = _some(
    kernel=_some(image=_NAME, cmdline=_TEXT, tar=st.sampled_from(["", "none", "t"]), binary=_TEXT),
    init=st.lists(_NAME, max_size=2),
    onboot=_CONTAINERS,
    services=_CONTAINERS,
    volumes=st.lists(
        st.fixed_dictionaries(
            {"name": st.just("data")},
            optional={"image": _NAME, "readonly": st.booleans(), "format": st.just("oci")},
        ),
        max_size=1,
    ),
    files=st.lists(st.builds(lambda file, content: {**file, **content}, _FILE, _CONTENT), max_size=2),
)


def _loaded(text: str) -> Config:
    return load(["-"], stdin=BytesIO(text.encode()))


def _meant(value: Any) -> Any:
    """The config without its places, and inside options without what is as good as not written."""
    if isinstance(value, Container):
        options: Mapping[str, Any] = value.options
        kept = {
            key: _filled(option) if isinstance(option, (list, dict)) else option
            for key, option in options.items()
            if option != "" or key in ("rootfsPropagation", "cgroupsPath")
        }
        return (*value._replace(options={}, image_text="")[:-1], kept)
    if isinstance(value, tuple):
        return tuple(_meant(item) for item in value if not isinstance(item, Place))
    return value


def _filled(option: Any) -> Any:
    if isinstance(option, list):
        return [_filled(item) for item in option]
    if isinstance(option, dict):
        return {key: _filled(item) for key, item in option.items() if item not in ("", 0, False, [], {})}
    return option


@settings(deadline=None)
@given(_CONFIG)
def test_metadata_reads_back_as_the_same_config(value: dict[str, Any]) -> None:
    system = _loaded(json.dumps(value))
    names = {"image": str(system.kernel.reference)} if system.kernel else {}
    full = system._replace(
        kernel=system.kernel and system.kernel._replace(image_text=_full(system.kernel)),
        init=tuple(image._replace(image_text=_full(image)) for image in system.init),
        kernel_settings={
            **system.kernel_settings,
            **(names if _full(system.kernel) == names.get("image") else {}),
        },
    )

    again = _loaded(metadata(system, "yaml"))

    assert _meant(full) == _meant(again)


@settings(deadline=None)
@given(_CONFIG)
def test_dry_run_reads_back_as_the_same_config(value: dict[str, Any]) -> None:
    system = _loaded(json.dumps(value))

    again = _loaded(dry_run(system))

    assert _meant(system) == _meant(again)


def _full(image: Any) -> str:
    if image is None:
        return ""
    return image.image_text if image.image_text.startswith("@pkg:") else str(image.reference)


# --- in use ---------------------------------------------------------------------------------------------------


def test_a_file_with_metadata_holds_the_config() -> None:
    system = config("files: [{path: etc/a.yml, metadata: yaml}, {path: etc/a.json, metadata: json}]")

    lowered = lower(system, Sources({}, {}))

    options, *_ = [
        node.options for part in lowered.parts for node in _above(part.tree) if node.name == "files"
    ]
    contents = {entry.path: entry.text for entry in options.entries if entry.kind == "file"}
    assert contents == {"etc/a.yml": metadata(system, "yaml"), "etc/a.json": metadata(system, "json")}


def _above(node: Node) -> list[Node]:
    return [node, *(found for nodes in node.inputs.values() for one in nodes for found in _above(one))]


def test_dry_run_prints_the_config_and_writes_nothing(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(
        tmp_path,
        "init: [nowhere.example/none:é]\n".replace(":é", ":v1") + "files: [{path: é, contents: ü}]\n",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KITBUILD_CACHE_DIR", str(tmp_path / "cache"))

    status = main(["build", "--dry-run", "--dir", "nowhere", path])

    assert (status, capfdbinary.readouterr()) == (0, (f"{dry_run(load([path]))}\n".encode(), b""))
    assert [Path(path)] == list(tmp_path.iterdir())


def test_dry_run_of_a_wrong_config_prints_the_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "kernel: {imag: a}\n")

    status = main(["build", "--dry-run", path])

    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert "unknown key `imag`" in printed.err
