"""What is said of a command line of `kitbuild vendor` that cannot be meant."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from kitbuild.cli.vendoring import vendor
from kitbuild.errors import UsageError


@pytest.mark.parametrize("there", [True, False])
def test_config_in_place_of_the_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    if there:
        (tmp_path / "base.yml").touch()

    with pytest.raises(UsageError) as raised:
        vendor(Namespace(folder="base.yml", configs=["site.yml", "my bundle"]))

    assert raised.value.hint == "DIR comes first: kitbuild vendor 'my bundle' base.yml site.yml"
