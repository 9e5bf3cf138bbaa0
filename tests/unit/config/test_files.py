from __future__ import annotations

from textwrap import indent

import pytest

from tests.unit.config.configs import mistakes


def _mistakes(entry: str) -> list[str]:
    return mistakes("files:\n  -\n" + indent(entry, "    "))


@pytest.mark.parametrize(
    "entry",
    [
        "path: a\ncontents: ''\n",
        "path: a\nsource: x\noptional: true\n",
        "path: a\nmetadata: yaml\n",
        "path: a\nmetadata: json\n",
        "path: /a/b\nsymlink: x\n",
        "path: a/\ndirectory: true\nmode: '0755'\n",
        "path: a\nsymlink: x\ncontents: y\n",
        "path: a\ndirectory: true\nsymlink: x\n",
        "path: a..b\ncontents: ''\nmode: '7777'\nuid: 3\ngid: root\n",
    ],
)
def test_an_entry_with_one_kind_of_content_is_right(entry: str) -> None:
    assert _mistakes(entry) == []


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(
            "contents: a\n",
            "3:5 expected the path of the file (add `path:`, for example etc/motd)",
            id="no path",
        ),
        pytest.param(
            "path: /\ncontents: a\n",
            "3:11 expected the path of a file, got `/` (name what is in it)",
            id="the root as path",
        ),
        pytest.param(
            "path: a/../b\ncontents: a\n",
            "3:11 expected a path inside the system, got `a/../b` (write the path from the root, without `..`)",
            id="a path upwards",
        ),
        pytest.param(
            "path: a\n",
            "3:5 expected what is in `a`: `contents`, `source` or `metadata` "
            "(add one of them, or `directory: true` or `symlink:`)",
            id="no content",
        ),
        pytest.param(
            "path: a\ncontents: b\nsource: c\n",
            "5:13 expected one kind of content, got `contents` and `source` (keep one of them)",
            id="contents and source",
        ),
        pytest.param(
            "path: a\ncontents: b\nmetadata: yaml\n",
            "5:15 expected one kind of content, got `contents` and `metadata` (keep one of them)",
            id="contents and metadata",
        ),
        pytest.param(
            "path: a\nsource: b\nmetadata: yaml\n",
            "5:15 expected one kind of content, got `source` and `metadata` (keep one of them)",
            id="source and metadata",
        ),
        pytest.param(
            "path: a\ndirectory: true\nsource: c\n",
            "5:13 expected one kind of content, got `directory` and `source` (keep one of them)",
            id="directory and source",
        ),
        pytest.param(
            "path: a\nsymlink: b\nmetadata: json\n",
            "5:15 expected one kind of content, got `symlink` and `metadata` (keep one of them)",
            id="symlink and metadata",
        ),
        pytest.param(
            "path: a\ndirectory: true\ncontents: c\n",
            "5:15 a directory has no `contents` (remove `contents:` or `directory:`)",
            id="directory and contents",
        ),
        pytest.param(
            "path: a\nmetadata: xml\n",
            "4:15 expected `yaml` or `json`, got `xml` (did you mean `yaml`?)",
            id="xml",
        ),
        pytest.param(
            "path: a\ncontents: b\nmode: 0o644\n",
            '5:11 `mode` is an octal string such as "0644", got 420 '
            '(put the digits in quotes, such as "0644": without them YAML reads a number)',
            id="mode as number",
        ),
        pytest.param(
            'path: a\ncontents: b\nmode: "0o644"\n',
            '5:11 `mode` is an octal string such as "0644", got `0o644` (write three or four digits from 0 to 7)',
            id="mode in another spelling",
        ),
        pytest.param(
            'path: a\ncontents: b\nmode: "100644"\n',
            '5:11 `mode` is an octal string such as "0644", got `100644` (write three or four digits from 0 to 7)',
            id="mode with a file type",
        ),
        pytest.param(
            "path: a\ncontent: b\n",
            "4:5 unknown key `content` (did you mean `contents`?)",
            id="a misspelt key",
        ),
        pytest.param(
            'path: a\ncontents: b\ngid: "33"\n',
            "5:10 expected a number, `root` or the name of a container, got `33` "
            "(write the number without quotes)",
            id="a number in quotes",
        ),
    ],
)
def test_wrong_entries(entry: str, expected: str) -> None:
    assert [expected] == _mistakes(entry)
