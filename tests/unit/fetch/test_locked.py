"""Images by the digests of a lock: out of any source that has the content, and checked."""

from __future__ import annotations

import json
from pathlib import Path

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Image, IndexName, Platform
from kitbuild.lock import Lock, LockedName, LockedVolume, locked_image, locked_volume, volume_name
from kitbuild.reference import Reference
from kitbuild.resolve import Pins, Resolver
from kitbuild.rules.fetch import locked, open_source
from tests.support.images import (
    MadeIndex,
    annotations_as_skopeo,
    docker_archive,
    hex_of,
    image,
    index,
    layout,
    oci_archive,
)
from tests.support.sboms import with_sbom
from tests.support.work import MemoryNotes

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
A = Reference.parse("t/a:v1")
ONE = image({"bin/a": "one"}, entrypoint=["/bin/a"])
TWO = image({"bin/a": "two"})
ARM = image({"bin/a": "arm"}, architecture="arm64")


def lock_of(found: Image) -> Lock:
    name = LockedName(found.top_index, {str(found.platform): locked_image(found)})
    return Lock(images={str(found.reference): name})


def resolver(lock: Lock, *sources: str, notes: MemoryNotes | None = None, offline: bool = True) -> Resolver:
    pins = Pins(lock, "x.lock", locked.image_at, locked.index_at, locked.agreeing, locked.holds)
    return Resolver(sources, notes or MemoryNotes(), open_source=open_source, offline=offline, pins=pins)


def found_in(source: str, platform: Platform = AMD64) -> Image:
    return open_source(source).image(A, platform)


def refusal(lock: Lock, *sources: str) -> ImageError:
    answer = resolver(lock, *sources).images([A], AMD64)[A]
    assert isinstance(answer, ImageError)
    return answer


def test_the_locked_image_is_found_under_another_name(tmp_path: Path) -> None:
    before = found_in(f"layout:{layout(tmp_path / 'one', {'t/a:v1': index(ONE, ARM)})}")
    moved = layout(tmp_path / "two", {"t/a:v1": TWO, "t/old:v0": index(ONE, ARM)})

    after = resolver(lock_of(before), f"layout:{moved}").image(A, AMD64)

    assert after == before._replace(source=f"layout:{moved}")


