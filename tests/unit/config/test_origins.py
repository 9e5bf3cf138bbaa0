from __future__ import annotations

from pathlib import Path
from typing import Any

from kitbuild.config.load import load
from kitbuild.config.origins import origins_of
from kitbuild.errors import ImageError
from kitbuild.image import Image, Platform
from kitbuild.record import Origin, Origins
from kitbuild.reference import Reference
from tests.unit.config.configs import written

CONFIG = """\
    kernel:
      image: t/kernel:v1
    init:
      - t/init:v1
    services:
      - name: web
        image: t/web:v1
        env: [A=1]
    files:
      - path: etc/one
        contents: x
      - path: etc/two
        source: local/two
    """
MORE = """\
    files:
      - path: etc/three
        contents: y
    """


def origins(folder: Path, images: Any = None, *, flags: Any = None) -> Origins:
    paths = [written(folder, CONFIG), written(folder, MORE, name="more.yml")]
    found = origins_of(load(paths), images or {}, {}, configs=("linuxkit.yml", "more.yml"), flags=flags or {})
    places = {name: place._replace(file=Path(place.file).name) for name, place in found.places.items()}
    return found._replace(places=places)


def test_every_section_image_and_file_has_its_place(tmp_path: Path) -> None:
    found = {name: (place.file, place.line) for name, place in origins(tmp_path).places.items()}

    assert found == {
        "kernel": ("linuxkit.yml", 2),
        "init t/init:v1": ("linuxkit.yml", 4),
        "services web": ("linuxkit.yml", 6),
        "files": ("linuxkit.yml", 10),
        "files[2]": ("more.yml", 2),
        "files: local/two": ("linuxkit.yml", 12),
        "image docker.io/t/kernel:v1": ("linuxkit.yml", 2),
        "image docker.io/t/init:v1": ("linuxkit.yml", 4),
        "image docker.io/t/web:v1": ("linuxkit.yml", 7),
    }


def test_section_says_what_is_written_and_where(tmp_path: Path) -> None:
    place = origins(tmp_path).places["services web"]

    value = {"name": "web", "image": "t/web:v1", "env": ["A=1"]}
    lines = {"name": 6, "image": 7, "env": 8, "env[0]": 8}
    assert place == Origin("linuxkit.yml", 6, 5, value, lines)


def test_long_text_is_told_by_its_hash(tmp_path: Path) -> None:
    config = load([written(tmp_path, f"files:\n  - path: a\n    contents: {'x' * 5000}\n")])

    (entry,) = origins_of(config, {}, {}, configs=(), flags={}).places["files"].value

    assert entry["contents"].startswith("sha256:")
    assert len(entry["contents"]) == 71


def test_passwords_in_urls_are_left_out(tmp_path: Path) -> None:
    secret = "https://me:hunter2@mirror.example/hub"
    images = {
        Reference.parse("t/web:v1"): Image(
            Reference.parse("t/web:v1"),
            f"registry:docker.io mirror={secret}",
            Platform("linux", "amd64"),
            (),
            None,  # type: ignore[arg-type]
        ),
        Reference.parse("t/init:v1"): ImageError(f"cannot read {secret}: refused"),
    }

    found = origins(tmp_path, images, flags={"--boot-loader syslinux": secret})

    assert "hunter2" not in repr(found)
    assert found.images["docker.io/t/web:v1"].source == "registry:docker.io mirror=https://mirror.example/hub"
