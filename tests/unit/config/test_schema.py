from __future__ import annotations

from typing import Any

import pytest

from kitbuild.config.schema import CONFIG, LABEL, Problem, validate

_OPTIONS = "services", 0


def _problems(**options: Any) -> list[Problem]:
    return validate({"services": [{"name": "web", "image": "a", **options}]}, CONFIG)


def test_a_config_with_every_section_has_no_mistakes() -> None:
    config = {
        "kernel": {"image": "a", "cmdline": "", "binary": "k", "tar": "none", "ucode": "u"},
        "init": ["a"],
        "onboot": [{"name": "a", "image": "b"}],
        "onshutdown": [],
        "services": [],
        "volumes": [
            {"name": "v", "image": "i", "readonly": True, "format": "oci", "platforms": ["linux/amd64"]}
        ],
        "files": [{"path": "a", "contents": "", "mode": "0644", "uid": 0, "gid": "root", "optional": False}],
        "trust": {"image": ["a"], "org": ["b"]},
    }

    assert validate(config, CONFIG) == []


_EVERY_OPTION: dict[str, Any] = {
    **{key: ["a"] for key in ("capabilities", "capabilities.add", "ambient", "binds", "binds.add", "tmpfs")},
    **{key: ["a"] for key in ("command", "env", "maskedPaths", "readonlyPaths", "rlimits")},
    "mounts": [
        {
            "destination": "/a",
            "type": "bind",
            "source": "/b",
            "options": ["ro"],
            "uidmappings": [{"hostID": 1, "containerID": 2, "size": 3}],
            "gidmappings": [],
        }
    ],
    "devices": [{"path": "/dev/a", "type": "c", "major": 1, "minor": 2, "mode": "0600"}],
    **dict.fromkeys(("cwd", "net", "pid", "ipc", "uts", "userns", "hostname"), "x"),
    **dict.fromkeys(("readonly", "noNewPrivileges"), True),
    "uid": 3,
    "gid": "web",
    "additionalGids": [1, "web"],
    "oomScoreAdj": -5,
    **dict.fromkeys(("rootfsPropagation", "cgroupsPath"), "x"),
    "resources": {
        "devices": [{"allow": True, "type": "c", "access": "rwm", "major": 1, "minor": -1}],
        "memory": {"limit": 1e6, "reservation": 1, "swap": -1, "kernel": 1, "kernelTCP": 1, "swappiness": 5}
        | {"disableOOMKiller": True},
        "cpu": {"shares": 1, "quota": 1, "period": 1, "realtimeRuntime": 1, "realtimePeriod": 1}
        | {"cpus": "0-1", "mems": "0"},
        "pids": {"limit": 5},
        "blockio": {"weight": 1, "leafWeight": 1}
        | {"weightDevice": [{"major": 1, "minor": 1, "weight": 1, "leafWeight": 1}]}
        | {"throttleReadBpsDevice": [{"major": 1, "minor": 1, "rate": 1}], "throttleWriteBpsDevice": []}
        | {"throttleReadIOPSDevice": [], "throttleWriteIOPSDevice": []},
        "hugepageLimits": [{"pageSize": 2097152, "limit": 1}, {"pageSize": "2MB"}],
        "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 1}]},
    },
    "sysctl": {"a": "b"},
    "annotations": {},
    "uidMappings": [{"hostID": 1, "containerID": 2, "size": 3}],
    "gidMappings": [],
    "runtime": {
        "cgroups": ["a"],
        "mounts": [{"destination": "/a"}],
        "mkdir": ["/b"],
        "interfaces": [{"name": "a", "add": "b", "peer": "c", "createInRoot": True}],
        "bindNS": dict.fromkeys(("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"), "x"),
        "namespace": "x",
    },
}


