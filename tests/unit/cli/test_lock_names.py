"""What the words of `kitbuild update` stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.cli.lock_names import keys_of, split_words
from kitbuild.config.load import load
from kitbuild.config.model import Config
from kitbuild.digest import Digest
from kitbuild.errors import UsageError
from kitbuild.lock import Lock, LockedName

CONFIG = """\
kernel:
  image: linuxkit/kernel:6.6
init:
  - linuxkit/init:v1
onboot:
  - name: setup
    image: redis:7
services:
  - name: cache
    image: redis:7
  - name: web
    image: registry.example:5000/shop/web:v2
volumes:
  - name: store
    image: redis:6
    format: oci
"""
KERNEL, INIT = "docker.io/linuxkit/kernel:6.6", "docker.io/linuxkit/init:v1"
REDIS, OLD_REDIS = "docker.io/library/redis:7", "docker.io/library/redis:6"
WEB, GRUB = "registry.example:5000/shop/web:v2", "docker.io/x/grub:1"
LOCK = Lock(
    configs={"https://x.example/base.yml": Digest.of(b"")},
    images={name: LockedName(None, {}) for name in (KERNEL, INIT, REDIS, WEB, GRUB)},
    loaders={"grub": {"amd64": (f"image:{GRUB}",)}, "syslinux": {"amd64": ()}},
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "linuxkit.yml"
    path.write_text(CONFIG)
    return load([str(path)])


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        pytest.param("redis:7", {REDIS}, id="as written"),
        pytest.param("redis", {REDIS, OLD_REDIS}, id="without tag"),
        pytest.param(REDIS, {REDIS}, id="whole name"),
        pytest.param("linuxkit/*", {KERNEL, INIT}, id="pattern"),
        pytest.param("*/web", {WEB}, id="pattern without tag"),
        pytest.param("registry.example:5000/shop/web", {WEB}, id="registry with a port"),
        pytest.param("services", {REDIS, WEB}, id="section"),
        pytest.param("cache", {REDIS}, id="name of a service"),
        pytest.param("services web", {WEB}, id="section of the graph"),
        pytest.param("kernel", {KERNEL}, id="kernel"),
        pytest.param("store", {OLD_REDIS}, id="volume"),
        pytest.param("syslinux", {"syslinux"}, id="boot loader"),
        pytest.param("boot loaders", {"grub", "syslinux"}, id="all boot loaders"),
        pytest.param("x/grub", {GRUB}, id="image of a boot loader"),
        pytest.param("configs", {"https://x.example/base.yml"}, id="remote configs"),
        pytest.param(
            "*", {KERNEL, INIT, REDIS, OLD_REDIS, WEB, GRUB, *LOCK.loaders, *LOCK.configs}, id="all"
        ),
    ],
)
def test_a_word_stands_for(word: str, keys: set[str], config: Config) -> None:
    assert keys == keys_of([word], config, LOCK)


def test_several_words_stand_for_all_of_theirs(config: Config) -> None:
    assert keys_of(["kernel", "web"], config, LOCK) == {KERNEL, WEB}
    assert keys_of([], config, LOCK) == set()


def test_a_word_for_nothing_is_a_mistake(config: Config) -> None:
    with pytest.raises(UsageError) as caught:
        keys_of(["kernal"], config, LOCK)

    assert caught.value.hint == "did you mean `kernel`?"


def test_configs_are_told_from_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "system").write_text("")

    words = ["redis", "a.yml", "http://x.example/b", "-", "b.yaml", "system", "x/*"]

    assert split_words(words, False) == (
        ["redis", "x/*"],
        ["a.yml", "http://x.example/b", "-", "b.yaml", "system"],
    )


def test_the_config_with_the_only_lock_is_meant_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.yml", "a.yml.lock", "requirements.lock", "b.yml"):
        (tmp_path / name).write_text("")

    assert split_words(["redis"], False) == (["redis"], ["a.yml"])
    (tmp_path / "b.yml.lock").write_text("")
    with pytest.raises(UsageError, match="expected a config, got 2 with a lock here"):
        split_words(["redis"], False)
    with pytest.raises(UsageError, match="expected a config, got none"):
        split_words(["redis"], True)


def test_configs_with_a_lock_here_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.yml", "a.yml.lock", "b.yml", "b.yml.lock", "c.yml", "gone.yml.lock"):
        (tmp_path / name).touch()

    with pytest.raises(UsageError) as raised:
        split_words(["redis"], has_lock=False)

    assert raised.value.message == "expected a config, got 2 with a lock here"
    assert raised.value.hint == "name one: `a.yml`, `b.yml`"
