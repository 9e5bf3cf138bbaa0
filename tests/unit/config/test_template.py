"""`@pkg:` templates as far as no git is needed: where they count, and packages that name no image."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest

from kitbuild.config.load import load
from kitbuild.config.model import TEMPLATE
from kitbuild.errors import ConfigErrors
from kitbuild.reference import Reference
from tests.unit.config.configs import shown, written


def mistakes(path: str) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        load([path])
    return [shown(error) for error in raised.value.errors]


@pytest.mark.parametrize("text", ["@reboot", "@", "@pkg", "a @pkg:b", "@PKG:x"])
def test_other_text_with_an_at_sign_stays(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, f"files:\n  - path: etc/crontab\n    contents: '{text}'\n")

    system = load([path])

    assert text == system.files[0].contents


def test_nothing_is_replaced_on_stdin_alone() -> None:
    system = load(["-"], stdin=BytesIO(b'init: ["@pkg:../init"]\n'))

    assert system.init[0].reference == Reference(TEMPLATE, "../init")


def test_templates_count_on_stdin_behind_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, "init: [a]\n")

    with pytest.raises(ConfigErrors) as raised:
        load([path, "-"], stdin=BytesIO(b'init: ["@pkg:gone"]\n'))

    assert [shown(error) for error in raised.value.errors] == [
        "1:8 `@pkg:gone`: cannot read gone/build.yml: no such file or directory (name the folder of a package)"
    ]


def test_every_scalar_may_be_a_template_and_each_has_its_place(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        kernel:
          image: "@pkg:one"
        services:
          - name: web
            image: "@pkg:two"
            sysctl: {a: "@pkg:three"}
            env: ["@pkg:four"]
            readonly: true
            oomScoreAdj: 5
        """,
    )

    found = mistakes(path)

    assert [text.partition(":")[0] for text in found] == ["3", "6", "7", "8"]
    assert [text.partition("`")[2].partition("`")[0] for text in found] == [
        "@pkg:one",
        "@pkg:two",
        "@pkg:three",
        "@pkg:four",
    ]


@pytest.mark.parametrize("rest", ["../packages/x", "/../packages/x", "sub/..///../packages/./x"])
def test_folder_is_seen_from_the_folder_of_the_config(tmp_path: Path, rest: str) -> None:
    (tmp_path / "configs").mkdir()
    path = written(tmp_path / "configs", f'init: ["@pkg:{rest}"]\n')

    [found] = mistakes(path)

    assert f"cannot read {tmp_path}/packages/x/build.yml: no such file or directory" in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "org: acme\n", "build.yml:1:1: expected the name of an image in `image`, got none", id="no image"
        ),
        pytest.param(
            "image: 5\n", "build.yml:1:8: expected the name of an image in `image`, got `5`", id="number"
        ),
        pytest.param(
            "image: x\norg: []\n", "build.yml:2:6: expected the name of an image in `org`", id="org"
        ),
        pytest.param(
            "imge: x\n", "build.yml:1:1: unknown key `imge` (did you mean `image`?)", id="unknown key"
        ),
        pytest.param("image: x\nimage: y\n", "build.yml:2:1: expected each key once", id="key twice"),
        pytest.param("image: [\n", "build.yml:", id="no YAML"),
        pytest.param(
            "image: x\nextra-sources: [a:b:c]\n",
            "build.yml:2:16: expected `folder:destination` in `extra-sources`, got `a:b:c`",
            id="extra source",
        ),
        pytest.param(
            "image: x\nextra-sources: {a: b}\n",
            "expected `folder:destination` in `extra-sources`",
            id="no list",
        ),
    ],
)
def test_package_that_names_no_image_is_a_mistake(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "package").mkdir()
    written(tmp_path / "package", text, name="build.yml")
    path = written(tmp_path, 'init: ["@pkg:package"]\n')

    [found] = mistakes(path)

    assert found.startswith("1:8 `@pkg:package`: ")
    assert message in found


def test_package_that_is_named_often_is_one_look_and_a_mistake_each(tmp_path: Path) -> None:
    path = written(tmp_path, 'init: ["@pkg:x", "@pkg:x"]\n')

    assert [text.partition(" ")[0] for text in mistakes(path)] == ["1:8", "1:18"]


def test_path_with_a_nul_is_a_mistake(tmp_path: Path) -> None:
    path = written(tmp_path, 'init: ["@pkg:x\\0y"]\n')

    [found] = mistakes(path)

    assert "cannot read" in found
