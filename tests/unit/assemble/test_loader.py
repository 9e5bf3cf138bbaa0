"""The files of a boot loader, picked by their names."""

from __future__ import annotations

import pytest

from kitbuild.errors import RuleError
from kitbuild.rule import Artifact
from kitbuild.rules.assemble import loader
from kitbuild.rules.assemble.loader import LoaderOptions, Wanted, chosen, may_be
from kitbuild.system import MTIME
from kitbuild.tree import Entry
from tests.support.images import file, hardlink, symlink
from tests.support.trees import Bench, Content

PROGRAM = Wanted("program", ("bin/program", "program"))
PATTERN = Wanted("", ("start*.elf",))


def picked(bench: Bench, wanted: Wanted, *trees: Content) -> Artifact:
    options = LoaderOptions((wanted,), (), "loader", "source")
    return bench.run(loader.RULE, options, trees=[bench.layer(tree) for tree in trees])


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param([], {}, id="nothing"),
        pytest.param(["programs", "a/xprogram"], {}, id="other names"),
        pytest.param(["program"], {"program": "program"}, id="at the top"),
        pytest.param(
            ["lint/program", "usr/local/bin/program"], {"program": "usr/local/bin/program"}, id="best first"
        ),
        pytest.param(["usr/bin/program", "bin/program"], {"program": "bin/program"}, id="shortest"),
        pytest.param(["b/program", "a/program"], {"program": "a/program"}, id="sorted"),
        pytest.param(["xbin/program"], {"program": "xbin/program"}, id="whole names of folders"),
        pytest.param(["BIN/PROGRAM"], {"program": "BIN/PROGRAM"}, id="upper case"),
    ],
)
def test_best_candidate_is_chosen(paths: list[str], expected: dict[str, str]) -> None:
    assert expected == chosen(PROGRAM, paths)
    assert expected == chosen(PROGRAM, reversed(paths))
    assert bool(expected) == any(may_be(path, [PROGRAM]) for path in paths)


def test_all_files_of_a_pattern_keep_their_names() -> None:
    paths = ["deep/start.elf", "start.elf", "deep/start4.elf", "start.elf.bak", "restart.elf"]

    assert {"start.elf": "start.elf", "start4.elf": "deep/start4.elf"} == chosen(PATTERN, paths)


def test_files_lie_at_the_top_with_one_mode_and_time() -> None:
    bench = Bench()

    tree = picked(bench, PROGRAM, {"usr/bin/program": file(b"it", mode=0o4755, uid=7, mtime=9)})

    assert [Entry("program", "file", 0o644, mtime=MTIME, content=bench.slice(b"it"))] == list(
        bench.tree(tree)
    )


def test_tree_is_the_same_wherever_the_files_come_from() -> None:
    bench = Bench()
    options = LoaderOptions((PROGRAM,), ("here/program",), "loader", "folder")

    from_package = picked(bench, PROGRAM, {"usr/bin/program": b"it", "more": b"more"})
    from_folder = bench.run(loader.RULE, options, files=[bench.blob(b"it")])

    assert from_package == from_folder


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param({"bin/program": symlink("../lib/it"), "lib/it": b"it"}, id="symlink"),
        pytest.param({"bin/program": symlink("/lib/it"), "lib/it": b"it"}, id="absolute symlink"),
        pytest.param({"bin/program": symlink("../../../lib/./it"), "lib/it": b"it"}, id="above the root"),
        pytest.param(
            {
                "bin/program": symlink("next"),
                "bin/next": symlink("/lib/it"),
                "lib": symlink("usr/lib"),
                "usr/lib/it": b"it",
            },
            id="links on links",
        ),
        pytest.param({"a/it": b"it", "bin/program": hardlink("a/it")}, id="hard link"),
        pytest.param(
            {"a/it": b"it", "lib/h": hardlink("a/it"), "bin/program": symlink("../lib/h")}, id="both"
        ),
        pytest.param(
            {"bin/program": symlink("nothing"), "lib/program": b"it"}, id="a dangling link does not count"
        ),
        pytest.param({"bin/program": symlink("program"), "lib/program": b"it"}, id="nor does a loop"),
        pytest.param({"bin/program/x": b"x", "lib/program": b"it"}, id="nor does a folder"),
    ],
)
def test_links_are_followed_inside_their_tree(tree: Content) -> None:
    bench = Bench()

    assert {"program": b"it"} == bench.plain(picked(bench, PROGRAM, tree))


def test_files_come_from_several_trees_and_of_equal_paths_the_first_counts() -> None:
    bench = Bench()
    wanted = (PROGRAM, Wanted("other", ("other",)))
    trees = [bench.layer({"program": b"1"}), bench.layer({"program": b"2", "other": b"3"})]

    tree = bench.run(loader.RULE, LoaderOptions(wanted, (), "loader", "source"), trees=trees)

    assert {"program": b"1", "other": b"3"} == bench.plain(tree)


@pytest.mark.parametrize("wanted", [PROGRAM, PATTERN])
def test_missing_file_is_refused_saying_what_where_and_what_to_do(wanted: Wanted) -> None:
    names = " or ".join(f"`{name}`" for name in wanted.candidates)

    with pytest.raises(RuleError) as raised:
        picked(Bench(), wanted, {"else": b"x"})

    assert raised.value.message == f"expected a file {names} in source, got none"
    assert "`--boot-loader loader=FOLDER`" in (raised.value.hint or "")


def test_optional_file_may_be_missing_and_an_empty_one_is_there() -> None:
    bench = Bench()

    assert {} == bench.plain(picked(bench, PROGRAM._replace(optional=True), {"else": b"x"}))
    assert {"program": b""} == bench.plain(picked(bench, PROGRAM, {"program": b""}))


def test_huge_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_MAX_FILE_BYTES", 3)

    with pytest.raises(RuleError, match="expected a file of at most 3 bytes, got 4: program"):
        picked(Bench(), PROGRAM, {"program": b"1234"})
