from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from kitbuild.compare import packages
from kitbuild.compare.packages import (
    apk_packages,
    dpkg_packages,
    joined,
    json_of,
    spdx_packages,
    without,
)


def test_an_spdx_document_has_packages_with_a_version() -> None:
    listed = [{"name": "musl", "versionInfo": "1.2"}, {"name": "image"}, {"name": 7, "versionInfo": "1"}, "x"]

    found = spdx_packages(json.dumps({"packages": listed}).encode())

    assert {"musl": ("1.2",)} == found


def test_several_versions_of_one_package_are_all_there() -> None:
    listed = [{"name": "musl", "versionInfo": version} for version in ("1.3", "1.2", "1.3")]

    assert {"musl": ("1.2", "1.3")} == spdx_packages(json.dumps({"packages": listed}).encode())


def test_dpkg_knows_packages_that_are_installed() -> None:
    status = (
        b"Package: bash\nStatus: install ok installed\nVersion: 5.2-1\nDescription: shell\n Version: no\n\n"
        b"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
        b"Package: base-files\nVersion: 12\n"
    )

    assert {"bash": ("5.2-1",), "base-files": ("12",)} == dpkg_packages(status)


def test_apk_databases_one_after_another_are_read() -> None:
    database = b"C:Q1\nP:musl\nV:1.2.4-r2\nF:lib\nR:libc.so\n\n\n\nP:busybox\nV:1.36\n"

    assert {"musl": ("1.2.4-r2",), "busybox": ("1.36",)} == apk_packages(database)


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda: spdx_packages(b"{"), id="no json"),
        pytest.param(lambda: spdx_packages(b"[]"), id="other json"),
        pytest.param(lambda: spdx_packages(b'{"packages": {}}'), id="packages of another kind"),
        pytest.param(lambda: json_of(b"[" * 100_000 + b"]" * 100_000), id="nested deeply"),
        pytest.param(lambda: json_of(b'{"a":' * 100 + b"1" + b"}" * 100), id="nested"),
        pytest.param(lambda: json_of(b"NaN"), id="no number"),
        pytest.param(lambda: json_of(b"9" * 10_000), id="huge number"),
        pytest.param(lambda: json_of(b" " * 100, most_bytes=99), id="too large"),
        pytest.param(lambda: json_of(b"\xff"), id="no text"),
    ],
)
def test_what_is_malformed_or_too_much_is_refused(read: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        read()


def test_brackets_in_texts_are_not_nested() -> None:
    assert ["[" * 1000] == json_of(json.dumps(["[" * 1000]).encode())


def test_too_many_packages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_MAX_PACKAGES", 2)

    with pytest.raises(ValueError, match="at most 2 packages"):
        apk_packages(b"P:a\nV:1\n\nP:b\nV:1\n\nP:c\nV:1\n\n")


def test_what_others_have_too_is_left_out() -> None:
    bill = {"musl": ("1.2", "1.3"), "web": ("1",)}

    assert {"musl": ("1.3",), "web": ("1",)} == without(bill, joined([{"musl": ("1.2",)}, {"web": ("2",)}]))
