"""What is told of two locks that differ."""

from __future__ import annotations

from kitbuild.cli.lock_changes import Change, LayersChange, added_platforms, as_json, changes, lines_of
from kitbuild.digest import Digest
from kitbuild.lock import Lock, LockedImage, LockedName, LockedVolume

NAME = "docker.io/library/redis:7"
ONE, TWO = Digest.of(b"1"), Digest.of(b"2")
SMALL, LARGE, OTHER = (Digest("0" * 63 + str(number), 1 << 20) for number in (1, 2, 3))


def locked(top: Digest, **layers: tuple[Digest, ...]) -> Lock:
    platforms = {
        f"linux/{name}": LockedImage(Digest.of(name.encode()), found, top) for name, found in layers.items()
    }
    return Lock(images={NAME: LockedName(top, platforms)})


def test_an_image_that_moved_tells_what_became_of_its_layers() -> None:
    old, new = locked(ONE, amd64=(SMALL, LARGE)), locked(TWO, amd64=(SMALL, OTHER, LARGE))

    found = changes(old, new)

    layers = LayersChange("linux/amd64", 1, 3, 1 << 20)
    assert found == [Change("image", NAME, ONE.oci, TWO.oci, (layers,))]
    assert list(lines_of(found)) == [
        f"{NAME}  {ONE.oci[:19]} -> {TWO.oci[:19]} (1 layer of 3 changed, +1.0 MiB)"
    ]
    assert as_json(found) == [
        {
            "kind": "image",
            "name": NAME,
            "old": ONE.oci,
            "new": TWO.oci,
            "platforms": [{"platform": "linux/amd64", "changed": 1, "layers": 3, "bytes": 1 << 20}],
        }
    ]


def test_of_several_platforms_each_is_told() -> None:
    old = locked(ONE, amd64=(SMALL,), arm64=(SMALL, LARGE))
    new = locked(TWO, amd64=(SMALL,), arm64=(LARGE,), riscv64=())

    (line,) = lines_of(changes(old, new))

    assert line.endswith(
        "(linux/amd64: 0 layers of 1 changed, +0 B; linux/arm64: 0 layers of 1 changed, -1.0 MiB)"
    )


def test_what_comes_and_goes_is_told() -> None:
    package = "package:pool/s/syslinux_6.04+b1_amd64.deb@sha256:" + "0" * 64
    old = Lock(
        configs={"https://x.example/a.yml": ONE}, volumes={f"{NAME} linux/amd64": LockedVolume(ONE, ())}
    )
    new = Lock(
        images=locked(ONE, amd64=()).images,
        loaders={"syslinux": {"amd64": (package,)}},
        volumes={f"{NAME} linux/amd64": LockedVolume(TWO, ())},
    )

    assert list(lines_of(changes(old, new))) == [
        f"config https://x.example/a.yml  removed (was {ONE.oci[:19]})",
        f"{NAME}  added: {ONE.oci[:19]}",
        "loader syslinux (amd64)  added: syslinux_6.04+b1_amd64.deb",
        f"volume {NAME} linux/amd64  {ONE.oci[:19]} -> {TWO.oci[:19]}",
    ]
    assert as_json(changes(old, new))[0]["new"] is None


def test_another_platform_of_the_same_content_is_no_change_but_told() -> None:
    old, new = locked(ONE, amd64=()), locked(ONE, amd64=(), arm64=())

    assert changes(old, new) == []
    assert added_platforms(old, new) == [f"{NAME} for linux/arm64"]
    assert added_platforms(old, old) == []


def test_names_obey_no_terminal() -> None:
    (line,) = lines_of([Change("config", "http://x/\x1b[2J", "", ONE.oci)])

    assert "\x1b" not in line
