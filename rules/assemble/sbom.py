"""The system's software bill of materials: those of its images as one SPDX document.

An image's is an in-toto statement whose predicate is an SPDX document, as BuildKit attaches it. Sources: SPDX 2.3
(ISO/IEC 5962) and its JSON schema; in-toto attestation framework, "Statement"; LinuxKit for what is joined, how
paths change, and the JSON's looks.
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Slice
from kitbuild.rule import Input, Rule, Work
from kitbuild.system import MTIME
from kitbuild.tree import Entry, Tree

# The largest seen in the wild have some 50 MB; JSON takes ten times that while it is read.
MAX_STATEMENT_BYTES = 64 << 20

_PREDICATE_TYPE = "https://spdx.dev/Document"
_NAMESPACE = "https://github.com/linuxkit/linuxkit/sbom-"
_VERSIONS = ("SPDX-2.3", "SPDX-2.2", "SPDX-2.1")
_DOCUMENT = "SPDXRef-DOCUMENT"
_LISTS = (
    "externalDocumentRefs",
    "packages",
    "files",
    "hasExtractedLicensingInfos",
    "relationships",
    "annotations",
)
# A relationship may be written from either end.
_MIRRORED = {"CONTAINED_BY": "CONTAINS", "DESCRIBED_BY": "DESCRIBES"}
# Go's encoder keeps JSON safe inside HTML and JavaScript; Python's does not know of it.
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
_HINT = "rebuild the image with a current BuildKit, or build with `--no-sbom`"

Json = dict[str, Any]


class SbomOptions(NamedTuple):
    """`path` in the system, `created` as SPDX writes times.

    For every statement `prefixes` says where its image went in the system (empty: to its root), and `images` what
    the image is called, for messages.
    """

    path: str
    created: str
    prefixes: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


def run(work: Work[SbomOptions]) -> Tree:
    """One file; its namespace is made of its content, so equal systems have equal documents."""
    options = work.options
    joined: dict[str, list[Json]] = {name: [] for name in _LISTS}
    statements = work.artifacts("statements")
    for prefix, image, artifact in zip(options.prefixes, options.images, statements, strict=True):
        content = work.read(Slice(artifact.digest, 0, artifact.digest.size))
        try:
            document = _moved(_predicate(content), prefix)
            for name in _LISTS:
                joined[name] += _objects(document, name)
        except ValueError as error:
            raise RuleError(f"the SBOM of {image}: {error}", hint=_HINT) from error
    blob = work.put(_encoded(joined, options.created))
    return Tree.of([Entry(options.path, "file", 0o644, mtime=MTIME, content=Slice(blob, 0, blob.size))])


def _predicate(content: bytes) -> Json:
    """The SPDX document in a statement; raises ValueError if there is none."""
    try:
        statement = json.loads(content)
    except ValueError as error:
        raise ValueError(f"expected JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("expected JSON, got one nested too deep") from error
    if not isinstance(statement, dict):
        raise ValueError(f"expected an in-toto statement, got {type(statement).__name__}")
    if statement.get("predicateType") != _PREDICATE_TYPE:
        raise ValueError(
            f"expected the predicate type {_PREDICATE_TYPE}, got `{statement.get('predicateType')}`"
        )
    document = statement.get("predicate")
    if not isinstance(document, dict):
        raise ValueError(f"expected an SPDX document as predicate, got {type(document).__name__}")
    if document.get("spdxVersion") not in _VERSIONS:
        raise ValueError(f"expected SPDX 2.1, 2.2 or 2.3, got `{document.get('spdxVersion')}`")
    return document


def _objects(document: Json, name: str) -> list[Json]:
    values = document.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ValueError(f"expected a list of objects in `{name}`")
    return values


def _moved(document: Json, prefix: str) -> Json:
    """The document with the paths its files and packages have in the system, and all relationships in one list."""
    document["relationships"] = _relationships(document)
    for entry in _objects(document, "files"):
        entry["fileName"] = _below(prefix, entry.get("fileName"))
    for package in _objects(document, "packages"):
        # LinuxKit gives every package a file name, if only the folder its image is in.
        path = _below(prefix, package.pop("packageFileName", None))
        if path:
            package["packageFileName"] = path
    return document


def _relationships(document: Json) -> list[Json]:
    """The relationships, with those that older documents write as lists of identifiers."""
    found = list(_objects(document, "relationships"))
    known = {_sense(relationship) for relationship in found}
    own = document.get("SPDXID") or _DOCUMENT
    more = [_relationship(own, "DESCRIBES", other) for other in _taken(document, "documentDescribes")]
    for package in _objects(document, "packages"):
        own = package.get("SPDXID")
        more += [_relationship(own, "CONTAINS", other) for other in _taken(package, "hasFiles")]
    for relationship in more:
        if (sense := _sense(relationship)) not in known:
            known.add(sense)
            found.append(relationship)
    return found


def _taken(value: Json, name: str) -> list[Any]:
    identifiers = value.pop(name, None) or []
    if not isinstance(identifiers, list):
        raise ValueError(f"expected a list of identifiers in `{name}`")
    return identifiers


def _relationship(element: Any, kind: str, other: Any) -> Json:
    return {"spdxElementId": element, "relatedSpdxElement": other, "relationshipType": kind}


def _sense(relationship: Json) -> tuple[str, str, str]:
    """What a relationship says, the same from whichever end it is written."""
    kind = str(relationship.get("relationshipType"))
    ends = str(relationship.get("spdxElementId")), str(relationship.get("relatedSpdxElement"))
    if kind in _MIRRORED:
        return _MIRRORED[kind], ends[1], ends[0]
    return kind, *ends


def _below(prefix: str, path: Any) -> str:
    """The path inside `prefix`, as Go's path.Join makes it."""
    joined = "/".join(part for part in (prefix, str(path or "")) if part)
    if not joined:
        return ""
    clean = posixpath.normpath(joined)
    return clean[1:] if clean.startswith("//") else clean


def _encoded(joined: dict[str, list[Json]], created: str) -> bytes:
    import uuid  # some milliseconds, and this module is loaded by every build

    lists = {name: joined[name] for name in _LISTS if joined[name]}
    # The lists stand behind the creation time but for one, which LinuxKit's library puts before it.
    outside = {name: lists.pop(name) for name in ("externalDocumentRefs",) if name in lists}
    document: Json = {
        "spdxVersion": _VERSIONS[0],
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": "sbom",
        "documentNamespace": _NAMESPACE,
        **outside,
        "creationInfo": {
            "licenseListVersion": "3.20",
            "creators": ["Organization: LinuxKit", "Tool: linuxkit"],
            "created": created,
        },
        **lists,
    }
    # LinuxKit takes a random UUID: its builds then differ every time.
    document["documentNamespace"] = _NAMESPACE + str(uuid.uuid5(uuid.NAMESPACE_URL, _json(document)))
    return _json(document).encode() + b"\n"


def _json(document: Json) -> str:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return _UNSAFE.sub(_safe, text)


def _safe(found: re.Match[str]) -> str:
    code = ord(found[0])
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"


RULE: Rule[Any] = Rule(
    name="assemble/sbom",
    version=1,
    summary="join the SBOMs of the images",
    options=SbomOptions,
    unkeyed=("images",),
    inputs={"statements": Input("blob", many=True)},
    output="tree",
    run=run,
)
