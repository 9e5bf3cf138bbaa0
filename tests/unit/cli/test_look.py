from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kitbuild.cli.main import main
from kitbuild.reading import open_output
from tests.support import images
from tests.support.reading import newc

CONTENT: dict[str, images.Content] = {
    "etc/": images.directory(mtime=1_000_000_000),
    "etc/note": images.file(b"a\0note\xff\n", mode=0o4640, uid=3, gid=4, mtime=1_000_000_000),
    "etc/link": images.symlink("/etc/note", mtime=1_000_000_000),
    "etc/\x1b[31mred": images.file(b"", mtime=1_000_000_000),
    "big": images.file(b"x" * 1000, mtime=1_000_000_001),
    "null": images.device("char", 1, 3, mtime=1_000_000_000),
}


@pytest.fixture
def output(tmp_path: Path) -> str:
    path = tmp_path / "linuxkit.tar"
    path.write_bytes(images.layer_tar(CONTENT))
    return str(path)


def test_ls_shows_one_level(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["ls", output])

    assert "big\netc/\nnull\n" == capsys.readouterr().out


def test_ls_of_a_folder_escapes_what_a_terminal_would_obey(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main(["ls", output, "/etc/"])

    assert "\\x1b[31mred\nlink\nnote\n" == capsys.readouterr().out


def test_long_ls_says_all_and_the_format(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["ls", "-l", "-R", output])

    told = capsys.readouterr()
    assert f"{output}: tar\n" == told.err
    assert "crw-r--r-- 0:0  1,3 2001-09-09 01:46:40 null\n" in told.out
    assert "-rwSr----- 3:4    8 2001-09-09 01:46:40 etc/note\n" in told.out
    assert " etc/link -> /etc/note\n" in told.out


def test_largest_come_first_and_folders_count_with_all_in_them(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main(["ls", "--sort", "size", output])

    assert ["big", "etc/", "null"] == capsys.readouterr().out.splitlines()


def test_json_is_one_object(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["ls", "--json", "-R", output])

    document = json.loads(capsys.readouterr().out)
    assert ("tar", "system", None) == (document["format"], document["area"], document["cmdline"])
    entries = {entry["path"]: entry for entry in document["entries"]}
    assert {"path": "null", "kind": "character", "mode": "0644", "uid": 0, "gid": 0, "size": 0} | {
        "mtime": 1_000_000_000,
        "device": [1, 3],
    } == entries["null"]
    assert "/etc/note" == entries["etc/link"]["target"]


def test_cat_follows_links_inside_and_keeps_every_byte(
    output: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert 0 == main(["cat", output, "etc/link", "/etc/note"])

    assert b"a\0note\xff\n" * 2 == capfdbinary.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cat", "OUTPUT", "etc/nte"], "did you mean `etc/note`?"),
        (["cat", "OUTPUT", "note"], "did you mean `etc/note`?"),
        (["cat", "OUTPUT", "etc"], "expected a file, got a directory"),
        (["cat", "OUTPUT", "null"], "expected a file, got a character device"),
        (["ls", "OUTPUT", "nothing/here"], "not in the system of"),
        (["ls", __file__], "got something else"),
        (["ls", "."], "expected a folder with an OCI image layout"),
    ],
)
def test_what_is_not_there_is_an_error_with_a_hint(
    output: str, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert 1 == main([each.replace("OUTPUT", output) for each in arguments])

    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["ls", "cat", "extract"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "No such file or directory"),
        ("file/x", "Not a directory"),
        ("/dev/zero", "expected a regular file, got a character device"),
        ("pipe", "expected a regular file, got a pipe"),
    ],
)
def test_an_output_that_is_no_file_is_a_mistake_in_the_command_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    name: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("file").write_bytes(b"")

    assert 2 == main([command, name, *(["x"] if command == "cat" else [])])

    assert f"error: `{name}`: {said}" == capsys.readouterr().err.splitlines()[0]


def test_of_several_images_it_is_said_which_one_is_shown(tmp_path: Path) -> None:
    made = {f"t/{name}:v1": images.image({name: ""}) for name in "ab"}
    images.layout(tmp_path / "layout", made)
    images.layout(tmp_path / "single", {"t/a:v1": made["t/a:v1"]})

    notes = {}
    for name in ("layout", "single"):
        with open_output(tmp_path / name) as output:
            notes[name] = [[entry.path for entry in output.system()], *output.notes]

    assert [["a"]] == notes["single"]
    paths, note = notes["layout"]
    assert ["a"] == paths
    assert "this is the first of 2 images, " in note
    assert "t/a:v1" in note


def test_extract_says_how_much_and_what_it_left_out(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main(["extract", output, "-C", str(tmp_path / "out")])

    assert "5 names (1008 B) written to" in (told := capsys.readouterr().err)
    assert "left out, as only root makes them: 1 character" in told


def test_extract_takes_only_what_is_named(output: str, tmp_path: Path) -> None:
    assert 0 == main(["extract", "-q", output, "etc/note", "-C", str(tmp_path / "out")])

    assert [tmp_path / "out/etc", tmp_path / "out/etc/note"] == sorted((tmp_path / "out").rglob("*"))


def test_command_line_beside_an_initrd_goes_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a-initrd.img").write_bytes(newc({"init": b""}))
    (tmp_path / "a-cmdline").write_text("quiet\n")

    assert 0 == main(["ls", "--json", str(tmp_path / "a-initrd.img")])

    assert "quiet" == json.loads(capsys.readouterr().out)["cmdline"]


def test_layers_of_an_image_are_laid_over_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = images.image(
        {"keep": "", "gone": "", "d/a": "", "d/b": "", "o/x": ""},
        {".wh.gone": "", "d/.wh.a": "", "o/.wh..wh..opq": "", "o/y": ""},
    )
    images.layout(tmp_path / "layout", {"t/x:v1": made})
    images.docker_archive(tmp_path / "saved.tar", {"t/x:v1": made})

    for name in ("layout", "saved.tar"):
        assert 0 == main(["ls", "-R", str(tmp_path / name)])
        assert ["d/b", "keep", "o/y"] == capsys.readouterr().out.splitlines()


def test_ls_shows_a_name_with_a_line_break_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tar").write_bytes(images.layer_tar({"a\nb": images.file(b"")}))

    assert 0 == main(["ls", str(tmp_path / "tar")])

    assert "a\\nb\n" == capsys.readouterr().out
