from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.rules.layout.iso_names import iso_paths, joliet_paths
from kitbuild.tree import Entry, Kind, Tree

_NAMES = st.lists(
    st.text(st.characters(blacklist_characters="/\0"), min_size=1, max_size=120).filter(
        lambda name: name not in (".", "..")
    ),
    max_size=12,
    unique=True,
)


def named(*names: str, kind: Kind = "file") -> Tree:
    return Tree.of([Entry("", "directory", 0o755), *(Entry(name, kind, 0o644) for name in names)])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kernel", "/KERNEL.;1"),
        ("initrd.img", "/INITRD.IMG;1"),
        (".profile", "/_PROFILE.;1"),
        ("a.b.c", "/A_B.C;1"),
        ("a.", "/A.;1"),
        ("grün", "/GR_N.;1"),
        ("ß", "/_.;1"),
        ("caf\udce9", "/CAF_.;1"),
        ("n" * 40, f"/{'N' * 30}.;1"),
        ("n" * 40 + ".tar", f"/{'N' * 27}.TAR;1"),
        ("n." + "e" * 40, f"/N.{'E' * 10};1"),
    ],
)
def test_iso_names_of_files(name: str, expected: str) -> None:
    assert expected == iso_paths(named(name))[name]


@pytest.mark.parametrize(
    ("name", "expected"), [("a.b-c", "/A_B_C"), ("n" * 40, f"/{'N' * 31}"), (".d", "/_D")]
)
def test_iso_names_of_directories(name: str, expected: str) -> None:
    assert expected == iso_paths(named(name, kind="directory"))[name]


def test_names_that_would_be_the_same_are_numbered() -> None:
    paths = iso_paths(named("A", "a", "a001", "x" * 40, "x" * 41))

    assert {
        "": "",
        "A": "/A.;1",
        "a": "/A001.;1",
        "a001": "/A001001.;1",
        "x" * 40: f"/{'X' * 30}.;1",
        "x" * 41: f"/{'X' * 27}001.;1",
    } == paths


def test_paths_follow_the_names_of_their_directories() -> None:
    tree = Tree.of([Entry("d", "directory", 0o755), Entry("d/f", "file", 0), Entry("D", "directory", 0o755)])

    assert ("/D001/F.;1", "/d/f") == (iso_paths(tree)["d/f"], joliet_paths(tree)["d/f"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grün", "/grün"),
        ("😀", "/😀"),
        ('a*b:c;d?e\\f"<>|', '/a_b_c_d_e_f"<>|'),
        ("a\nb", "/a_b"),
        ("caf\udce9", "/caf_"),
        ("n" * 80, f"/{'n' * 64}"),
        ("n" * 63 + "😀", f"/{'n' * 63}"),
    ],
)
def test_joliet_names(name: str, expected: str) -> None:
    assert expected == joliet_paths(named(name))[name]


def test_joliet_has_directories_and_files_alone() -> None:
    tree = Tree.of(
        [
            *(Entry(kind, kind, 0o644) for kind in ("directory", "file", "symlink", "char", "block", "fifo")),
            Entry("hardlink", "hardlink", 0, target="file"),
        ]
    )

    assert {"", "directory", "file", "hardlink"} == set(joliet_paths(tree))


@given(_NAMES)
def test_names_are_allowed_and_unique(names: list[str]) -> None:
    iso, joliet = iso_paths(named(*names)), joliet_paths(named(*names))

    assert len(names) + 1 == len(set(iso.values())) == len(set(joliet.values()))
    assert all(re.fullmatch(r"/[A-Z0-9_]{1,30}\.[A-Z0-9_]{0,10};1", iso[name]) for name in names)
    assert all(
        re.fullmatch(r"/[^/\0-\x1f*:;?\\]+", joliet[name]) and len(joliet[name].encode()) <= 65
        for name in names
    )


def test_a_thousand_names_of_one_beginning_are_numbered_quickly() -> None:
    names = [f"{'long' * 10}{number}" for number in range(2000)]

    assert 2001 == len(set(iso_paths(named(*names)).values()))