def test_every_option_of_a_container_is_known() -> None:
    assert _problems(**_EVERY_OPTION) == []
    assert set(LABEL.fields) == set(_EVERY_OPTION)
    assert validate(_EVERY_OPTION, LABEL) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param(
            {"bindz": []},
            Problem((*_OPTIONS, "bindz"), "unknown key `bindz`", "did you mean `binds`?", at_key=True),
            id="misspelt key",
        ),
        pytest.param(
            {"runtime": {"zebra": 1}},
            Problem(
                (*_OPTIONS, "runtime", "zebra"),
                "unknown key `zebra`",
                "use one of `cgroups`, `mounts`, `mkdir`, `interfaces`, `bindNS`, `namespace`",
                at_key=True,
            ),
            id="unknown key",
        ),
        pytest.param(
            {"readonly": "yes"},
            Problem(
                (*_OPTIONS, "readonly"),
                "`readonly` is true or false, got `yes`",
                "write true, without quotes",
            ),
            id="yes is no boolean",
        ),
        pytest.param(
            {"readonly": "maybe"},
            Problem(
                (*_OPTIONS, "readonly"),
                "`readonly` is true or false, got `maybe`",
                "write true or false, without quotes",
            ),
            id="text as boolean",
        ),
        pytest.param(
            {"binds": None},
            Problem(
                (*_OPTIONS, "binds"), "`binds` is a list, got nothing", "give a value, or remove the key"
            ),
            id="nothing",
        ),
        pytest.param(
            {"command": "/bin/sh"},
            Problem(
                (*_OPTIONS, "command"), "`command` is a list, got `/bin/sh`", 'write a list: ["/bin/sh"]'
            ),
            id="text as list",
        ),
        pytest.param(
            {"env": {"A": "b"}},
            Problem((*_OPTIONS, "env"), "`env` is a list, got a mapping", "start each entry with `- `"),
            id="mapping as list",
        ),
        pytest.param(
            {"env": [1]},
            Problem((*_OPTIONS, "env", 0), "an entry of `env` is text, got 1", "put the value in quotes"),
            id="number as text in a list",
        ),
        pytest.param(
            {"hostname": True},
            Problem((*_OPTIONS, "hostname"), "`hostname` is text, got true", "put the value in quotes"),
            id="boolean as text",
        ),
        pytest.param(
            {"sysctl": {"net.ipv4.ip_forward": 1}},
            Problem(
                (*_OPTIONS, "sysctl", "net.ipv4.ip_forward"),
                "`net.ipv4.ip_forward` is text, got 1",
                "put the value in quotes",
            ),
            id="number as text in a map",
        ),
        pytest.param(
            {"sysctl": []},
            Problem(
                (*_OPTIONS, "sysctl"),
                "`sysctl` is a mapping of names to text, got a list",
                'write a line for each: name: "value"',
            ),
            id="list as map",
        ),
        pytest.param(
            {"oomScoreAdj": "5"},
            Problem(
                (*_OPTIONS, "oomScoreAdj"), "`oomScoreAdj` is a whole number, got `5`", "remove the quotes"
            ),
            id="text as number",
        ),
        pytest.param(
            {"oomScoreAdj": 1.5},
            Problem(
                (*_OPTIONS, "oomScoreAdj"), "`oomScoreAdj` is a whole number, got 1.5", "write a whole number"
            ),
            id="fraction as number",
        ),
        pytest.param(
            {"oomScoreAdj": True},
            Problem(
                (*_OPTIONS, "oomScoreAdj"),
                "`oomScoreAdj` is a whole number, got true",
                "write a whole number",
            ),
            id="boolean as number",
        ),
        pytest.param(
            {"uid": 1.0},
            Problem((*_OPTIONS, "uid"), "`uid` is a number or a name, got 1.0", "write a number or a name"),
            id="float as id",
        ),
        pytest.param(
            {"devices": [{"mode": 438}]},
            Problem(
                (*_OPTIONS, "devices", 0, "mode"),
                '`mode` is an octal string such as "0644", got 438',
                'put the digits in quotes, such as "0644": without them YAML reads a number',
            ),
            id="number as mode",
        ),
        pytest.param(
            {"resources": {"blockio": {"weight": 70000}}},
            Problem(
                (*_OPTIONS, "resources", "blockio", "weight"),
                "expected a number from 0 to 65535, got 70000",
                "give a number in that range",
            ),
            id="number out of range",
        ),
        pytest.param(
            {"hostname": 10**70},
            Problem(
                (*_OPTIONS, "hostname"), f"`hostname` is text, got 1{'0' * 56}...", "put the value in quotes"
            ),
            id="long values are cut",
        ),
    ],
)
def test_a_mistake_says_what_was_expected_what_came_and_what_to_do(
    options: dict[str, Any], problem: Problem
) -> None:
    assert [problem] == _problems(**options)


def test_a_mode_written_as_number_shows_an_octal_string() -> None:
    problems = validate({"files": [{"path": "a", "mode": 420}]}, CONFIG)

    assert [problem.message for problem in problems] == ['`mode` is an octal string such as "0644", got 420']


def test_format_is_one_of_two_words() -> None:
    problems = validate({"volumes": [{"format": "ocii"}]}, CONFIG)

    assert problems == [
        Problem(("volumes", 0, "format"), "expected `oci` or `filesystem`, got `ocii`", "did you mean `oci`?")
    ]


@pytest.mark.parametrize(("value", "got"), [([], "a list"), ("x", "`x`"), (None, "nothing"), (5, "5")])
def test_a_config_is_a_mapping(value: object, got: str) -> None:
    problems = validate(value, CONFIG)

    assert problems == [
        Problem(
            (),
            f"expected a mapping of sections such as kernel, init and services, got {got}",
            "start with a key such as `kernel:`",
        )
    ]


def test_name_and_image_are_required_and_all_mistakes_are_collected() -> None:
    problems = validate({"onboot": [{"tmpfs": 1}, {"name": "a"}], "zebra": 1}, CONFIG)

    assert [(problem.path, problem.message) for problem in problems] == [
        (("onboot", 0, "tmpfs"), "`tmpfs` is a list, got 1"),
        (("onboot", 0), "expected the key `name`"),
        (("onboot", 0), "expected the key `image`"),
        (("onboot", 1), "expected the key `image`"),
        (("zebra",), "unknown key `zebra`"),
    ]


@pytest.mark.parametrize("key", ["name", "image"])
def test_a_label_may_not_name_a_container_or_an_image(key: str) -> None:
    assert [problem.message for problem in validate({key: "x"}, LABEL)] == [f"unknown key `{key}`"]
