"""The files of formats: what is told of them is what they write."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from kitbuild.cli.format_outputs import output_names
from kitbuild.cli.formats import run
from kitbuild.cli.page import plain
from kitbuild.cli.topics import TOPICS
from kitbuild.registry import formats

GOLDEN = Path(__file__).parents[2] / "golden" / "formats"


@pytest.mark.parametrize("name", sorted(formats()))
def test_every_format_tells_the_names_of_its_files(name: str) -> None:
    built = {
        line.rpartition("/")[2] for path in GOLDEN.glob("*64.txt") for line in path.read_text().splitlines()
    }

    told = output_names(formats()[name], "linuxkit")

    assert told
    assert set(told) <= built


def test_iso_is_a_hybrid_one(capsys: pytest.CaptureFixture[str]) -> None:
    run(Namespace(json=True))
    listed = {one["name"]: one["outputs"] for one in json.loads(capsys.readouterr().out)}
    run(Namespace(json=False))
    text = capsys.readouterr().out

    assert listed["iso"] == ["-hybrid.iso"]
    assert listed["kernel+initrd"] == ["-kernel", "-cmdline", "-initrd.img"]
    assert " -> NAME-hybrid.iso [" in text


def test_topic_tells_what_goes_into_a_pipe_alone() -> None:
    text = plain(TOPICS["formats"].page(), 10_000)

    assert "`docker` and `tar` are streams" in text
    assert "NAME-efi.qcow2" in text
