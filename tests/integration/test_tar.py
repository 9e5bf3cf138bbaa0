"""Archives by GNU tar and bsdtar read by kitbuild, and kitbuild's read and unpacked by them."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from kitbuild.extents import Slice
from kitbuild.rules.format import members
from kitbuild.rules.layout.ustar import TRAILER
from kitbuild.rules.unpack.index import index
from kitbuild.rules.unpack.tar import Member
from kitbuild.tree import Entry
from tests.support.command import Site
from tests.support.registry import tool
from tests.support.tars import content_of, read_file
from tests.support.trees import Bench

pytestmark = pytest.mark.integration

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and owners")
GNU = ["v7", "ustar", "oldgnu", "gnu", "posix"]
BSD = ["ustar", "pax", "gnutar", "v7"]


def folder_with_all(folder: Path) -> Path:
    """Files of many kinds; the names fit into every format."""
    source = folder / "source"
    (source / "dir").mkdir(parents=True)
    (source / "dir/file").write_bytes(b"content")
    (source / "empty").touch(mode=0o600)
    (source / "link").symlink_to("dir/file")
    os.link(source / "dir/file", source / "hard")
    (source / "dir").chmod(0o1777)
    (source / "su").write_bytes(b"x" * 1000)
    (source / "su").chmod(0o4755)
    for path in (source / "dir/file", source / "su"):
        os.utime(path, (1_500_000_000, 1_500_000_000))
    return source


def gnu(archive: Path, source: Path, *options: str) -> tuple[list[Member], bytes]:
    command = [
        tool("tar"),
        "--create",
        "--sort=name",
        f"--file={archive}",
        f"--directory={source}",
        *options,
        ".",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return read_file(archive)


def bsd(archive: Path, source: Path, *options: str) -> tuple[list[Member], bytes]:
    command = [tool("bsdtar"), "-c", "-f", str(archive), "-C", str(source), *options, "."]
    subprocess.run(command, check=True, capture_output=True)
    return read_file(archive)


def names_of(found: list[Member]) -> dict[str, Member]:
    return {member.name.removeprefix("./").rstrip("/"): member for member in found}


def check_all(found: list[Member], archive: bytes) -> None:
    members = names_of(found)
    assert {"", "dir", "dir/file", "empty", "hard", "link", "su"} == set(members)
    assert ("5", 0o1777) == (members["dir"].type, members["dir"].mode & 0o7777)
    assert ("2", "dir/file") == (members["link"].type, members["link"].link)
    assert (0o4755, 1_500_000_000) == (members["su"].mode & 0o7777, members["su"].mtime // 10**9)
    assert b"x" * 1000 == content_of(members["su"], archive)
    first, second = sorted((members["dir/file"], members["hard"]), key=lambda member: member.offset)
    assert b"content" == content_of(first, archive)
    assert ("0", "1", first.name) == (first.type, second.type, second.link)
    assert os.geteuid() == members["su"].uid


@pytest.mark.parametrize("format", GNU)
def test_what_gnu_tar_writes_is_read(tmp_path: Path, format: str) -> None:
    found, archive = gnu(tmp_path / "a.tar", folder_with_all(tmp_path), f"--format={format}")

    check_all(found, archive)


@pytest.mark.parametrize("format", BSD)
def test_what_bsdtar_writes_is_read(tmp_path: Path, format: str) -> None:
    found, archive = bsd(tmp_path / "a.tar", folder_with_all(tmp_path), f"--format={format}")

    check_all(found, archive)


@pytest.mark.parametrize("length", [100, 101, 155, 156, 255])
@pytest.mark.parametrize("writer", ["gnu", "oldgnu", "posix", "pax", "gnutar"])
def test_long_names_and_links_are_read(tmp_path: Path, writer: str, length: int) -> None:
    source = tmp_path / "source"
    deep = source / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    (deep / ("n" * length)).write_bytes(b"1")
    (source / "link").symlink_to("t" * length)
    os.link(deep / ("n" * length), source / ("h" * length))

    write = gnu if writer in GNU else bsd
    found, archive = write(tmp_path / "a.tar", source, f"--format={writer}")

    members = names_of(found)
    path = f"{'d' * 200}/{'e' * 200}/{'n' * length}"
    assert "t" * length == members["link"].link
    assert {"0", "1"} == {members[path].type, members["h" * length].type}
    assert b"1" in {content_of(member, archive) for member in members.values()}


@pytest.mark.parametrize("writer", ["gnu", "posix", "pax"])
def test_names_of_any_bytes_are_read(tmp_path: Path, writer: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    names = {"grün", "a\nb", "日本" * 40, " blank ", "caf\udce9"}
    for name in names:
        (source / name).touch()

    write = gnu if writer in GNU else bsd
    environment = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = "C.UTF-8"
    try:
        found, _ = write(tmp_path / "a.tar", source, f"--format={writer}")
    finally:
        os.environ.pop("LC_ALL") if environment is None else os.environ.update(LC_ALL=environment)

    assert names | {""} == set(names_of(found))


@pytest.mark.parametrize("format", ["gnu", "posix"])
def test_ids_and_times_no_octal_field_holds_are_read(tmp_path: Path, format: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").touch()
    owner = ["--owner=u:3000000000", "--group=g:2097152", "--mtime=@-86400.5"]

    found, _ = gnu(tmp_path / "a.tar", source, f"--format={format}", *owner)

    member = names_of(found)["a"]
    assert (3_000_000_000, 2_097_152) == (member.uid, member.gid)
    assert (-86_400_500_000_000 if format == "posix" else -86_401_000_000_000) == member.mtime


@pytest.mark.parametrize("version", ["oldgnu", "gnu", "0.0", "0.1", "1.0"])
@pytest.mark.parametrize("pieces", [0, 1, 3, 4, 5, 30])
def test_sparse_files_of_gnu_tar_are_read(tmp_path: Path, version: str, pieces: int) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with (source / "disk").open("wb") as disk:
        for piece in range(pieces):
            disk.seek(piece * 200_000)
            disk.write(b"%d" % piece * 3000)
        disk.truncate(pieces * 200_000 + 100_000)
    way = (
        [f"--format={version}"]
        if version.endswith("gnu")
        else ["--format=posix", f"--sparse-version={version}"]
    )

    found, archive = gnu(tmp_path / "a.tar", source, "--sparse", *way)

    member = names_of(found)["disk"]
    assert len(archive) < pieces * 60_000 + 30_000
    assert (source / "disk").read_bytes() == content_of(member, archive)


def test_extended_attributes_of_both_programs_are_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").touch()
    value = b"\0\1=\n\xff"
    try:
        os.setxattr(source / "a", "user.test", value)
    except OSError:
        pytest.skip("the file system of the tests has no extended attributes")

    by_gnu, _ = gnu(tmp_path / "g.tar", source, "--format=posix", "--xattrs", "--xattrs-include=*")
    by_bsd, _ = bsd(tmp_path / "b.tar", source, "--format=pax", "--xattrs")

    assert (("user.test", value),) == names_of(by_gnu)["a"].xattrs == names_of(by_bsd)["a"].xattrs


@ROOT
@pytest.mark.parametrize("writer", ["gnu", "posix", "ustar", "pax"])
def test_devices_are_read(tmp_path: Path, writer: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    os.mkfifo(source / "fifo")
    _mknod(source / "null", stat.S_IFCHR, (1, 3))
    _mknod(source / "disk", stat.S_IFBLK, (259, 70_000))

    found, _ = (gnu if writer in GNU else bsd)(tmp_path / "a.tar", source, f"--format={writer}")

    members = names_of(found)
    assert ("3", (1, 3)) == (members["null"].type, members["null"].device)
    assert ("4", (259, 70_000)) == (members["disk"].type, members["disk"].device)
    assert "6" == members["fifo"].type


def _mknod(path: Path, kind: int, device: tuple[int, int]) -> None:
    try:
        os.mknod(path, kind | 0o600, os.makedev(*device))
    except PermissionError:
        pytest.skip("devices cannot be made here")


# -- what kitbuild writes

XATTRS = (("user.test", b"\0=\n\xff"),)


def written(folder: Path, entries: list[Entry], bench: Bench) -> Path:
    options = members.MembersOptions("docker.io/t/a:v1", "init[0]")
    path = folder / "kitbuild.tar"
    path.write_bytes(bench.bytes_of(bench.run(members.RULE, options, tree=bench.put(entries))) + TRAILER)
    return path


def every_kind(bench: Bench) -> list[Entry]:
    long = "long/" + "n" * 200
    second = 1_400_000_000
    made = [
        Entry("", "directory", 0o755, mtime=second * 10**9),
        Entry("dir", "directory", 0o1777, 1, 2, second * 10**9),
        Entry(
            "dir/file", "file", 0o4755, 3_000_000, 5, second * 10**9 + 250_000_000, bench.slice(b"c" * 700)
        ),
        Entry("empty", "file", 0o600, mtime=-10 * 10**9),
        Entry("hard", "hardlink", 0o4755, 3_000_000, 5, second * 10**9 + 250_000_000, target="dir/file"),
        Entry("long", "directory", 0o700, mtime=second * 10**9),
        Entry(long, "file", 0o644, mtime=second * 10**9, content=bench.slice(b"long")),
        Entry("longlink", "symlink", 0o777, mtime=second * 10**9, target=long),
        Entry("ünï", "file", 0o644, mtime=second * 10**9, content=bench.slice(b"u")),
        Entry("with", "file", 0o644, mtime=second * 10**9, xattrs=XATTRS),
    ]
    return made


@ROOT
@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_tar_unpacks_to_the_tree(tmp_path: Path, program: str) -> None:
    bench = Bench()
    entries = every_kind(bench)
    try:
        os.setxattr(tmp_path, "user.probe", b"")
    except OSError:
        entries = [entry._replace(xattrs=()) for entry in entries]
    archive, target = written(tmp_path, entries, bench), tmp_path / "target"
    target.mkdir()
    extended = ["--xattrs", "--xattrs-include=*"] if program == "tar" else ["--xattrs"]

    ended = subprocess.run(
        [tool(program), "-x", "-p", "--numeric-owner", *extended, "-f", str(archive), "-C", str(target)],
        check=True,
        capture_output=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )

    # GNU tar does not know the records that say where a member comes from, and finds 1969 implausible.
    known = (b"LINUXKIT.", b"implausibly old time stamp")
    assert not [line for line in ended.stderr.splitlines() if not any(text in line for text in known)]
    for entry in entries:
        found = (target / entry.path).lstat()
        kind = {"directory": stat.S_IFDIR, "symlink": stat.S_IFLNK}.get(entry.kind, stat.S_IFREG)
        assert (kind | entry.mode, entry.uid, entry.gid) == (found.st_mode, found.st_uid, found.st_gid), (
            entry.path
        )
        # bsdtar leaves the time of the folder it works in alone.
        assert entry.mtime == found.st_mtime_ns or not entry.path, entry.path
        if entry.content:
            assert bench.read(entry.content) == (target / entry.path).read_bytes()
        for name, value in entry.xattrs:
            assert value == os.getxattr(target / entry.path, name)
    assert (target / "hard").samefile(target / "dir/file")


@ROOT
def test_devices_unpack(tmp_path: Path) -> None:
    _mknod(tmp_path / "probe", stat.S_IFCHR, (1, 3))
    bench = Bench()
    entries = [
        Entry("null", "char", 0o666, device=(1, 3)),
        Entry("disk", "block", 0o660, device=(259, 70_000)),
    ]
    archive = written(tmp_path, [*entries, Entry("pipe", "fifo", 0o600)], bench)

    subprocess.run([tool("tar"), "-xpf", str(archive), "-C", str(tmp_path)], check=True, capture_output=True)

    for entry in entries:
        assert os.makedev(*entry.device) == (tmp_path / entry.path).stat().st_rdev
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_other_programs_list_every_member(tmp_path: Path, program: str) -> None:
    bench = Bench()
    archive = written(tmp_path, every_kind(bench), bench)
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}

    listed = subprocess.run(
        [tool(program), "-t", "-f", str(archive)], check=True, capture_output=True, env=environment
    ).stdout.decode()

    assert len(every_kind(bench)) == len(listed.splitlines())


def test_source_and_location_are_where_linuxkit_puts_them(tmp_path: Path) -> None:
    bench = Bench()

    with tarfile.open(written(tmp_path, every_kind(bench), bench)) as opened:
        records = [
            (info.pax_headers["LINUXKIT.source"], info.pax_headers["LINUXKIT.location"]) for info in opened
        ]

    assert [("docker.io/t/a:v1", "init[0]")] * len(every_kind(bench)) == records


def test_tar_of_a_build_is_read_and_indexed_again(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")

    content = site.run("build", "--output", "-", "--format", "tar", "linuxkit.yml").stdout

    bench = Bench()
    blob = bench.blob(content).digest
    with bench.work() as work:
        tree = index(Slice(blob, 0, blob.size), work, complete=True).by_path()
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        assert set(tree) == {info.name.removeprefix("./").rstrip("/") for info in opened}
    assert {"boot/kernel", "boot/cmdline", "etc/note", "containers/services/web/config.json"} <= set(tree)
    assert bytes(1024) == content[-1024:]


def test_tar_for_docker_is_the_same_with_a_dockerfile(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")

    plain, docker = (
        site.run("build", "--output", "-", "--format", format, "linuxkit.yml").stdout
        for format in ("tar", "docker")
    )

    assert plain[:-1024] == docker[: len(plain) - 1024]
    with tarfile.open(fileobj=io.BytesIO(docker)) as opened:
        member = opened.getmembers()[-1]
        text = opened.extractfile(member)
        assert text is not None
        assert ("Dockerfile", 0o644, {}) == (member.name, member.mode, member.pax_headers)
        assert b'\nFROM scratch\n\nCOPY . ./\n\nENTRYPOINT ["/bin/rc.init"]\n' == text.read()


def test_tar_of_kernel_and_initrd_has_the_files_of_the_other_format(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")

    site.run("build", "--format", "kernel+initrd,tar-kernel-initrd", "linuxkit.yml")

    with tarfile.open(site.folder / "linuxkit-initrd.tar") as opened:
        for member in opened:
            name = f"linuxkit-{member.name}"
            content = opened.extractfile(member)
            assert content is not None
            assert (site.folder / name).read_bytes() == content.read()
        assert ["kernel", "initrd.img", "cmdline"] == opened.getnames()
