from __future__ import annotations

from typing import Any

import pytest

from kitbuild.config import options
from kitbuild.config.capabilities import meant
from kitbuild.config.options import Side
from kitbuild.config.resources import resources
from kitbuild.config.schema import Problem
from tests.unit.config.configs import config


def _mounts(**written: Any) -> tuple[dict[str, Any], list[Problem]]:
    """Mounts besides the defaults, by destination, and the mistakes."""
    side = Side({key.replace("_", "."): value for key, value in written.items()}, [])
    mounts: dict[str, Any] = {}
    volumes = config("volumes: [{name: data}, {name: fixed, readonly: true}]").volumes_by_name()
    options.add_tmpfs(side, mounts)
    options.add_binds(side, "binds", mounts, volumes)
    options.add_mounts(side, mounts, volumes)
    return mounts, side.problems


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/t", {"destination": "/t", "type": "tmpfs", "source": "tmpfs"}),
        ("/t:", {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": [""]}),
        ("/t:a,b=c", {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["a", "b=c"]}),
    ],
)
def test_tmpfs(text: str, mount: dict[str, Any]) -> None:
    mounts, problems = _mounts(tmpfs=[text])

    assert [mount] == list(mounts.values())
    assert problems == []


@pytest.mark.parametrize(
    ("text", "source", "shown"),
    [
        ("/a:/b", "/a", ["rw", "rbind", "rshared"]),
        ("/a:/b:ro", "/a", ["ro", "rbind"]),
        ("/a:/b:rshared,rbind", "/a", ["rshared", "rbind", "rbind"]),
        ("data:/b", "/containers/volumes/data/merged", ["rw", "rbind", "rshared"]),
        ("fixed:/b:ro", "/containers/volumes/fixed/merged", ["ro", "rbind"]),
    ],
)
def test_binds(text: str, source: str, shown: list[str]) -> None:
    mounts, problems = _mounts(binds=[text])

    assert mounts == {"/b": {"destination": "/b", "type": "bind", "source": source, "options": shown}}
    assert problems == []


