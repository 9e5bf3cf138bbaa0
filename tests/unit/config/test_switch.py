"""`--linuxkit-compatible`: what LinuxKit accepts and then loses is honoured without it, and lost with it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest

from kitbuild.config.dump import metadata
from kitbuild.config.lower import lower
from kitbuild.config.nodes import Sources
from kitbuild.config.runtime import ContainerSpec, container_spec
from kitbuild.errors import ConfigErrors, ImageError, UsageError
from kitbuild.graph import Graph
from kitbuild.image import ImageConfig
from kitbuild.registry import formats_named
from kitbuild.settings import add_setting_arguments, settings_of
from tests.unit.config.configs import config

# Every key the schema spells in camelCase, each with what config.json says of it with and without the switch.
RATE = [{"major": 8, "minor": 1, "rate": 5}]
LOST = [
    pytest.param({"memory": {"limit": 1, "kernelTCP": 5}}, {"memory": {"limit": 1}}, id="kernelTCP"),
    pytest.param({"memory": {"disableOOMKiller": True}}, {"memory": {}}, id="disableOOMKiller"),
    pytest.param({"cpu": {"realtimeRuntime": 5, "cpus": "0"}}, {"cpu": {"cpus": "0"}}, id="realtimeRuntime"),
    pytest.param({"cpu": {"realtimePeriod": 5}}, {"cpu": {}}, id="realtimePeriod"),
    pytest.param({"blockio": {"weight": 9, "leafWeight": 5}}, {"blockIO": {"weight": 9}}, id="leafWeight"),
    pytest.param(
        {"blockio": {"weightDevice": [{"major": 8, "minor": 1, "weight": 5, "leafWeight": 6}]}},
        {"blockIO": {}},
        id="weightDevice",
    ),
    *(
        pytest.param({"blockio": {key: RATE}}, {"blockIO": {}}, id=key)
        for key in (
            "throttleReadBpsDevice",
            "throttleWriteBpsDevice",
            "throttleReadIOPSDevice",
            "throttleWriteIOPSDevice",
        )
    ),
    pytest.param({"hugepageLimits": [{"pageSize": "2MB", "limit": 5}]}, {}, id="hugepageLimits"),
    pytest.param(
        {"network": {"classID": 5, "priorities": [{"name": "eth0", "priority": 7}]}},
        {"network": {"priorities": [{"name": "eth0", "priority": 7}]}},
        id="classID",
    ),
]
MAPPING = {"hostID": 1000, "containerID": 3, "size": 10}
VOLUMES = "volumes: [{name: data}, {name: fixed, readonly: true}]"


def spec(
    options: dict[str, Any], *, label: dict[str, Any] | None = None, compatible: bool = True
) -> ContainerSpec:
    """The spec of a service with these options, in a system with two volumes."""
    entry = {"name": "web", "image": "t/web:v1", **options}
    system = config(f"{VOLUMES}\nservices: [{json.dumps(entry)}]")
    labels = {"org.mobyproject.config": json.dumps(label)} if label else {}
    return container_spec(
        system.services[0],
        ImageConfig(labels=labels),
        ids={},
        volumes=system.volumes_by_name(),
        linuxkit_compatible=compatible,
    )


def linux(options: dict[str, Any], *, label: dict[str, Any] | None = None, compatible: bool = True) -> Any:
    return json.loads(spec(options, label=label, compatible=compatible).config_json)["linux"]


def bound(options: dict[str, Any], *, compatible: bool = True) -> str:
    """The source of what is mounted at /data."""
    mounts = json.loads(spec(options, compatible=compatible).config_json)["mounts"]
    return next(str(mount["source"]) for mount in mounts if mount["destination"] == "/data")


# -- camelCase keys


@pytest.mark.parametrize(("written", "left"), LOST)
def test_camel_case_resource_is_lost_from_config_and_label_alike(written: Any, left: Any) -> None:
    assert left == linux({"resources": written})["resources"]
    assert left == linux({}, label={"resources": written})["resources"]


@pytest.mark.parametrize(("written", "left"), LOST)
def test_camel_case_resource_is_honoured_without_the_switch(written: Any, left: Any) -> None:
    from_config = linux({"resources": written}, compatible=False)["resources"]

    assert left != from_config
    assert from_config == linux({}, label={"resources": written}, compatible=False)["resources"]


def test_resources_without_camel_case_are_the_same_either_way() -> None:
    written = {
        "devices": [{"allow": True, "type": "c", "major": 1, "minor": 2, "access": "rwm"}],
        "memory": {"limit": 1, "reservation": 2, "swap": 3, "kernel": 4, "swappiness": 5},
        "cpu": {"shares": 1, "quota": 2, "period": 3, "cpus": "0", "mems": "1"},
        "pids": {"limit": 6},
        "blockio": {"weight": 7},
        "network": {"priorities": [{"name": "eth0", "priority": 8}]},
    }

    assert spec({"resources": written}) == spec({"resources": written}, compatible=False)


@pytest.mark.parametrize("key", ["uidMappings", "gidMappings"])
def test_id_mapping_keeps_its_size_alone(key: str) -> None:
    kept = [{"containerID": 0, "hostID": 0, "size": 10}]
    honoured = [{"containerID": 3, "hostID": 1000, "size": 10}]

    assert kept == linux({key: [MAPPING]})[key]
    assert kept == linux({}, label={key: [MAPPING]})[key]
    assert honoured == linux({key: [MAPPING]}, compatible=False)[key]
    assert honoured == linux({}, label={key: [MAPPING]}, compatible=False)[key]


@pytest.mark.parametrize("origin", ["config", "label"])
def test_id_mapping_of_a_runtime_mount_keeps_its_size_alone(origin: str) -> None:
    mount = {"destination": "/data", "type": "bind", "source": "/data", "uidmappings": [MAPPING]}
    options = {"runtime": {"mounts": [mount], "cgroups": ["one"]}}

    def mapped(compatible: bool) -> Any:
        written, label = (options, None) if origin == "config" else ({}, options)
        runtime = json.loads(spec(written, label=label, compatible=compatible).runtime_json("a", "a/lower"))
        assert ["one"] == runtime["cgroups"]
        return runtime["mounts"][-1]["uidMappings"]

    assert [{"containerID": 0, "hostID": 0, "size": 10}] == mapped(True)
    assert [{"containerID": 3, "hostID": 1000, "size": 10}] == mapped(False)


def test_other_options_in_camel_case_are_honoured_either_way() -> None:
    options = {
        "noNewPrivileges": True,
        "oomScoreAdj": 5,
        "maskedPaths": ["/m"],
        "readonlyPaths": ["/r"],
        "rootfsPropagation": "shared",
        "cgroupsPath": "/c",
        "additionalGids": [7],
        "runtime": {
            "interfaces": [{"name": "v", "add": "veth", "createInRoot": True}],
            "bindNS": {"net": "/run/netns"},
        },
    }

    assert spec(options) == spec(options, compatible=False)


def test_mistake_in_a_label_is_told_with_the_switch_too() -> None:
    with pytest.raises(ConfigErrors) as raised:
        spec({}, label={"resources": {"memory": {"kernelTCP": "much"}}})

    assert "`kernelTCP` is a whole number" in raised.value.errors[0].message


# -- volumes in `mounts`


def test_name_of_a_volume_in_mounts_stays_a_name() -> None:
    mounts = {"mounts": [{"destination": "/data", "type": "bind", "source": "data"}]}

    assert "data" == bound(mounts)
    assert "/containers/volumes/data/merged" == bound(mounts, compatible=False).replace("//", "/")


def test_name_of_a_volume_in_binds_becomes_its_folder_either_way() -> None:
    binds = {"binds": ["data:/data"]}

    assert bound(binds, compatible=False) == bound(binds) != "data"


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        pytest.param({"source": "dat"}, "expected a path from `/` or the name of a volume", id="unknown"),
        pytest.param({"source": "fixed"}, "volume `fixed` is read-only", id="read-only"),
    ],
)
def test_volume_in_mounts_is_checked_either_way(mount: dict[str, str], message: str) -> None:
    options = {"mounts": [{"destination": "/data", "type": "bind", **mount}]}

    for compatible in (True, False):
        with pytest.raises(ConfigErrors) as raised:
            spec(options, compatible=compatible)
        assert message in raised.value.errors[0].message


# -- the whole way


def nodes(compatible: bool) -> dict[str, Any]:
    """The options of every node of a system with something to lose, by the node's name."""
    system = config(
        "services:\n"
        "  - {name: web, image: t/web:v1, resources: {memory: {limit: 7, kernelTCP: 5}}}\n"
        "  - {name: cousin, image: t/web:v1}\n"
        "files: [{path: config.yml, metadata: yaml}]\n"
    )
    images = {entry.reference: ImageError("nowhere") for entry in system.services}
    lowered = lower(system, Sources(images, {}), linuxkit_compatible=compatible)
    [tar] = formats_named(["tar"])
    return {node.name: node.options for node in Graph.of(tar.outputs(lowered))}


