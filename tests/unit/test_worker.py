"""A node run in a folder that holds all it needs."""

from __future__ import annotations

import gzip
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest

from kitbuild import worker
from kitbuild.cache.execution_request import Request, request_of
from kitbuild.cache.memory import MemoryStore
from kitbuild.cache.row import decode_result
from kitbuild.cli import worker as command
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RuleError
from kitbuild.extents import Extents, Slice
from kitbuild.node import Node
from kitbuild.rule import Artifact, NoOptions, Rule
from kitbuild.rules.format.compress import RULE as COMPRESS
from kitbuild.rules.format.compress import CompressOptions
from kitbuild.rules.unpack.layer import RULE as LAYER
from kitbuild.rules.unpack.layer import LayerOptions
from kitbuild.store import Result
from kitbuild.work import StoreWork, kept
from tests.support.images import layer_tar

CONTENT = b"some content " * 1000
EXTENTS = Extents.whole(Digest.of(CONTENT))


def source(kind: Any) -> Node:
    rule: Rule[Any] = Rule("test/source", 1, "", NoOptions, kind, lambda work: Digest.of(b""))
    return Node("source", rule, NoOptions())


def compress_node() -> Node:
    return Node("compress", COMPRESS, CompressOptions("gzip"), {"file": (source("extents"),)})


def compress_inputs() -> dict[str, tuple[Result, ...]]:
    return {"file": (Result(Artifact("extents", Digest.of(EXTENTS.encode())), (Digest.of(CONTENT),), 1.5),)}


def folder_of(request: Request, folder: Path, *contents: bytes) -> Path:
    """A folder as a cluster lays it out."""
    (folder / "blobs").mkdir(parents=True)
    (folder / "request.json").write_bytes(request.encode())
    for content in contents:
        (folder / "blobs" / Digest.of(content).hex).write_bytes(content)
    return folder


def compress_folder(folder: Path, **changes: Any) -> Path:
    request = request_of(compress_node(), compress_inputs(), is_shipped=True)._replace(**changes)
    return folder_of(request, folder, EXTENTS.encode(), CONTENT)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def status_of(folder: Path) -> int:
    parser = ArgumentParser()
    command.add(parser.add_subparsers())
    arguments = parser.parse_args(["worker", "run", str(folder)])
    status: int = arguments.run(arguments)
    return status


def test_folder_holds_the_result_and_the_content_made(tmp_path: Path) -> None:
    folder = compress_folder(tmp_path / "run")

    result = worker.run(folder)

    assert result == decode_result((folder / "out/result").read_bytes())
    (blob,) = result.blobs
    assert files(folder / "out") == {"result", f"blobs/{blob.hex}", f"blobs/{result.artifact.digest.hex}"}
    assert gzip.decompress((folder / "out/blobs" / blob.hex).read_bytes()) == CONTENT
    assert result.seconds >= 0


def test_result_is_that_of_a_run_here(tmp_path: Path) -> None:
    folder = compress_folder(tmp_path / "run")
    node, inputs, store = compress_node(), compress_inputs(), MemoryStore(tmp_path / "store")
    for content in (EXTENTS.encode(), CONTENT):
        with store.writer() as writer:
            writer.write(content)
            writer.commit()
    given = {name: tuple(result.artifact for result in results) for name, results in inputs.items()}

    with StoreWork(options=node.options, inputs=given, store=store) as work:
        here = kept(node.rule.run(work), work, inputs)
    there = worker.run(folder)

    assert here == (there.artifact, there.blobs)


def test_content_that_is_an_input_is_not_made_again(tmp_path: Path) -> None:
    folder = compress_folder(tmp_path / "run", options={"compression": "none"}, tools={})

    result = worker.run(folder)

    assert result.artifact.digest == Digest.of(EXTENTS.encode())
    assert files(folder / "out") == {"result"}


