"""Resolver with real sources: a layout, an archive, a registry that goes away."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.errors import ImageError
from kitbuild.image import Image, Platform
from kitbuild.reference import Reference
from kitbuild.resolve import Resolver
from kitbuild.rules.fetch import open_source
from tests.support.command import Site
from tests.support.images import docker_archive, image, index, layout
from tests.support.registry import registry
from tests.support.work import MemoryNotes

pytestmark = pytest.mark.integration

AMD64 = Platform("linux", "amd64")


def test_all_kinds_of_sources_work_together(tmp_path: Path) -> None:
    made = [image({"number": str(number)}) for number in range(3)]
    layout(tmp_path / "layout", {"t/one:v1": made[0]})
    docker_archive(tmp_path / "two.tar", {"t/two:v1": made[1]})

    with registry(tmp_path / "registry") as server:
        third = server.push("t/three:v1", index(made[2], attestations=True))
        names = [Reference.parse(name) for name in ("t/one:v1", "t/two:v1", third)]
        sources = [f"layout:{tmp_path / 'layout'}", f"archive:{tmp_path / 'two.tar'}"]

        found = Resolver(sources, MemoryNotes(), open_source=open_source).images(names, AMD64)

    diff_ids = [answer.layers[0].diff_id for answer in found.values() if isinstance(answer, Image)]
    assert diff_ids == [each.diff_ids[0] for each in made]


def test_what_registries_answered_is_known_when_they_are_gone(tmp_path: Path) -> None:
    notes = MemoryNotes()
    with registry(tmp_path / "registry") as server:
        names = [
            Reference.parse(server.push(f"t/{number}:v1", image({"n": str(number)}))) for number in range(12)
        ]
        before = Resolver([], notes, open_source=open_source).images(names, AMD64)

    after = Resolver([], notes, open_source=open_source).images(names, AMD64)

    assert before == after
    assert all(isinstance(answer, Image) for answer in after.values())
    pulled = Resolver([], notes, open_source=open_source, pull=True).images(names[:1], AMD64)[names[0]]
    assert isinstance(pulled, ImageError)
    assert "cannot reach the registry" in pulled.message


def test_offline_no_registry_is_asked_for_layers_either(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    with registry(tmp_path / "registry") as server:
        name = server.push("t/app:v1", image({"app": "one"}))
        site.write("linuxkit.yml", f"services:\n  - {{name: app, image: {name}, command: [/app]}}\n")
        site.run("build", "linuxkit.yml")
        asked = server.requests()
        cached = site.run("build", "--offline", "linuxkit.yml")
        # What the registry answered for the tag stays noted, the layer goes.
        site.run("cache", "gc", "--max-size", "0")

        emptied = site.run("build", "--offline", "--name", "other", "linuxkit.yml", status=1)

        assert asked == server.requests()
    assert cached.counts["run"] == 0
    assert emptied.stderr.startswith("error: linuxkit.yml:2:")
    assert "registries are not asked offline\n" in emptied.stderr
    assert "hint: build without `--offline`" in emptied.stderr
