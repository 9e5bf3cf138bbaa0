"""The SBOMs of images joined into one."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from kitbuild.errors import RuleError
from kitbuild.rule import Artifact
from kitbuild.rules.assemble.sbom import RULE, SbomOptions
from kitbuild.system import MTIME
from kitbuild.tree import Entry
from tests.support.work import FolderWork, run

CREATED = "2017-04-18T16:30:00Z"
SPDX = "https://spdx.dev/Document"
PREFIX = "https://github.com/linuxkit/linuxkit/sbom-"


def statement(**document: Any) -> bytes:
    """An in-toto statement about an SPDX document with these fields."""
    predicate = {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", **document}
    return json.dumps({"_type": "x", "predicateType": SPDX, "predicate": predicate}).encode()


def joined_bytes(folder: Path, *images: tuple[str, bytes], path: str = "sbom.spdx.json") -> bytes:
    content, _ = joined_entry(folder, *images, path=path)
    return content


def joined_entry(folder: Path, *images: tuple[str, bytes], path: str) -> tuple[bytes, Entry]:
    prefixes = tuple(prefix for prefix, _ in images)
    options = SbomOptions(path, CREATED, prefixes, ("docker.io/t/a:v1",) * len(images))
    work = FolderWork(options, folder)
    blobs = tuple(Artifact("blob", work.put(content)) for _, content in images)
    work = FolderWork(options, folder, inputs={"statements": blobs})
    (entry,) = work.tree(run(RULE, work))
    assert entry.content is not None
    return work.read(entry.content), entry


def joined(folder: Path, *images: tuple[str, bytes]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(joined_bytes(folder, *images))
    return document


def test_a_system_without_sboms_has_a_document_without_lists(tmp_path: Path) -> None:
    content = joined_bytes(tmp_path)

    start, _, rest = content.decode().partition(PREFIX)
    assert start == (
        '{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"sbom",'
        '"documentNamespace":"'
    )
    assert rest[36:] == (
        '","creationInfo":{"licenseListVersion":"3.20",'
        '"creators":["Organization: LinuxKit","Tool: linuxkit"],"created":"2017-04-18T16:30:00Z"}}\n'
    )
    assert uuid.UUID(rest[:36]).version == 5


def test_the_file_is_roots_and_has_the_time_of_everything(tmp_path: Path) -> None:
    _, entry = joined_entry(tmp_path, path="usr/share/sbom.json")

    assert entry._replace(content=None) == Entry("usr/share/sbom.json", "file", 0o644, mtime=MTIME)


def test_equal_systems_have_equal_namespaces_and_others_others(tmp_path: Path) -> None:
    one, other = statement(packages=[{"name": "a"}]), statement(packages=[{"name": "b"}])

    namespaces = [joined(tmp_path, ("", content))["documentNamespace"] for content in (one, one, other)]

    assert namespaces[0] == namespaces[1] != namespaces[2]


def test_lists_are_put_one_after_another_in_the_order_of_the_document(tmp_path: Path) -> None:
    def every(mark: str) -> bytes:
        return statement(
            annotations=[{"comment": mark}],
            externalDocumentRefs=[{"externalDocumentId": mark}],
            files=[{"fileName": mark}],
            hasExtractedLicensingInfos=[{"licenseId": mark}],
            packages=[{"name": mark}],
            relationships=[{"spdxElementId": mark, "relatedSpdxElement": mark, "relationshipType": "OTHER"}],
            snippets=[{"name": mark}],
        )

    document = joined(tmp_path, ("", every("one")), ("", every("two")))

    assert list(document)[5:] == [
        "externalDocumentRefs",
        "creationInfo",
        "packages",
        "files",
        "hasExtractedLicensingInfos",
        "relationships",
        "annotations",
    ]
    assert document["packages"] == [{"name": "one"}, {"name": "two"}]
    assert document["externalDocumentRefs"] == [{"externalDocumentId": "one"}, {"externalDocumentId": "two"}]
    assert [entry["spdxElementId"] for entry in document["relationships"]] == ["one", "two"]


@pytest.mark.parametrize(
    ("prefix", "name", "expected"),
    [
        pytest.param("", "/etc/passwd", "/etc/passwd", id="absolute at the root"),
        pytest.param("", "./etc//passwd", "etc/passwd", id="cleaned at the root"),
        pytest.param("", "//etc", "/etc", id="two slashes"),
        pytest.param("", "", "", id="none at the root"),
        pytest.param(
            "containers/services/a/lower",
            "/etc/passwd",
            "containers/services/a/lower/etc/passwd",
            id="absolute",
        ),
        pytest.param("containers/services/a/lower", "etc/", "containers/services/a/lower/etc", id="relative"),
    ],
)
def test_file_names_become_those_in_the_system(prefix: str, name: str, expected: str, tmp_path: Path) -> None:
    document = joined(tmp_path, (prefix, statement(files=[{"fileName": name}])))

    assert document["files"] == [{"fileName": expected}]


def test_a_package_without_a_file_name_gets_the_folder_of_its_image_and_none_at_the_root(
    tmp_path: Path,
) -> None:
    packages = statement(packages=[{"name": "a"}, {"name": "b", "packageFileName": "b.apk"}])

    document = joined(tmp_path, ("", packages), ("lower", packages))

    assert document["packages"] == [
        {"name": "a"},
        {"name": "b", "packageFileName": "b.apk"},
        {"name": "a", "packageFileName": "lower"},
        {"name": "b", "packageFileName": "lower/b.apk"},
    ]


def test_lists_of_identifiers_become_relationships_unless_they_are_there_already(tmp_path: Path) -> None:
    content = statement(
        documentDescribes=["SPDXRef-a", "SPDXRef-b"],
        packages=[{"SPDXID": "SPDXRef-a", "hasFiles": ["SPDXRef-f", "SPDXRef-g"]}],
        relationships=[
            relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-b"),
            relationship("SPDXRef-g", "CONTAINED_BY", "SPDXRef-a"),
        ],
    )

    document = joined(tmp_path, ("", content))

    assert document["relationships"] == [
        relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-b"),
        relationship("SPDXRef-g", "CONTAINED_BY", "SPDXRef-a"),
        relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-a"),
        relationship("SPDXRef-a", "CONTAINS", "SPDXRef-f"),
    ]
    assert document["packages"] == [{"SPDXID": "SPDXRef-a"}]
    assert "documentDescribes" not in document


def relationship(element: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": element, "relatedSpdxElement": other, "relationshipType": kind}


def test_text_is_written_as_go_writes_it(tmp_path: Path) -> None:
    name = '<b>&\u00e9\u2028\ud800\x01"'

    content = joined_bytes(tmp_path, ("", statement(packages=[{"name": name}])))

    expected = r'{"name":"\u003cb\u003e\u0026é\u2028�\u0001\""}'
    assert expected in content.decode()
    assert content.count(b"\n") == 1


@pytest.mark.parametrize("version", ["SPDX-2.1", "SPDX-2.2", "SPDX-2.3"])
def test_older_documents_are_joined_as_new_ones(version: str, tmp_path: Path) -> None:
    assert joined(tmp_path, ("", statement(spdxVersion=version)))["spdxVersion"] == "SPDX-2.3"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"{", "expected JSON: ", id="no JSON"),
        pytest.param(b"\xff", "expected JSON: ", id="no text"),
        pytest.param(b"[" * 100_000, "nested too deep", id="deep"),
        pytest.param(b"[]", "expected an in-toto statement, got list", id="no object"),
        pytest.param(
            b'{"predicateType":"x"}', f"expected the predicate type {SPDX}, got `x`", id="other type"
        ),
        pytest.param(
            f'{{"predicateType":"{SPDX}"}}'.encode(), "as predicate, got NoneType", id="no predicate"
        ),
        pytest.param(statement(spdxVersion="SPDX-3.0"), "SPDX 2.1, 2.2 or 2.3, got `SPDX-3.0`", id="version"),
        pytest.param(statement(packages={"a": 1}), "expected a list of objects in `packages`", id="no list"),
        pytest.param(statement(files=["a"]), "expected a list of objects in `files`", id="no objects"),
        pytest.param(
            statement(documentDescribes="a"), "identifiers in `documentDescribes`", id="no identifiers"
        ),
    ],
)
def test_what_is_no_sbom_is_refused_by_the_name_of_its_image(
    content: bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(RuleError) as caught:
        joined(tmp_path, ("", content))

    assert str(caught.value).startswith("the SBOM of docker.io/t/a:v1: ")
    assert message in str(caught.value)
    assert "--no-sbom" in str(caught.value.hint)