@pytest.mark.parametrize(
    ("written", "mount"),
    [
        pytest.param(
            {"type": "cgroup", "options": ["ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
            id="type alone",
        ),
        *(
            pytest.param(
                {"source": name}, {"destination": at, "type": name, "source": name}, id=f"source {name}"
            )
            for name, at in (
                ("mqueue", "/dev/mqueue"),
                ("devpts", "/dev/pts"),
                ("proc", "/proc"),
                ("sysfs", "/sys"),
                ("cgroup", "/sys/fs/cgroup"),
            )
        ),
        pytest.param(
            {"destination": "/dev"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            id="dev alone",
        ),
        pytest.param(
            {"destination": "rel/ative/", "type": "overlay"},
            {"destination": "rel/ative/", "type": "overlay", "source": "overlay"},
            id="destination kept as it is",
        ),
        pytest.param(
            {"destination": "/a", "type": "bind", "source": "data", "options": ["rw"]},
            {
                "destination": "/a",
                "type": "bind",
                "source": "/containers/volumes/data/merged",
                "options": ["rw"],
            },
            id="volume",
        ),
        pytest.param(
            {"destination": "/a", "type": "bind", "source": "fixed", "options": ["ro", "rw"]},
            {
                "destination": "/a",
                "type": "bind",
                "source": "/containers/volumes/fixed/merged",
                "options": ["ro", "rw"],
            },
            id="volume that is read-only",
        ),
        pytest.param(
            {"destination": "/a", "type": "tmpfs", "source": "data"},
            {"destination": "/a", "type": "tmpfs", "source": "data"},
            id="only bind mounts name volumes",
        ),
    ],
)
def test_mounts(written: dict[str, Any], mount: dict[str, Any]) -> None:
    mounts, problems = _mounts(mounts=[written])

    assert [mount] == list(mounts.values())
    assert problems == []


def test_later_writers_win_a_place() -> None:
    mounts, _ = _mounts(
        tmpfs=["/a", "/b"], binds=["/x:/b", "/x:/c"], mounts=[{"destination": "/c", "type": "t"}]
    )

    assert {at: mount["type"] for at, mount in mounts.items()} == {"/a": "tmpfs", "/b": "bind", "/c": "t"}


def test_read_only_containers_have_read_only_dev_and_sys() -> None:
    writable, fixed = options.default_mounts(False), options.default_mounts(True)

    assert {at for at in fixed if fixed[at] != writable[at]} == {"/dev", "/sys"}
    assert all(fixed[at]["options"][-1] == "ro" for at in ("/dev", "/sys"))


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        pytest.param(
            {"tmpfs": ["/a:b:c"]},
            Problem(("tmpfs", 0), "expected a path or path:options, got `/a:b:c`", "separate options by `,`"),
            id="tmpfs with two colons",
        ),
        pytest.param(
            {"binds": ["/a"]},
            Problem(
                ("binds", 0),
                "expected source:destination or source:destination:options, got `/a`",
                "add `:` and the destination",
            ),
            id="bind without colon",
        ),
        pytest.param(
            {"binds": ["/a:/b:c:d"]},
            Problem(
                ("binds", 0),
                "expected source:destination or source:destination:options, got `/a:/b:c:d`",
                "separate options by `,`",
            ),
            id="bind with three colons",
        ),
        pytest.param(
            {"binds": ["dat:/b"]},
            Problem(
                ("binds", 0),
                "expected a path from `/` or the name of a volume, got `dat`",
                "did you mean `data`?",
            ),
            id="bind of no volume",
        ),
        pytest.param(
            {"binds": ["fixed:/b"]},
            Problem(
                ("binds", 0),
                "volume `fixed` is read-only: expected `fixed:/b:ro`, got `fixed:/b`",
                "bind it with the option `ro` alone",
            ),
            id="bind of a read-only volume",
        ),
        pytest.param(
            {"binds": ["fixed:/b:ro,rshared"]},
            Problem(
                ("binds", 0),
                "volume `fixed` is read-only: expected `fixed:/b:ro`, got `fixed:/b:ro,rshared`",
                "bind it with the option `ro` alone",
            ),
            id="bind of a read-only volume with more options",
        ),
        pytest.param(
            {"mounts": [{"type": "bind", "source": "zebra", "destination": "/a"}]},
            Problem(
                ("mounts", 0, "source"),
                "expected a path from `/` or the name of a volume, got `zebra`",
                "use one of `data`, `fixed`",
            ),
            id="mount of no volume",
        ),
        pytest.param(
            {"mounts": [{"type": "bind", "source": "fixed", "destination": "/a", "options": ["rw", "ro"]}]},
            Problem(
                ("mounts", 0, "options"),
                "volume `fixed` is read-only: expected the option `ro`, got `rw`",
                "add `ro` to the options",
            ),
            id="mount of a read-only volume",
        ),
        pytest.param(
            {"mounts": [{"destination": "/a"}]},
            Problem(
                ("mounts", 0),
                "expected the type of the mount at `/a`",
                "add `type:`, for example bind or tmpfs",
            ),
            id="mount without type",
        ),
        pytest.param(
            {"mounts": [{"type": "tmpfs"}]},
            Problem(("mounts", 0), "expected the destination of this tmpfs mount", "add `destination:`"),
            id="mount without destination",
        ),
    ],
)
def test_wrong_mounts(written: dict[str, Any], problem: Problem) -> None:
    _, problems = _mounts(**written)

    assert [problem] == problems


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "nofile,1",
            "expected name,soft,hard, got `nofile,1`",
            "write a limit such as nofile,1024,unlimited",
        ),
        ("nofil,1,2", "expected the name of a limit, got `nofil`", "did you mean `nofile`?"),
        (
            "nofile,x,2",
            "expected a number or `unlimited`, got `x`",
            "write a limit such as nofile,1024,unlimited",
        ),
        (
            "nofile,1,-2",
            "expected a number or `unlimited`, got `-2`",
            "write a limit such as nofile,1024,unlimited",
        ),
        pytest.param(
            f"nofile,1,{'9' * 5000}",
            f"expected a number or `unlimited`, got `{'9' * 57}...`",
            "write a limit such as nofile,1024,unlimited",
            id="5000 digits",
        ),
        (
            f"nofile,1,{1 << 64}",
            f"expected a number or `unlimited`, got `{1 << 64}`",
            "write a limit such as nofile,1024,unlimited",
        ),
    ],
)
def test_wrong_rlimits(text: str, message: str, hint: str) -> None:
    side = Side({"rlimits": ["cpu,1,2", text]}, [])

    limits = options.rlimits(side)

    assert [Problem(("rlimits", 1), message, hint)] == side.problems
    assert limits == [{"type": "RLIMIT_CPU", "hard": 2, "soft": 1}]


