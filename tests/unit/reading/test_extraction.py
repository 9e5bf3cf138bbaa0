from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from kitbuild.errors import KitbuildError
from kitbuild.reading import OutputEntry, open_output
from kitbuild.reading.extraction import Extracted, Extraction
from tests.support import images


def tar(path: Path, content: images.LayerContent) -> Path:
    path.write_bytes(images.layer_tar(content))
    return path


def extract(path: Path, folder: Path, *, force: bool = False, all_modes: bool = False) -> Extracted:
    with open_output(path) as output:
        return Extraction(output, folder, force=force, all_modes=all_modes).run(output.system())


def test_modes_and_times_are_kept_and_devices_are_left_out(tmp_path: Path) -> None:
    content: dict[str, images.Content] = {
        "d/": images.directory(mode=0o750, mtime=5),
        "d/f": images.file(b"content", mode=0o4711, mtime=1_000_000_000),
        "d/h": images.hardlink("d/f"),
        "d/l": images.symlink("f", mtime=7),
        "d/null": images.device("char", 1, 3),
        "d/pipe": images.device("fifo"),
    }

    extracted = extract(tar(tmp_path / "tar", content), tmp_path / "out")

    about = (tmp_path / "out/d/f").stat()
    assert (0o711, 1_000_000_000, 2) == (stat.S_IMODE(about.st_mode), about.st_mtime, about.st_nlink)
    assert (0o750, 5) == (
        stat.S_IMODE((tmp_path / "out/d").stat().st_mode),
        (tmp_path / "out/d").stat().st_mtime,
    )
    assert "f" == str((tmp_path / "out/d/l").readlink())
    assert 7 == (tmp_path / "out/d/l").lstat().st_mtime
    assert {"d", "d/f", "d/h", "d/l"} == {
        each.relative_to(tmp_path / "out").as_posix() for each in (tmp_path / "out").rglob("*")
    }
    assert {"character": 1, "fifo": 1} == extracted.skipped
    assert {"directory": 1, "file": 1, "hardlink": 1, "symlink": 1} == extracted.written
    assert 7 == extracted.bytes


def test_setuid_is_kept_if_asked_for(tmp_path: Path) -> None:
    extract(tar(tmp_path / "tar", {"f": images.file(b"", mode=0o4711)}), tmp_path / "out", all_modes=True)

    assert 0o4711 == stat.S_IMODE((tmp_path / "out/f").stat().st_mode)


def test_nothing_is_replaced_and_all_is_taken_back(tmp_path: Path) -> None:
    content: dict[str, images.Content] = {"a/": images.directory(), "a/b": "new", "z": "new"}
    path = tar(tmp_path / "tar", content)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/z").write_text("old")

    with pytest.raises(KitbuildError, match="is there already") as caught:
        extract(path, tmp_path / "out")

    assert "--force" in str(caught.value.hint)
    assert ["z"] == [each.name for each in (tmp_path / "out").iterdir()]
    assert "old" == (tmp_path / "out/z").read_text()


def test_files_are_replaced_by_force_and_links_are_not_followed(tmp_path: Path) -> None:
    path = tar(tmp_path / "tar", {"a": "new", "b": "new"})
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").write_text("old")
    (tmp_path / "out/a").symlink_to(tmp_path / "victim")
    (tmp_path / "out/b").write_text("old")

    extract(path, tmp_path / "out", force=True)

    assert "old" == (tmp_path / "victim").read_text()
    assert not (tmp_path / "out/a").is_symlink()
    assert "newnew" == (tmp_path / "out/a").read_text() + (tmp_path / "out/b").read_text()


@pytest.mark.parametrize("force", [False, True])
def test_folder_that_is_a_symlink_to_elsewhere_is_not_written_through(tmp_path: Path, force: bool) -> None:
    path = tar(tmp_path / "tar", {"a/b/c": "new"})
    (tmp_path / "elsewhere/b").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").symlink_to(tmp_path / "elsewhere")

    try:
        extract(path, tmp_path / "out", force=force)
    except KitbuildError:
        assert not force

    assert [] == list((tmp_path / "elsewhere/b").iterdir())


def test_planted_symlink_leads_nowhere(tmp_path: Path) -> None:
    """A tar with a symlink out, and a file below it: `tar x` would once have written the file there."""
    content = [("a", images.symlink(str(tmp_path / "elsewhere"))), ("a/b", images.file(b"evil"))]
    (tmp_path / "elsewhere").mkdir()

    with open_output(tar(tmp_path / "tar", content)) as output:
        entries = [*output.system(), OutputEntry("a/planted")]
        try:
            Extraction(output, tmp_path / "out").run(entries)
        except KitbuildError:
            assert not (tmp_path / "out").exists()

    assert [] == list((tmp_path / "elsewhere").iterdir())


def test_damaged_output_leaves_nothing(tmp_path: Path) -> None:
    path = tar(tmp_path / "tar", {"a": b"a", "b": b"b" * 5000})
    with path.open("r+b") as file:
        file.truncate(3000)

    with pytest.raises(KitbuildError):
        extract(path, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar(tmp_path / "tar", {"a": "a", "b": "b"})
    real = os.fchmod
    calls = []

    def interrupted(descriptor: int, mode: int) -> None:
        calls.append(mode)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", interrupted)

    with pytest.raises(KeyboardInterrupt):
        extract(path, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_tar_that_leads_out_stays_inside(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../evil"))
        archive.addfile(tarfile.TarInfo("/absolute"))
    (tmp_path / "tar").write_bytes(buffer.getvalue())

    extract(tmp_path / "tar", tmp_path / "out")

    assert {"evil", "absolute"} == {each.name for each in (tmp_path / "out").iterdir()}
    assert {"tar", "out"} == {each.name for each in tmp_path.iterdir()}


def test_time_that_no_system_can_keep_is_no_trace(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "tar", "w") as file:
        for name, time in (("late", "1e40"), ("early", "-1e40")):
            member = tarfile.TarInfo(name)
            member.pax_headers = {"mtime": time}
            file.addfile(member)

    assert {"file": 2} == extract(tmp_path / "tar", tmp_path / "out").written


def test_names_of_one_pipe_are_left_out_and_those_of_one_symlink_are_symlinks(tmp_path: Path) -> None:
    content: dict[str, images.Content] = {
        "l": images.symlink("to"),
        "m": images.hardlink("l"),
        "p": images.device("fifo"),
        "q": images.hardlink("p"),
    }

    extracted = extract(tar(tmp_path / "tar", content), tmp_path / "out")

    assert ({"symlink": 2}, {"fifo": 2}) == (extracted.written, extracted.skipped)
    assert "to" == str((tmp_path / "out/m").readlink())