def test_switch_changes_the_bundle_and_metadata_it_is_about_alone() -> None:
    one, two = nodes(True), nodes(False)

    assert {"services web: bundle", "files"} == {name for name in one if one[name] != two[name]}
    assert "kernelTCP" in two["services web: bundle"].config_json
    assert "kernelTCP" not in one["services web: bundle"].config_json


def test_metadata_without_the_switch_is_as_written() -> None:
    system = config(
        "services: [{name: web, image: t/web:v1, uidMappings: [{hostID: 5, containerID: 1, size: 2}]}]"
    )

    assert "hostid: 5" in metadata(system, "yaml")


@pytest.mark.parametrize(
    ("flags", "variable", "file", "expected"),
    [
        pytest.param([], "", "", False, id="default"),
        pytest.param(["--linuxkit-compatible"], "", "", True, id="flag"),
        pytest.param([], "true", "", True, id="variable"),
        pytest.param([], "1", "", True, id="variable as a number"),
        pytest.param([], "0", "true", False, id="variable over file"),
        pytest.param([], "", "true", True, id="file"),
        pytest.param(["--linuxkit-compatible"], "false", "false", True, id="flag over all"),
    ],
)
def test_switch_is_a_setting(
    tmp_path: Path, flags: list[str], variable: str, file: str, expected: bool
) -> None:
    if file:
        (tmp_path / "kitbuild.toml").write_text(f"linuxkit-compatible = {file}\n")
    parser = ArgumentParser()
    add_setting_arguments(parser)

    found = settings_of(
        parser.parse_args(flags),
        environment={"KITBUILD_LINUXKIT_COMPATIBLE": variable},
        folder=tmp_path,
    )

    assert expected is found.linuxkit_compatible


@pytest.mark.parametrize("written", ["1", "'yes'", "1.0", "[]"])
def test_value_that_is_no_truth_is_refused(tmp_path: Path, written: str) -> None:
    (tmp_path / "kitbuild.toml").write_text(f"linuxkit-compatible = {written}\n")
    parser = ArgumentParser()
    add_setting_arguments(parser)

    with pytest.raises(UsageError) as raised:
        settings_of(parser.parse_args([]), environment={}, folder=tmp_path)

    assert "`linuxkit-compatible`: expected true or false, got" in raised.value.message
    assert "write true or false" == raised.value.hint