def test_devices_are_nodes_and_rules() -> None:
    side = Side(
        {
            "devices": [
                {"path": "all", "type": "b", "major": 5},
                {"path": "/dev/a", "type": "c", "mode": "666"},
            ]
        },
        [],
    )

    nodes, rules = options.devices(side)

    assert nodes == [{"path": "/dev/a", "type": "c", "major": 0, "minor": 0, "fileMode": 438}]
    assert rules == [
        {"allow": True, "type": "b", "access": "rwm"},
        {"allow": True, "type": "c", "major": 0, "minor": 0, "access": "rwm"},
    ]


@pytest.mark.parametrize(
    ("device", "message", "hint"),
    [
        (
            {"path": "/dev/a"},
            'expected the mode of device `/dev/a` in octal such as "0660", got none',
            'add `mode: "0660"`',
        ),
        (
            {"path": "/dev/a", "mode": "rw"},
            'expected the mode of device `/dev/a` in octal such as "0660", got `rw`',
            "correct `mode:`",
        ),
    ],
)
def test_wrong_device_modes(device: dict[str, Any], message: str, hint: str) -> None:
    side = Side({"devices": [device]}, [])

    options.devices(side)

    assert [Problem(("devices", 0, "mode"), message, hint)] == side.problems


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("CAP_NET_ADMN", "did you mean `CAP_NET_ADMIN`?"),
        ("net_admin", "did you mean `CAP_NET_ADMIN`?"),
        ("cap_kill", "did you mean `CAP_KILL`?"),
        ("all", "`all` must be the only entry: leave out the others or name each capability"),
        ("ZEBRA_HERD", "use a kernel capability such as `CAP_NET_ADMIN`, or `all`"),
    ],
)
def test_the_capability_that_was_meant(text: str, hint: str) -> None:
    assert hint == meant(text)


def test_resources_that_are_empty_print_what_is_no_pointer() -> None:
    written: dict[str, Any] = {
        "memory": {},
        "cpu": {},
        "pids": {},
        "blockio": {},
        "network": {},
        "devices": [],
    }

    value = resources(written, [])

    assert value == {"memory": {}, "cpu": {}, "pids": {"limit": 0}, "blockIO": {}, "network": {}}


def test_resources_print_what_was_written_in_the_order_of_the_specification() -> None:
    written = {
        "network": {"priorities": [{"name": "eth0"}], "classID": 0},
        "hugepageLimits": [{"pageSize": 2097152, "limit": 1}, {"pageSize": "2MB"}],
        "blockio": {
            "throttleWriteIOPSDevice": [{"rate": 5}],
            "weightDevice": [{"leafWeight": 0, "major": 8}],
            "leafWeight": 1,
            "weight": 0,
        },
        "pids": {},
        "cpu": {"mems": "", "cpus": "0", "realtimePeriod": 3, "shares": 1e3},
        "memory": {"disableOOMKiller": False, "kernelTCP": 0, "limit": 1e6},
        "devices": [{}, {"allow": True, "type": "c", "major": 0, "minor": 1, "access": "r"}],
    }

    value = resources(written, [{"allow": True}])

    assert value == {
        "devices": [
            {"allow": False},
            {"allow": True, "type": "c", "major": 0, "minor": 1, "access": "r"},
            {"allow": True},
        ],
        "memory": {"limit": 1000000, "kernelTCP": 0, "disableOOMKiller": False},
        "cpu": {"shares": 1000, "realtimePeriod": 3, "cpus": "0"},
        "pids": {"limit": 0},
        "blockIO": {
            "weight": 0,
            "leafWeight": 1,
            "weightDevice": [{"major": 8, "minor": 0, "leafWeight": 0}],
            "throttleWriteIOPSDevice": [{"major": 0, "minor": 0, "rate": 5}],
        },
        "hugepageLimits": [{"pageSize": "2097152", "limit": 1}, {"pageSize": "2MB", "limit": 0}],
        "network": {"classID": 0, "priorities": [{"name": "eth0", "priority": 0}]},
    }
    assert list(value) == ["devices", "memory", "cpu", "pids", "blockIO", "hugepageLimits", "network"]
    assert type(value["memory"]["limit"]) is int
