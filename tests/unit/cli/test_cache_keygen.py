from __future__ import annotations

import argparse
import json
import stat
from pathlib import Path

import pytest

from kitbuild.cache.signed import public_key
from kitbuild.cli import cache_keygen
from kitbuild.errors import KitbuildError, UsageError


def run(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="kitbuild cache")
    cache_keygen.add(parser.add_subparsers())
    arguments = parser.parse_args(["keygen", *words])
    status: int = arguments.run(arguments)
    return status


def test_secret_key_goes_to_the_file_and_its_public_key_to_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "key"

    status = run(str(file))

    out, err = capsys.readouterr()
    secret = file.read_text().strip()
    assert status == 0
    assert f"{public_key(secret)}\n" == out
    assert f"{secret}\n" == file.read_text()
    assert secret not in out + err


def test_how_to_use_both_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(str(tmp_path / "key"))

    out, err = capsys.readouterr()
    assert f"the secret key is in {tmp_path}/key" in err
    assert "--signing-key" in err
    assert "KITBUILD_SIGNING_KEY" in err
    assert f'trusted-keys = ["{out.strip()}"]' in err


def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    run(str(tmp_path / "key"))

    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_file_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("precious")

    with pytest.raises(UsageError, match="exists, and may be the only copy"):
        run(str(tmp_path / "key"))

    assert (tmp_path / "key").read_text() == "precious"


def test_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UsageError):
        run(str(tmp_path / "key"))

    assert not (tmp_path / "elsewhere").exists()


def test_file_is_among_the_users_settings_if_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    run()

    assert public_key((tmp_path / "config" / "kitbuild" / "signing-key").read_text().strip())
    assert stat.S_IMODE((tmp_path / "config" / "kitbuild").stat().st_mode) == 0o700


def test_json_has_the_public_key_and_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("--json", str(tmp_path / "key"))

    out, err = capsys.readouterr()
    secret = (tmp_path / "key").read_text().strip()
    assert {"public_key": public_key(secret), "file": f"{tmp_path}/key"} == json.loads(out)
    assert err == ""


def test_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(KitbuildError, match="cannot write"):
        run(str(tmp_path / "file" / "key"))