def test_an_index_nobody_names_any_more_is_found_by_its_blob(tmp_path: Path) -> None:
    folder = layout(tmp_path, {"t/a:v1": index(ONE, ARM)})
    before = found_in(f"layout:{folder}")
    (folder / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')

    assert resolver(lock_of(before), f"layout:{folder}").image(A, AMD64) == before


def test_the_manifest_alone_will_do_if_there_is_no_sbom(tmp_path: Path) -> None:
    before = found_in(f"layout:{layout(tmp_path / 'one', {'t/a:v1': index(ONE, ARM)})}")
    alone = layout(tmp_path / "two", {"t/a:v1": ONE}, annotations_as_skopeo)

    after = resolver(lock_of(before), f"layout:{alone}").image(A, AMD64)

    assert after.manifest == before.manifest
    assert after.top_index == before.top_index


def test_an_sbom_needs_the_index(tmp_path: Path) -> None:
    before = found_in(f"layout:{layout(tmp_path / 'one', {'t/a:v1': with_sbom(ONE)})}")
    alone = layout(tmp_path / "two", {"t/a:v1": ONE})

    error = refusal(lock_of(before), f"layout:{alone}")

    assert before.top_index is not None
    assert f"expected {before.top_index.oci} as in x.lock, got {ONE.digest} in {alone}" in error.message


def test_another_content_under_the_name_is_an_error_that_tells_both(tmp_path: Path) -> None:
    before = found_in(f"layout:{layout(tmp_path / 'one', {'t/a:v1': ONE})}")
    moved = layout(tmp_path / "two", {"t/a:v1": TWO})

    error = refusal(lock_of(before), f"layout:{moved}")

    assert error.message == f"{A}: expected {ONE.digest} as in x.lock, got {TWO.digest} in {moved}"
    assert error.hint is not None
    assert f"kitbuild update {A}" in error.hint


def test_what_no_source_has_is_not_found_offline(tmp_path: Path) -> None:
    before = found_in(f"layout:{layout(tmp_path, {'t/a:v1': ONE})}")

    error = refusal(lock_of(before))

    assert isinstance(error, ImageNotFoundError)
    assert "which none of the given sources has" in error.message


def test_a_broken_blob_is_an_error_and_not_a_reason_to_look_further(tmp_path: Path) -> None:
    before = found_in(f"layout:{layout(tmp_path / 'one', {'t/a:v1': ONE})}")
    broken = layout(tmp_path / "two", {"t/a:v1": ONE})
    (broken / "blobs/sha256" / hex_of(ONE.config)).write_bytes(b"x" * len(ONE.config))

    error = refusal(lock_of(before), f"layout:{broken}", f"layout:{tmp_path / 'one'}")

    assert f"expected content with digest sha256:{hex_of(ONE.config)}" in error.message


def test_what_was_read_once_is_not_read_again_and_comes_from_who_has_it_now(tmp_path: Path) -> None:
    first = layout(tmp_path / "one", {"t/a:v1": ONE})
    before = found_in(f"layout:{first}")
    notes = MemoryNotes()
    resolver(lock_of(before), f"layout:{first}", notes=notes).image(A, AMD64)
    other = oci_archive(tmp_path / "two.tar", {"t/b:v1": ONE})

    nowhere = resolver(lock_of(before), notes=notes).image(A, AMD64)
    (first / "blobs/sha256" / hex_of(ONE.layers[0])).unlink()
    elsewhere = resolver(lock_of(before), f"layout:{first}", f"archive:{other}", notes=notes).image(A, AMD64)

    assert nowhere == before._replace(source="registry:docker.io/t/a")
    assert elsewhere == before._replace(source=f"archive:{other}")


def test_a_lock_that_contradicts_itself_is_found_out(tmp_path: Path) -> None:
    source = f"layout:{layout(tmp_path, {'t/a:v1': index(ONE, ARM)})}"
    before, other = found_in(source), found_in(source, ARM64)
    wrong_manifest = LockedName(before.top_index, {str(AMD64): locked_image(other)})
    changed = locked_image(before)._replace(layers=(Digest.of(b"other"),))
    wrong_layers = LockedName(before.top_index, {str(AMD64): changed})

    one = refusal(Lock(images={str(A): wrong_manifest}), source)
    two = refusal(Lock(images={str(A): wrong_layers}), source)

    assert f"expected the manifest {ARM.digest} for linux/amd64, got {ONE.digest}" in one.message
    assert "expected the config and layers that its manifest has, got others" in two.message


def test_an_image_of_docker_save_is_known_by_its_content(tmp_path: Path) -> None:
    saved = docker_archive(tmp_path / "one.tar", {"t/a:v1": ONE})
    before = found_in(f"archive:{saved}")
    other = docker_archive(tmp_path / "two.tar", {"t/a:v1": TWO})
    as_layout = layout(tmp_path / "three", {"t/a:v1": ONE})
    lock = lock_of(before)

    assert resolver(lock, f"archive:{other}", f"archive:{saved}").image(A, AMD64) == before
    wrapped = resolver(lock, f"layout:{as_layout}").image(A, AMD64)
    assert [layer.diff_id for layer in wrapped.layers] == list(ONE.diff_ids)
    error = refusal(lock, f"archive:{other}")
    assert f"expected an image with the config sha256:{hex_of(ONE.config)}" in error.message
    assert f"got one with sha256:{hex_of(TWO.config)}" in error.message


def test_a_stored_image_is_locked_by_its_index(tmp_path: Path) -> None:
    name = IndexName(A, (AMD64, ARM64))
    source = f"layout:{layout(tmp_path / 'one', {'t/a:v1': index(ONE, ARM)})}"
    before = open_source(source).index(*name)
    lock = Lock(volumes={volume_name(name): locked_volume(before)})
    moved = layout(tmp_path / "two", {"t/a:v1": TWO, "t/b:v1": index(ONE, ARM)})
    notes = MemoryNotes()

    after = resolver(lock, f"layout:{moved}", notes=notes).indexes([name], AMD64)[name]
    noted = resolver(lock, notes=notes).indexes([name], AMD64)[name]
    gone = Lock(volumes={volume_name(name): LockedVolume(Digest.of(b"gone"), ())})
    error = resolver(gone, source).indexes([name], AMD64)[name]

    assert after == before._replace(source=f"layout:{moved}")
    assert noted == before._replace(source="registry:docker.io/t/a")
    assert isinstance(error, ImageError)
    assert f"expected {Digest.of(b'gone').oci} as in x.lock, got {before.top.digest.oci}" in error.message


def test_what_is_not_locked_is_looked_up_as_ever(tmp_path: Path) -> None:
    source = f"layout:{layout(tmp_path, {'t/a:v1': ONE})}"

    assert resolver(Lock(), source).image(A, AMD64) == found_in(source)


def test_only_a_source_near_by_is_asked_for_what_it_holds(tmp_path: Path) -> None:
    folder = layout(tmp_path / "one", {"t/a:v1": ONE})
    archive = oci_archive(tmp_path / "one.tar", {"t/a:v1": ONE})
    layer, none = Digest.of(ONE.layers[0]), Digest.of(b"none")

    for source in (open_source(f"layout:{folder}"), open_source(f"archive:{archive}")):
        assert locked.holds(source, [layer])
        assert not locked.holds(source, [layer, none])
    assert not locked.holds(open_source("registry:r.example/t/a"), [layer])
    assert not locked.holds(open_source(f"archive:{tmp_path / 'none.tar'}"), [layer])


def without_sbom(folder: Path, made: MadeIndex) -> str:
    """A layout that has an index, but not the attestation it lists, as programs leave it that copy an image."""
    layout(folder, {"t/a:v1": made})
    for entry in json.loads(made.manifest)["manifests"]:
        if "annotations" in entry:
            (folder / "blobs/sha256" / entry["digest"].removeprefix("sha256:")).unlink()
    return f"layout:{folder}"


def test_a_locked_sbom_is_not_left_out_where_a_layout_lacks_it(tmp_path: Path) -> None:
    whole = f"layout:{layout(tmp_path / 'one', {'t/a:v1': with_sbom(ONE)})}"
    partial = without_sbom(tmp_path / "two", with_sbom(ONE))
    before = found_in(whole)
    notes = MemoryNotes()

    error = resolver(lock_of(before), partial, notes=notes).images([A], AMD64)[A]
    after = resolver(lock_of(before), partial, whole, notes=notes).image(A, AMD64)

    assert before.sboms
    assert not found_in(partial).sboms
    assert isinstance(error, ImageNotFoundError)
    assert after.sboms == before.sboms


def test_an_sbom_that_is_not_locked_is_left_out(tmp_path: Path) -> None:
    whole = f"layout:{layout(tmp_path / 'one', {'t/a:v1': with_sbom(ONE)})}"
    partial = without_sbom(tmp_path / "two", with_sbom(ONE))

    after = resolver(lock_of(found_in(partial)), whole).image(A, AMD64)

    assert after.sboms == ()
