"""fetch/file: a file of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import RuleError
from kitbuild.node import Node, ingredients_of
from kitbuild.rule import Artifact
from kitbuild.rules.fetch import file
from kitbuild.rules.fetch.file import FileOptions
from tests.support.work import FolderWork, run


@pytest.mark.parametrize("data", [b"", b"x", bytes(3 << 20)])
def test_the_file_comes_out(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "f").write_bytes(data)
    work = FolderWork(FileOptions(*Digest.of(data), str(tmp_path / "f")), tmp_path / "work")

    artifact = run(file.RULE, work)

    assert artifact == Artifact("blob", Digest.of(data))
    assert work.kept() == {artifact.digest.hex}


@pytest.mark.parametrize("now", [b"", b"befor", b"before!", b"BEFORE"])
def test_a_file_that_changed_is_refused(tmp_path: Path, now: bytes) -> None:
    (tmp_path / "f").write_bytes(now)
    work = FolderWork(FileOptions(*Digest.of(b"before"), str(tmp_path / "f")), tmp_path / "work")

    with pytest.raises(RuleError, match=r"`.*/f` changed while it was used"):
        run(file.RULE, work)

    assert work.kept() == set()


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    work = FolderWork(FileOptions(*Digest.of(b"zero"), "/dev/zero"), tmp_path / "work")

    with pytest.raises(RuleError, match="changed"):
        run(file.RULE, work)


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    work = FolderWork(FileOptions(*Digest.of(b""), str(tmp_path / "f")), tmp_path / "work")

    with pytest.raises(RuleError, match=r"cannot read `.*/f`: No such file"):
        run(file.RULE, work)


def test_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(b"content")
    monkeypatch.setenv("HOME", str(tmp_path))
    work = FolderWork(FileOptions(*Digest.of(b"content"), "~/f"), tmp_path / "work")

    assert run(file.RULE, work) == Artifact("blob", Digest.of(b"content"))


def test_where_a_file_lies_is_not_in_its_key() -> None:
    one, two = (
        ingredients_of(Node("n", file.RULE, FileOptions("0" * 64, 1, path)), {}).key() for path in "ab"
    )

    assert one == two