def test_layer_is_unpacked(tmp_path: Path) -> None:
    tar = layer_tar({"etc/motd": b"hello"})
    node = Node("layer", LAYER, LayerOptions("t/x"), {"tar": (source("blob"),)})
    inputs = {"tar": (Result(Artifact("blob", Digest.of(tar))),)}
    folder = folder_of(request_of(node, inputs, is_shipped=True), tmp_path / "run", tar)

    result = worker.run(folder)

    assert result.artifact.kind == "tree"
    assert result.blobs == (Digest.of(tar),)
    assert files(folder / "out") == {"result", f"blobs/{result.artifact.digest.hex}"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"kitbuild": "0.0.1"}, "expected kitbuild 0.0.1, got", id="kitbuild"),
        pytest.param({"suffix": ".cpython-27-vax.so"}, "expected a Python that takes modules", id="Python"),
        pytest.param({"version": 99}, "expected version 99 of format/compress, got 1", id="rule"),
        pytest.param({"rule": "format/nothing"}, "expected a rule, got `format/nothing`", id="no such rule"),
        pytest.param(
            {"rule": "format/boot"}, "expected a rule, got `format/boot`", id="module without a rule"
        ),
        pytest.param({"rule": "../engine"}, "expected a rule, got `../engine`", id="no name of a rule"),
        pytest.param({"options": {}}, "expected options of format/compress", id="options"),
        pytest.param({"tools": {"isal": "1 level 9"}}, "expected the tools", id="tools"),
    ],
)
def test_another_kitbuild_than_asked_for_does_not_run(
    tmp_path: Path, changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = compress_folder(tmp_path / "run", **changes)

    status = status_of(folder)

    assert status == 70
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert not (folder / "out/result").exists()


def test_request_that_cannot_be_read_is_of_another_kitbuild(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text("{}")

    with pytest.raises(worker.UnfitError, match="cannot be read"):
        worker.run(tmp_path)


def test_rule_that_refuses_has_a_status_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = Node("layer", LAYER, LayerOptions("t/x"), {"tar": (source("blob"),)})
    inputs = {"tar": (Result(Artifact("blob", Digest.of(CONTENT))),)}
    folder = folder_of(request_of(node, inputs, is_shipped=True), tmp_path / "run", CONTENT)

    status = status_of(folder)

    assert status == 71
    assert capsys.readouterr().err.startswith("error: t/x: ")
    with pytest.raises(RuleError):
        worker.run(folder)


def test_folder_without_a_request_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = status_of(tmp_path)

    assert status == 72
    assert capsys.readouterr().err == f"error: `{tmp_path}/request.json`: No such file or directory\n"


def test_input_that_is_not_in_the_folder_is_missed(tmp_path: Path) -> None:
    folder = compress_folder(tmp_path / "run")
    (folder / "blobs" / Digest.of(CONTENT).hex).write_bytes(b"short")

    with pytest.raises(MissingBlobError, match="not among the inputs"):
        worker.run(folder)


def test_store_of_a_folder_has_no_results_and_throws_away_what_is_not_committed(tmp_path: Path) -> None:
    (tmp_path / "out/blobs").mkdir(parents=True)
    store = worker.FolderStore(tmp_path)

    with store.writer() as writer:
        writer.write(b"lost")
        assert (writer.size, writer.digest()) == (4, Digest.of(b"lost"))

    assert list((tmp_path / "out/blobs").iterdir()) == []
    assert store.fetch([Digest.of(b"lost")]) == {Digest.of(b"lost")}
    assert store.distance([Digest.of(b"lost")]) == float("inf")
    assert store.distance([]) == 0.0
    assert store.results([]) == []


def test_rules_that_are_sent_away_are_found_by_name() -> None:
    from kitbuild.cache import execution

    names = execution.ALWAYS | execution.COMPRESSING

    assert names == {worker.rule_named(name).name for name in names}


def test_extents_refer_to_what_was_made(tmp_path: Path) -> None:
    folder = compress_folder(tmp_path / "run")

    result = worker.run(folder)

    with (folder / "out/blobs" / result.artifact.digest.hex).open("rb") as lines:
        (part,) = Extents.decode(lines).parts
    assert isinstance(part, Slice)
    assert part.blob == result.blobs[0]


def test_library_that_is_missing_makes_a_worker_unfit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = compress_folder(tmp_path / "run")
    # Python's own way to say that there is no such module.
    monkeypatch.setitem(sys.modules, "isal", None)

    with pytest.raises(worker.UnfitError, match="a library is missing: "):
        worker.run(folder)


def test_content_nobody_refers_to_is_not_sent_back(tmp_path: Path) -> None:
    (tmp_path / "out/blobs").mkdir(parents=True)
    store = worker.FolderStore(tmp_path)
    for content in (b"a", b"b"):
        with store.writer() as writer:
            writer.write(content)
            writer.commit()

    store.keep_only([Digest.of(b"a")])

    assert files(tmp_path) == {f"out/blobs/{Digest.of(b'a').hex}"}
