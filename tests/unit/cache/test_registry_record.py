from __future__ import annotations

import json

import pytest

from kitbuild.cache.action_result import encode
from kitbuild.cache.registry_record import (
    ANNOTATION,
    MANIFEST_TYPE,
    MOST_ANNOTATED_BYTES,
    MOST_MANIFEST_BYTES,
    RECORD_TYPE,
    manifest_of,
    read_manifest,
    tag_of,
)
from kitbuild.cache.remote import MOST_RECORD_BYTES, Record
from kitbuild.digest import Digest
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result

EMPTY = Digest.of(b"{}")


def record_of(number: int, size: int = 10) -> Record:
    """A record of so many blobs, all present, each said to have `size` bytes."""
    blobs = tuple(Digest(f"{index:064x}", size) for index in range(number))
    result = Result(Artifact("tree", Digest.of(b"a tree")), blobs, 1.5)
    return Record(result, result.content())


def manifest(record: Record) -> dict[str, object]:
    made = json.loads(manifest_of(record, encode(record)))
    assert isinstance(made, dict)
    return made


def test_tag_is_one_that_registries_take() -> None:
    tag = tag_of(Key("ab" * 32))

    assert "kitbuild-" + "ab" * 32 == tag
    assert len(tag) <= 128


def test_manifest_names_what_is_present_in_its_layers() -> None:
    record = record_of(2)

    layers = [
        {"mediaType": "application/octet-stream", "digest": digest.oci, "size": digest.size}
        for digest in record.present
    ]
    made = manifest(record)
    assert (2, MANIFEST_TYPE, RECORD_TYPE) == (
        made["schemaVersion"],
        made["mediaType"],
        made["artifactType"],
    )
    assert layers == made["layers"]
    assert {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": EMPTY.oci,
        "size": EMPTY.size,
    } == made["config"]


def test_content_present_twice_is_named_once() -> None:
    record = record_of(1)
    twice = record._replace(present=record.present * 2)

    assert manifest(record)["layers"] == manifest(twice)["layers"]


def test_manifest_of_nothing_present_has_a_layer_all_the_same() -> None:
    made = manifest(record_of(2)._replace(present=()))

    assert [made["config"]] == made["layers"]


def test_record_in_a_manifest_is_read_back() -> None:
    content = encode(record_of(3))

    assert content == read_manifest(manifest_of(record_of(3), content))


def test_large_record_is_the_first_layer() -> None:
    record = record_of(8000)
    content = encode(record)
    assert MOST_ANNOTATED_BYTES < len(content)

    made = manifest_of(record, content)

    assert Digest.of(content) == read_manifest(made)
    assert "annotations" not in json.loads(made)


@pytest.mark.parametrize("size", [0, 10**15])
@pytest.mark.parametrize("limit", [MOST_ANNOTATED_BYTES, MOST_RECORD_BYTES])
def test_manifest_of_the_largest_record_is_one_that_registries_take(limit: int, size: int) -> None:
    each = len(encode(record_of(1001, size))) - len(encode(record_of(1000, size)))
    record = record_of(int(0.98 * limit / each), size)
    content = encode(record)
    assert limit * 0.95 < len(content) <= limit

    made = manifest_of(record, content)

    assert len(made) <= MOST_MANIFEST_BYTES


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not JSON",
        b"[]",
        b"7",
        b"{}",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"layers": []}',
        b'{"layers": [7]}',
        b'{"annotations": 7}',
        b'{"annotations": {"%s": 7}}' % ANNOTATION.encode(),
        b'{"annotations": {"%s": "no base64!"}}' % ANNOTATION.encode(),
        b'{"annotations": {"other": "x"}, "layers": [{"mediaType": "image", "digest": "x", "size": 1}]}',
        b'{"layers": [{"mediaType": "%s", "digest": "sha256:x", "size": 1}]}' % RECORD_TYPE.encode(),
        b'{"layers": [{"mediaType": "%s", "digest": "sha256:x", "size": "1"}]}' % RECORD_TYPE.encode(),
        b'{"layers": [{"mediaType": "%s", "digest": "%s", "size": 5000000}]}'
        % (RECORD_TYPE.encode(), EMPTY.oci.encode()),
    ],
)
def test_what_is_no_record_is_not_read_as_one(content: bytes) -> None:
    assert read_manifest(content) is None
