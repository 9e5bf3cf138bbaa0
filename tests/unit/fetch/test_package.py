"""fetch/package: mirrors asked one after another; apt is played by the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import RuleError
from kitbuild.rule import Artifact
from kitbuild.rules.fetch import package
from kitbuild.rules.fetch.package import PackageOptions
from tests.support.work import FolderWork, run

CONTENT = b"!<arch>\n and so on"
DIGEST = Digest.of(CONTENT)
OPTIONS = PackageOptions(DIGEST.hex, DIGEST.size, "package:pool/main/l/loader_1+b1_all.deb", "loader")
PRINTED = b"""\
'http://one.example/debian/dists/stable/InRelease' one_InRelease 0
'http://one.example/debian/dists/stable-updates/InRelease' two_InRelease 0
'http://one.example/debian/dists/stable/main/binary-amd64/Packages.xz' three_Packages 0
'file:///srv/dists/debian/dists/security/updates/InRelease' four_InRelease 0
'http://flat.example/packages/./InRelease' five_InRelease 0
"""
ONE = "http://one.example/debian/pool/main/l/loader_1+b1_all.deb"
TWO = "file:///srv/dists/debian/pool/main/l/loader_1+b1_all.deb"


class Machine(FolderWork[PackageOptions]):
    """A Work on a machine whose apt has these mirrors, with these files by address; `asked` is what it was asked."""

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, bytes],
        *,
        options: PackageOptions = OPTIONS,
        printed: bytes | None = PRINTED,
    ) -> None:
        super().__init__(options, folder)
        self.asked: list[str] = []
        self._files = files
        self._printed = printed

    def tool(self, command: Sequence[str], folder: Path | None = None) -> bytes:
        if command[0] == "apt-get":
            if self._printed is None:
                raise RuleError("cannot run `apt-get`: No such file or directory")
            return self._printed
        address, path = command[-2:]
        self.asked.append(address)
        if address not in self._files:
            raise RuleError("`apt-helper` failed: E: Download Failed")
        if self._files[address]:
            Path(path).write_bytes(self._files[address])
        return b""


def refused(machine: Machine) -> RuleError:
    with pytest.raises(RuleError) as raised:
        run(package.RULE, machine)
    assert machine.kept() == set()
    return raised.value


def test_first_mirror_that_has_it_is_enough(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {ONE: CONTENT, TWO: CONTENT})

    assert Artifact("blob", DIGEST) == run(package.RULE, machine)
    assert machine.asked == [ONE]


def test_mirrors_are_asked_once_each_in_their_order(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {TWO: CONTENT})

    assert Artifact("blob", DIGEST) == run(package.RULE, machine)
    assert machine.asked == [ONE, TWO]


def test_size_need_not_be_known(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {ONE: CONTENT}, options=OPTIONS._replace(size=0))

    assert Artifact("blob", DIGEST) == run(package.RULE, machine)


def test_nothing_is_believed_that_has_another_digest(tmp_path: Path) -> None:
    error = refused(Machine(tmp_path, {ONE: CONTENT[:-1] + b"!"}))

    assert "`apt-helper` failed" in error.message  # that of the last mirror asked


def test_wrong_bytes_are_told(tmp_path: Path) -> None:
    error = refused(Machine(tmp_path, {TWO: CONTENT[:-1] + b"!"}))

    assert f"expected a package with the digest {DIGEST.oci}, got sha256:" in error.message


def test_what_apt_did_not_leave_is_told(tmp_path: Path) -> None:
    error = refused(Machine(tmp_path, {TWO: b""}))

    assert "cannot read what apt fetched: No such file or directory" in error.message


def test_more_bytes_than_there_should_be_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "at most 18 bytes, got more" in refused(Machine(tmp_path, {TWO: CONTENT * 2})).message

    monkeypatch.setattr(package, "_MAX_BYTES", 10)
    unsized = OPTIONS._replace(size=0)
    assert "at most 10 bytes, got more" in refused(Machine(tmp_path, {TWO: CONTENT}, options=unsized)).message


def test_hint_tells_what_to_give_when_no_mirror_has_it(tmp_path: Path) -> None:
    error = refused(Machine(tmp_path, {}))

    assert error.message.startswith("no mirror of this machine gave pool/main/l/loader_1+b1_all.deb: ")
    assert "`--boot-loader loader=FOLDER`" in (error.hint or "")
    assert "`loader=image:REFERENCE`" in (error.hint or "")


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        (b"", "no mirror of this machine gave pool/main/l/loader_1+b1_all.deb: apt knows none"),
        (
            None,
            "expected apt, to fetch the package with: cannot run `apt-get`: No such file or directory",
        ),
    ],
)
def test_machine_without_mirrors_or_apt_is_told_so(
    tmp_path: Path, printed: bytes | None, message: str
) -> None:
    error = refused(Machine(tmp_path, {}, printed=printed))

    assert error.message == message
    assert "`--boot-loader loader=FOLDER`" in (error.hint or "")


def test_offline_nothing_is_asked(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {ONE: CONTENT}, options=OPTIONS._replace(offline=True))

    error = refused(machine)

    assert error.message == "the package is not in the cache, and mirrors are not asked offline"
    assert (error.hint or "").startswith("build once without `--offline`, or give the boot loader with ")
    assert machine.asked == []
