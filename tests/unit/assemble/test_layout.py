"""An image as it is stored, below a folder of the system."""

from __future__ import annotations

from pathlib import Path

from kitbuild.digest import Digest
from kitbuild.rule import Artifact
from kitbuild.rules.assemble.layout import RULE, LayoutOptions
from kitbuild.system import MTIME
from kitbuild.tree import Entry, Tree
from tests.support.work import FolderWork, run

LOWER = "containers/volumes/v/lower"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
TOP = Digest.of(b"the index")
INDEX_JSON = f"""\
{{
   "schemaVersion": 2,
   "mediaType": "application/vnd.oci.image.index.v1+json",
   "manifests": [
      {{
         "mediaType": "application/vnd.oci.image.index.v1+json",
         "size": 9,
         "digest": "sha256:{TOP.hex}",
         "annotations": {{
            "org.opencontainers.image.ref.name": "docker.io/t/a:v1"
         }}
      }}
   ]
}}"""


def laid_down(folder: Path, *contents: bytes) -> tuple[FolderWork[LayoutOptions], Tree]:
    options = LayoutOptions(LOWER, "docker.io/t/a:v1", INDEX_TYPE, *TOP)
    work = FolderWork(options, folder)
    blobs = tuple(Artifact("blob", work.put(content)) for content in contents)
    work = FolderWork(options, folder, inputs={"blobs": blobs})
    return work, work.tree(run(RULE, work))


def content_of(entry: Entry, work: FolderWork[LayoutOptions]) -> bytes:
    return work.read(entry.content) if entry.content else b""


def test_the_layout_holds_the_blobs_and_says_which_is_the_image(tmp_path: Path) -> None:
    work, tree = laid_down(tmp_path, b"a layer", b"the index")

    files = {
        entry.path.removeprefix(f"{LOWER}/"): content_of(entry, work)
        for entry in tree
        if entry.kind == "file"
    }
    assert files == {
        "oci-layout": b'{\n\t\t"imageLayoutVersion": "1.0.0"\n\t}',
        "index.json": INDEX_JSON.encode(),
        f"blobs/sha256/{Digest.of(b'a layer').hex}": b"a layer",
        f"blobs/sha256/{TOP.hex}": b"the index",
    }
    assert len(files["oci-layout"]) == 36


def test_blobs_stay_slices_of_themselves(tmp_path: Path) -> None:
    _, tree = laid_down(tmp_path, b"a layer", b"the index")

    assert {Digest.of(b"a layer"), TOP} < set(tree.blobs())


def test_nothing_in_it_has_a_time_or_an_owner(tmp_path: Path) -> None:
    _, tree = laid_down(tmp_path, b"the index")

    inside = [entry for entry in tree if entry.path.startswith(f"{LOWER}/")]
    assert [(entry.mode, entry.uid, entry.gid, entry.mtime) for entry in inside] == [
        (0o755 if entry.kind == "directory" else 0o644, 0, 0, 0) for entry in inside
    ]
    assert [entry.path for entry in inside if entry.kind == "directory"] == [
        f"{LOWER}/blobs",
        f"{LOWER}/blobs/sha256",
    ]


def test_the_folders_above_it_are_those_of_every_volume(tmp_path: Path) -> None:
    _, tree = laid_down(tmp_path, b"the index")

    above = [entry for entry in tree if not entry.path.startswith(f"{LOWER}/")]
    assert [(entry.path, entry.mode, entry.mtime) for entry in above] == [
        ("containers", 0o755, MTIME),
        ("containers/volumes", 0o755, MTIME),
        ("containers/volumes/v", 0o755, MTIME),
        (LOWER, 0o755, MTIME),
    ]


def test_a_blob_given_twice_is_there_once_and_one_without_bytes_is_there_too(tmp_path: Path) -> None:
    _, tree = laid_down(tmp_path, b"", b"the index", b"the index")

    paths = tree.by_path()
    assert len([path for path in paths if "/sha256/" in path]) == 2
    assert paths[f"{LOWER}/blobs/sha256/{Digest.of(b'').hex}"].content is None
