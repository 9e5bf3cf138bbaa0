from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kitbuild.cache.memory import MemoryStore
from kitbuild.cli.diff_records import record_system
from kitbuild.cli.diff_sides import _kind_of
from kitbuild.cli.diff_trees import settings_of
from kitbuild.cli.main import main
from kitbuild.compare.difference import difference
from kitbuild.compare.sections import laid_out
from kitbuild.extents import Slice
from kitbuild.node import Ingredients
from kitbuild.record import ImageOrigin, NodeRecord, Origin, Origins, Record
from kitbuild.rule import Artifact
from kitbuild.tree import Entry, Tree
from tests.support import images

CONFIG = """\
files:
  - path: etc/motd
    contents: hello
    mode: "0644"
"""
RECORD = Record("1", "state", 0.0, 0.0, {}, {})
Diff = Callable[..., tuple[int, str, str]]


@pytest.fixture
def diff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Diff:
    """Runs the command in a folder with two configs; gives its status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KITBUILD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.yml").write_text(CONFIG)
    (tmp_path / "b.yml").write_text(CONFIG.replace("0644", "0600"))

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["diff", *arguments])
        return (status, *capsys.readouterr())

    return run


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        pytest.param("x", b"kernel:\n  image: a\n", "config", id="config"),
        pytest.param("x", b'{"services": []}', "config", id="config in JSON"),
        pytest.param("x.yml", b"kernal: 1\n", "config", id="config with a mistake"),
        pytest.param("x", b"# kernel: none\nfiles: []\n", "config", id="comment first"),
        pytest.param("x", b"070701" + b"0" * 104, "output", id="cpio"),
        pytest.param("x.yml", b"ustar\0kernel:\n", "output", id="bytes named like a config"),
        pytest.param("x", b"console=ttyS0 quiet", "output", id="command line"),
        pytest.param("x.tar", RECORD.encode(), "record", id="record"),
        pytest.param("x", RECORD.encode()[:-9] + b"\0", "output", id="half a record"),
    ],
)
def test_what_a_file_is_is_told_by_what_is_in_it(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    assert kind == _kind_of(path)


def test_a_folder_is_an_output(tmp_path: Path) -> None:
    assert "output" == _kind_of(tmp_path)


def test_a_config_does_not_differ_from_itself(diff: Diff) -> None:
    status, out, _ = diff("a.yml", "a.yml", "--exit-code")

    assert (0, "no differences") == (status, out.splitlines()[0])


def test_a_setting_that_differs_is_told_with_its_line(diff: Diff) -> None:
    status, out, _ = diff("a.yml", "b.yml")

    assert 0 == status
    assert '  ~ etc/motd mode: "0644" -> "0600"  (b.yml:4)' in out.splitlines()
    assert out.endswith("note: b.yml is not built as it is now: the files of files, sbom are not compared\n")


def test_flags_may_stand_anywhere(diff: Diff) -> None:
    assert (
        diff("--stat", "a.yml", "b.yml")
        == diff("a.yml", "--stat", "b.yml")
        == diff("a.yml", "b.yml", "--stat")
    )


def test_json_is_json(diff: Diff) -> None:
    for flags in (("--json",), ("--format", "json")):
        report = json.loads(diff("a.yml", "b.yml", *flags)[1])

        assert ["files"] == [section["name"] for section in report["sections"]]
        assert "b.yml:4" == report["sections"][0]["settings"][0]["where"]


def test_the_exit_status_is_1_if_that_is_asked_for(diff: Diff) -> None:
    assert [0, 1] == [diff("a.yml", "b.yml", *flags)[0] for flags in ((), ("--exit-code",))]


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (("a.yml", "c.yml"), 2, "error: expected a config, an output or the record of a build, got `c.yml`"),
        (("a.yml", "\0"), 2, "error: expected a config, an output or the record of a build"),
        (("-", "-"), 2, "error: expected one side on stdin, got both"),
        (
            ("a.yml", "b.yml", "--budget", "total"),
            2,
            "error: expected NAME=LIMIT with `--budget`, got `total`",
        ),
        (("a.yml", "b.yml", "--budget", "total=+1MB"), 1, "error: `--budget total=+1MB`: expected sizes"),
        (
            ("a.yml", "b.yml", "--budget", "totol=+1MB"),
            2,
            "error: expected the name of a section or an output",
        ),
        (("a.yml", "b.yml", "--as", "record"), 2, "error: expected the record of a build in `a.yml`"),
        (("a.yml", "b.yml", "--image-format", "isso"), 2, "error: expected a format, got `isso`"),
        (("a.yml",), 2, "error: expected AFTER, got none"),
        (("a.yml", "b.yml", "a.yml"), 2, "error: expected no more arguments, got `a.yml`"),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    diff: Diff, arguments: tuple[str, ...], status: int, error: str
) -> None:
    got, _, err = diff(*arguments)

    assert status == got
    assert any(line.startswith(error) for line in err.splitlines()), err


def made(store: MemoryStore, entry: str, content: bytes) -> Artifact:
    """A tree with one file in a store."""
    with store.writer() as writer:
        writer.write(content)
        blob = writer.commit()
    tree = Tree.of([Entry(entry, "file", 0o644, content=Slice(blob, 0, len(content)))])
    with store.writer() as writer:
        writer.write(tree.encode())
        return Artifact("tree", writer.commit())


def recorded(store: MemoryStore, text: str) -> Record:
    options = {
        "bundle": "containers/services/web",
        "config_json": json.dumps({"hostname": text}),
        "runtime_json": "{}",
    }
    ingredients = Ingredients("assemble/container", 1, (), options, ())

    def node(rule: str, section: str, artifact: Artifact, **fields: Any) -> NodeRecord:
        return NodeRecord(rule, section, "ran", artifact=artifact, **fields)

    files = made(store, "etc/motd", text.encode())
    bundle = made(store, "containers/services/web/config.json", options["config_json"].encode())
    nodes = {
        "image a": node("unpack/image", "images", made(store, "image", text.encode())),
        "files": node("assemble/files", "files", made(store, "etc/hidden", text.encode())),
        "files: settled": node("assemble/settled", "files", files, inputs={"part": ("files",)}),
        "services web: bundle": node("assemble/container", "services web", bundle, ingredients=ingredients),
        "boot loader": node("assemble/loader", "boot loaders", made(store, "loader", text.encode())),
    }
    web = {"name": "web", "image": "kit/web:v1", "hostname": text}
    origins = Origins(
        ("x.yml",),
        {
            "services web": Origin("x.yml", 3, 5, web, {"hostname": 5}),
            "image docker.io/kit/web:v1": Origin("x.yml", 4, 5, "kit/web:v1"),
        },
        {"docker.io/kit/web:v1": ImageOrigin(text[0].encode().hex() * 32, "", "registry:x")},
        {"--arch": "amd64", "--name": text},
    )
    return Record("1", text, 0.0, 0.0, nodes, {}, origins)


def test_two_records_differ_in_what_their_parts_do() -> None:
    store = MemoryStore()
    with ExitStack() as closing:
        systems = [
            record_system(text, recorded(store, text), store, closing=closing) for text in ("old", "new")
        ]
        found = difference(*(laid_out(system, by_part=True) for system in systems))

        sections = {section.name: section for section in found.sections}
        assert {"files", "services web"} == sections.keys()
        assert ["etc/motd"] == [change.path for change in sections["files"].files]
        web = sections["services web"]
        assert ["hostname"] == [change.field for change in web.runtime]
        assert [("hostname", "x.yml:5")] == [(change.field, change.where) for change in web.settings]
        assert ["image kit/web:v1 moved"] == [change.field for change in web.image]
        assert ((), (), ()) == (web.files, found.flags, found.missing)


def test_a_record_whose_trees_are_gone_still_tells_how_containers_run() -> None:
    store = MemoryStore()
    records = [recorded(store, text) for text in ("old", "new")]
    with ExitStack() as closing:
        systems = [record_system("r", record, MemoryStore(), closing=closing) for record in records]
        found = difference(*(laid_out(system, by_part=True) for system in systems))

    (web,) = found.sections
    assert ("services web", ["hostname"], ()) == (
        web.name,
        [change.field for change in web.runtime],
        web.files,
    )
    assert (
        "r: the files of services web, files are no longer in the cache, and not compared",
    ) == found.missing


def test_images_and_files_are_no_sections_of_their_own() -> None:
    places = {
        "files": Origin("x", 1, 1, [{"path": "a"}]),
        "files: a": Origin("x", 1, 1, {"path": "a"}),
        "image a": Origin("x", 1, 1, "a"),
    }

    assert ["files"] == list(settings_of(Origins(places=places)))


def test_warning_is_one_line_whatever_a_container_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("a", b"{"), ("b", b"{}")):
        layer = {"containers/services/web\n::error::/config.json": images.file(content)}
        (tmp_path / name).write_bytes(images.layer_tar(layer))

    assert 0 == main(["diff", str(tmp_path / "a"), str(tmp_path / "b")])

    (line,) = capsys.readouterr().err.splitlines()
    assert "config.json of services web\\n::error::: " in line


def tar(path: str, files: dict[str, bytes]) -> str:
    Path(path).write_bytes(images.layer_tar({name: images.file(content) for name, content in files.items()}))
    return path


def test_the_kernel_is_no_part_of_the_total_wherever_it_stands(diff: Diff) -> None:
    one = tar("one.tar", {"init": b"abc", "boot/kernel": b"k"})
    other = tar("other.tar", {"init": b"abcd", "boot/kernel": b"kernel"})

    report = json.loads(diff("--json", one, other)[1])

    assert {"before": 3, "after": 4} == report["total"]
    assert {"before": 1, "after": 6} == report["sizes"]["medium"]
    assert ["boot/kernel"] == [file["path"] for file in report["medium"]]


def test_a_side_without_a_system_is_an_error_with_what_it_is(diff: Diff) -> None:
    Path("x-cmdline").write_text("quiet")

    status, out, err = diff(tar("x.tar", {"init": b""}), "x-cmdline")

    assert (2, "") == (status, out)
    assert "error: `x-cmdline` has no system: it is a kernel command line" == err.splitlines()[0]


def test_a_broken_budget_is_marked_where_a_machine_builds(
    diff: Diff, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = (tar("one.tar", {"init": b"abc"}), tar("other.tar", {"init": b"abcd"}))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    status, _, err = diff("--budget", "total=+0%", *sides)

    assert 1 == status
    message = "`total`: expected at most +0%25, got +33.3%25 (3 B -> 4 B)"
    assert f"::error title=kitbuild::{message}" in err.splitlines()


def test_a_pipe_is_no_side(diff: Diff) -> None:
    os.mkfifo("pipe")

    status, _, err = diff("pipe", tar("one.tar", {"init": b""}))

    assert (2, "error: `pipe`: expected a regular file, got a pipe") == (status, err.splitlines()[0])


def test_who_waits_at_a_terminal_is_told_what_is_read(diff: Diff, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = (tar("one.tar", {"init": b"abc"}), tar("other.tar", {"init": b"abcd"}))
    monkeypatch.setattr("kitbuild.cli.diff_sides._LARGE_BYTES", 1)

    quiet = diff(*sides)[2]
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    told = diff(*sides)[2]

    assert "" == quiet
    assert told.startswith("reading one.tar (")
    assert " and other.tar (" in told


def test_stdout_that_takes_nothing_is_an_error(diff: Diff, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr("sys.stdout.write", refuse)

    status, _, err = diff("a.yml", "b.yml")

    assert (1, "error: cannot write to stdout: Bad file descriptor\n") == (status, err)
