from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.compare.values import (
    CONFIG_JSON,
    FILES,
    RUNTIME_JSON,
    SETTINGS,
    Change,
    Listed,
    changes,
    word_changes,
)

CONFIG: dict[str, Any] = {
    "process": {
        "args": ["/bin/web", "-p", "80"],
        "env": ["PORT=80", "HOME=/"],
        "cwd": "/",
        "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"]},
    },
    "mounts": [
        {"destination": "/proc", "type": "proc"},
        {"destination": "/srv", "source": "/etc", "options": ["ro"]},
    ],
    "linux": {"namespaces": [{"type": "mount"}], "resources": {"memory": {"limit": 1}}},
}


def edited(way: str, value: Any) -> dict[str, Any]:
    """CONFIG with another value at a way such as `process.cwd`."""
    document: Any = copy.deepcopy(CONFIG)
    *folders, last = way.split(".")
    inner = document
    for folder in folders:
        inner = inner[folder]
    inner[last] = value
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize(
    ("way", "value", "expected"),
    [
        pytest.param(
            "process.args", ["/bin/web", "-p", "81"], [Change("process.args[2]", "80", "81")], id="argument"
        ),
        pytest.param(
            "process.args",
            ["/bin/web", "-p", "80", "-v"],
            [Change("process.args[3]", None, "-v")],
            id="argument at the end",
        ),
        pytest.param(
            "process.args",
            ["/bin/sh", "/bin/web", "-p", "80"],
            [Change("process.args", ["/bin/web", "-p", "80"], ["/bin/sh", "/bin/web", "-p", "80"])],
            id="argument in front, told as a whole",
        ),
        pytest.param(
            "process.env",
            ["PORT=81", "TZ=UTC"],
            [Change("env HOME", "/", None), Change("env PORT", "80", "81"), Change("env TZ", None, "UTC")],
            id="environment by name",
        ),
        pytest.param(
            "process.env",
            ["HOME=/", "PORT=80"],
            [Change("order of process.env", ["PORT", "HOME"], ["HOME", "PORT"])],
            id="another order alone",
        ),
        pytest.param(
            "process.capabilities",
            {"bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_CHOWN"], "ambient": []},
            [Change("capability CAP_KILL", None, ["bounding"])],
            id="capability",
        ),
        pytest.param(
            "mounts",
            [{"destination": "/proc", "type": "proc"}],
            [Change("mount /srv", {"destination": "/srv", "source": "/etc", "options": ["ro"]}, None)],
            id="mount removed",
        ),
        pytest.param(
            "mounts",
            [CONFIG["mounts"][0], {"destination": "/srv", "source": "/usr", "options": ["ro"]}],
            [Change("mount /srv source", "/etc", "/usr")],
            id="mount from elsewhere",
        ),
        pytest.param(
            "linux.resources",
            {"memory": {"limit": 2}, "pids": {"limit": 3}},
            [
                Change("linux.resources.memory.limit", 1, 2),
                Change("linux.resources.pids", None, {"limit": 3}),
            ],
            id="resources",
        ),
        pytest.param("process.cwd", True, [Change("process.cwd", "/", True)], id="another type"),
    ],
)
def test_a_field_of_a_container_is_told_in_its_users_words(
    way: str, value: Any, expected: list[Change]
) -> None:
    assert expected == changes(CONFIG, edited(way, value), CONFIG_JSON)


def test_true_is_not_1() -> None:
    assert [Change("limit", True, 1)] == changes({"limit": True}, {"limit": 1}, {})


def test_files_of_a_config_are_told_by_their_paths() -> None:
    before = [{"path": "a", "mode": "0644"}, {"path": "b", "contents": "x"}]
    after = [{"path": "a", "mode": "0600"}, {"path": "c", "contents": "x"}]

    found = changes(before, after, FILES)

    assert [
        Change("a mode", "0644", "0600"),
        Change("b", {"path": "b", "contents": "x"}, None),
        Change("c", None, {"path": "c", "contents": "x"}),
    ] == found


def test_a_setting_is_where_it_is_written_now_or_was() -> None:
    before = {"env": ["A=1", "B=2"], "runtime": {"mkdir": ["/x"]}}
    after = {"env": ["B=3"], "command": ["c"]}
    lines = ({"env[0]": "old:2", "runtime": "old:9"}, {"env[0]": "new:2", "command": "new:5"})

    found = changes(before, after, SETTINGS, lines=lines)

    assert {"command": "new:5", "env A": "old:2", "env B": "new:2", "runtime": "old:9"} == {
        change.field: change.where for change in found
    }


def test_two_elements_of_one_name_are_numbered() -> None:
    before = {"mounts": [{"destination": "/a"}]}
    after = {"mounts": [{"destination": "/a"}, {"destination": "/a", "options": ["remount"]}]}

    found = changes(before, after, RUNTIME_JSON)

    assert ["runtime mount /a #2"] == [change.field for change in found]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a b", "a b", []),
        ("a", "a quiet", [Change("quiet", None, "quiet")]),
        ("root=/dev/sda rw", "root=/dev/sdb rw", [Change("root", "root=/dev/sda", "root=/dev/sdb")]),
        (
            "console=tty0 console=ttyS0",
            "console=ttyS0",
            [Change("console", "console=tty0", None)],
        ),
        ("a b", "b a", [Change("order of words", "a b", "b a")]),
        ("order=4", "order=5", [Change("order", "order=4", "order=5")]),
        ("a a", "a", [Change("a", "a", None)]),
    ],
)
def test_a_command_line_is_told_word_by_word(before: str, after: str, expected: list[Change]) -> None:
    assert expected == word_changes(before, after)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b=1", "b=2", "/a:/b"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["path", "destination", "mounts", "env", "process", "capabilities"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
TABLES = [CONFIG_JSON, RUNTIME_JSON, SETTINGS, FILES]


@given(before=JSON, after=JSON, table=st.sampled_from(TABLES))
def test_the_other_way_round_the_same_differs(before: Any, after: Any, table: dict[str, Listed]) -> None:
    there, back = changes(before, after, table), changes(after, before, table)

    assert there == [change.reversed() for change in back]


@given(value=JSON, table=st.sampled_from(TABLES))
def test_nothing_differs_from_itself(value: Any, table: dict[str, Listed]) -> None:
    assert [] == changes(value, copy.deepcopy(value), table)


WORDS = st.lists(st.sampled_from(["a", "a=1", "a=2", "b", "=c"]), max_size=6).map(" ".join)


@given(before=WORDS, after=WORDS)
def test_a_command_line_is_told_the_same_the_other_way_round(before: str, after: str) -> None:
    there, back = word_changes(before, after), word_changes(after, before)

    assert there == [change.reversed() for change in back]
    assert (not there) == (before.split() == after.split())
