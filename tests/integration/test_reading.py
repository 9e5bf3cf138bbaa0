"""The system in every format is that in the tar of the same config; and real tools see the same.

What formats cannot hold: extended attributes (initrd, ISO), times with fractions, boot/ (all but tar and ISO), ...
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitbuild.reading import OutputEntry, open_output
from tests.support.formats import groups
from tests.support.reading import MICROCODE, RichSite, digests_of, system_of, told_by_tarfile
from tests.support.registry import tool

pytestmark = pytest.mark.integration

# What the boot loaders of media that are the root file system themselves add to it.
_LOADERS = ("isolinux", "EFI", "boot/", "boot.img")
_NO_ATTRIBUTES = (
    "initrd",
    "raw",
    "qcow2",
    "vhd",
    "dynamic-vhd",
    "vhdx",
    "vmdk",
    "ova",
    "gcp",
    "iso",
    "uki",
    "rpi3",
)
# By the name of the file, what each is recognised as.
_FORMATS = {
    "linuxkit-bios.img": "raw",
    "linuxkit-efi.img": "raw",
    "linuxkit.raw": "raw",
    "linuxkit-efi-initrd.iso": "iso",
    "linuxkit-efi.iso": "iso",
    "linuxkit-hybrid.iso": "iso",
    "linuxkit.iso": "iso",
    "linuxkit-efi.qcow2": "qcow2",
    "linuxkit.qcow2": "qcow2",
    "linuxkit-erofs.img": "erofs",
    "linuxkit-squashfs.img": "squashfs",
    "linuxkit-initrd.img": "initrd",
    "linuxkit-ucode.cpio": "initrd",
    "linuxkit-initrd.tar": "tar-kernel-initrd",
    "linuxkit-kernel": "kernel",
    "linuxkit-oci.tar": "oci",
    "linuxkit.docker": "tar",
    "linuxkit.efi": "uki",
    "linuxkit.ova": "ova",
    "linuxkit.vhdx": "vhdx",
    "linuxkit.vmdk": "vmdk",
    "linuxkit.img.tar.gz": "gcp",
}


@pytest.fixture(scope="module", params=["amd64", "arm64"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RichSite:
    return RichSite(tmp_path_factory.mktemp("reading") / "site", architecture=request.param)


@pytest.fixture(scope="module")
def amd64(tmp_path_factory: pytest.TempPathFactory) -> RichSite:
    return RichSite(tmp_path_factory.mktemp("reading") / "site")


def outputs(site: RichSite) -> Iterator[Path]:
    for chosen in groups(site.architecture):
        yield from site.build(chosen).values()


def test_system_in_every_format_is_that_of_the_tar(site: RichSite) -> None:
    with open_output(site.build("tar")["linuxkit.tar"]) as output:
        wanted = system_of(output)
        digests = digests_of(output, wanted)

    for path in outputs(site):
        if path.name in ("linuxkit-kernel", "linuxkit-cmdline", "linuxkit-ucode.cpio", "linuxkit.docker"):
            continue
        with open_output(path) as output:
            found = system_of(output)
            expected = {name: _held(entry, output.format) for name, entry in _without_boot(wanted).items()}
            got = {name: _held(entry, output.format) for name, entry in _without_boot(found).items()}

            assert expected == got, path
            kept = digests_of(output, _without_boot(found))
            assert {name: digests[name] for name in kept} == kept, path


def _without_boot(entries: dict[str, OutputEntry]) -> dict[str, OutputEntry]:
    """Without what is for boot loaders: other tests look at that."""
    return {
        path: entry._replace(mtime=0) if path == "boot" else entry
        for path, entry in entries.items()
        if not path.startswith(_LOADERS) and path != "early-microcode"
    }


def _held(entry: OutputEntry, kind: str) -> OutputEntry:
    """What a format can hold of an entry: whole seconds; attributes only some."""
    entry = entry._replace(mtime=entry.mtime // 10**9)
    if kind == "iso" and entry.kind == "hardlink":
        # They are files of their own, numbered by place.
        return entry
    return entry._replace(xattrs=()) if kind in (*_NO_ATTRIBUTES, "tar-kernel-initrd") else entry


def test_every_output_is_recognised(site: RichSite) -> None:
    for path in outputs(site):
        if path.name in _FORMATS:
            with open_output(path) as output:
                assert _FORMATS[path.name] == output.format, path


def test_command_line_is_found_wherever_it_is(site: RichSite) -> None:
    for path in outputs(site):
        if path.name in ("linuxkit-cmdline", "linuxkit-ucode.cpio", "linuxkit-oci.tar"):
            continue
        with open_output(path) as output:
            cmdline = output.cmdline()
        assert cmdline is not None, path
        assert "console=ttyS0" in cmdline.split(), path


def test_kernel_on_every_medium_is_the_kernel(site: RichSite) -> None:
    kernel = next(path for path in outputs(site) if path.name == "linuxkit-kernel").read_bytes()

    for path in outputs(site):
        if path.name in ("linuxkit-cmdline", "linuxkit-initrd.img", "linuxkit-ucode.cpio"):
            continue
        with open_output(path) as output:
            for entry in output.medium():
                if entry.path in ("kernel", "p1/kernel", ".linux", "boot/kernel") and entry.kind == "file":
                    with output.open(entry) as stream:
                        assert kernel == stream.read(), path


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_other_compressions_are_read(tmp_path: Path, compression: str, amd64: RichSite) -> None:
    other = RichSite(tmp_path / "site", compression=compression)
    with open_output(amd64.build("tar")["linuxkit.tar"]) as output:
        wanted = system_of(output)
        digests = digests_of(output, wanted)

    built = other.build("kernel+initrd,kernel+squashfs,oci,uki,qcow2-bios")

    for name in (
        "linuxkit-initrd.img",
        "linuxkit-squashfs.img",
        "linuxkit-oci.tar",
        "linuxkit.efi",
        "linuxkit.qcow2",
    ):
        with open_output(built[name]) as output:
            found = _without_boot(system_of(output))
            assert list(_without_boot(wanted)) == list(found), name
            kept = digests_of(output, found)
            assert {path: digests[path] for path in kept} == kept, name


def test_tar_is_what_tarfile_says(amd64: RichSite) -> None:
    path = amd64.build("tar")["linuxkit.tar"]
    told = told_by_tarfile(path)

    with open_output(path) as output:
        found = system_of(output)

    assert set(told) == set(found)
    letters = {"0": "file", "5": "directory", "2": "symlink", "3": "character", "4": "block", "6": "fifo"}
    for name, (letter, mode, uid, gid, size, seconds) in told.items():
        entry = found[name]
        if letter == "1" or entry.kind == "hardlink":
            continue
        size = len(entry.target) if letter == "2" else size
        assert (letters[letter], mode, uid, gid, size, seconds) == (
            *(entry.kind, entry.mode, entry.uid, entry.gid, entry.size, entry.mtime // 10**9),
        )


def test_initrd_is_what_cpio_says(amd64: RichSite, tmp_path: Path) -> None:
    cpio = tool("cpio")
    path = amd64.build("kernel+squashfs,kernel+initrd")["linuxkit-initrd.img"]
    content = path.read_bytes()
    assert content.startswith(MICROCODE)
    import zlib

    names: list[str] = ["early-microcode"]
    rest = content[len(MICROCODE) :].lstrip(b"\0")
    while rest:
        stream = zlib.decompressobj(31)
        archive = stream.decompress(rest)
        rest = stream.unused_data.lstrip(b"\0")
        told = subprocess.run([cpio, "-t", "--quiet"], input=archive, capture_output=True, check=True).stdout
        names += told.decode().splitlines()

    with open_output(path) as output:
        found = set(system_of(output))

    assert {name for name in names if name != "."} == found


def test_squashfs_is_what_unsquashfs_says(amd64: RichSite) -> None:
    path = amd64.build("kernel+squashfs,kernel+initrd")["linuxkit-squashfs.img"]
    listed = subprocess.run(
        [tool("unsquashfs"), "-lln", "-UTC", "-no-progress", path], capture_output=True, text=True
    )
    told = {}
    for line in listed.stdout.splitlines():
        match = re.fullmatch(
            r"(\S{10}) (\d+)/(\d+) +([\d, ]+) (\d{4}-\d\d-\d\d \d\d:\d\d) squashfs-root/?(.*)", line
        )
        if match and match[6]:
            told[match[6].split(" -> ")[0]] = (match[1], int(match[2]), int(match[3]), match[4].strip())

    with open_output(path) as output:
        found = {entry.path: entry for entry in output.system()}

    assert set(told) == set(found)
    for name, (letters, uid, gid, size) in told.items():
        entry = found[name]
        assert (letters[1:], uid, gid) == (_letters(entry.mode), entry.uid, entry.gid), name
        if entry.kind in ("file", "hardlink", "symlink"):
            assert size == str(entry.size), name


def _letters(mode: int) -> str:
    import stat

    return stat.filemode(stat.S_IFREG | mode)[1:]


def test_erofs_is_what_fsck_extracts(amd64: RichSite, tmp_path: Path) -> None:
    path = amd64.build("kernel+erofs")["linuxkit-erofs.img"]
    fsck = tool("fsck.erofs")
    ended = subprocess.run(
        [fsck, f"--extract={tmp_path / 'out'}", "--no-preserve", path], capture_output=True, text=True
    )
    if ended.returncode:
        pytest.skip(f"fsck.erofs does not extract here: {ended.stderr[-200:]}")

    with open_output(path) as output:
        found = system_of(output)
        kept = digests_of(output, found)

    extracted = {
        each.relative_to(tmp_path / "out").as_posix(): each for each in (tmp_path / "out").rglob("*")
    }
    assert set(extracted) == set(found)
    for name, digest in kept.items():
        assert hashlib.sha256(extracted[name].read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("name", ["linuxkit.iso", "linuxkit-efi.iso", "linuxkit-hybrid.iso"])
def test_iso_is_what_isoinfo_and_xorriso_say(amd64: RichSite, name: str, tmp_path: Path) -> None:
    path = amd64.build("iso-bios,iso-efi,iso")[name]
    told = subprocess.run([tool("isoinfo"), "-R", "-f", "-i", path], capture_output=True, check=True).stdout

    with open_output(path) as output:
        found = {entry.path: entry for entry in output.medium()}
        extracted = subprocess.run(
            [tool("bsdtar"), "-tf", path], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
        ).stdout
        seen = {line.strip("/") for line in extracted.decode().splitlines()} - {"."}

    assert {line.removeprefix("/") for line in told.decode().splitlines()} - {""} == set(found)
    assert seen == set(found)


@pytest.mark.parametrize("name", ["linuxkit-bios.img", "linuxkit-efi.img", "linuxkit.raw"])
def test_partition_is_what_mtools_say(amd64: RichSite, name: str, tmp_path: Path) -> None:
    path = amd64.build("raw-bios,raw-efi,aws")[name]
    start = 2048 * 512
    told = subprocess.run(
        [tool("mdir"), "-/", "-a", "-b", "-i", f"{path}@@{start}", "::"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout

    with open_output(path) as output:
        entries = {entry.path.removeprefix("p1/"): entry for entry in output.medium() if entry.path != "p1"}
        for inner, entry in entries.items():
            if entry.kind == "file":
                subprocess.run(
                    [tool("mcopy"), "-n", "-i", f"{path}@@{start}", f"::{inner}", tmp_path / "copy"],
                    check=True,
                )
                with output.open(entry) as stream:
                    assert (tmp_path / "copy").read_bytes() == stream.read(), inner
                (tmp_path / "copy").unlink()

    assert {line.removeprefix("::/").rstrip("/") for line in told.splitlines()} == set(entries)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("linuxkit.qcow2", []),
        ("compressed.qcow2", ["-O", "qcow2", "-c"]),
        ("zstd.qcow2", ["-O", "qcow2", "-c", "-o", "compression_type=zstd"]),
        ("old.qcow2", ["-O", "qcow2", "-o", "compat=0.10"]),
        ("small.qcow2", ["-O", "qcow2", "-o", "cluster_size=512"]),
        ("linuxkit.vmdk", []),
        ("sparse.vmdk", ["-O", "vmdk"]),
        ("stream.vmdk", ["-O", "vmdk", "-o", "subformat=streamOptimized", "-c"]),
        ("linuxkit.vhdx", []),
        ("other.vhdx", ["-O", "vhdx"]),
        ("linuxkit.vhd", []),
        ("fixed.vhd", ["-O", "vpc", "-o", "subformat=fixed,force_size"]),
        ("dynamic.vhd", ["-O", "vpc", "-o", "subformat=dynamic,force_size"]),
    ],
)
def test_disk_is_what_qemu_converts_it_to(
    amd64: RichSite, tmp_path: Path, name: str, options: list[str]
) -> None:
    from kitbuild.reading.disk import open_disk
    from kitbuild.reading.window import FileWindow

    qemu = tool("qemu-img")
    built = amd64.build("qcow2-bios,vmdk,vhdx,vhd")
    path = built.get(name) or tmp_path / name
    if options:
        subprocess.run([qemu, "convert", *options, built["linuxkit.qcow2"], path], check=True)
    # A fixed VHD has its mark at its end only, where qemu-img does not look by itself.
    kind = ["-f", "vpc"] if path.suffix == ".vhd" else []
    subprocess.run([qemu, "convert", *kind, "-O", "raw", path, tmp_path / "raw"], check=True)

    window = FileWindow(path)
    disk = open_disk(window)
    assert disk is not None
    digest = hashlib.sha256()
    for chunk in disk.content.chunks():
        digest.update(chunk)
    window.close()

    assert hashlib.sha256((tmp_path / "raw").read_bytes()).hexdigest() == digest.hexdigest()


@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd", "lz4", "lzma"])
def test_squashfs_of_mksquashfs_is_read(amd64: RichSite, tmp_path: Path, compression: str) -> None:
    folder = _unpacked(amd64, tmp_path)
    ended = subprocess.run(
        [tool("mksquashfs"), folder, tmp_path / "made", "-comp", compression, "-quiet", "-no-progress"],
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        pytest.skip(f"mksquashfs does not know {compression}: {ended.stderr}")

    _assert_is_folder(tmp_path / "made", folder)


def test_erofs_of_mkfs_is_read(amd64: RichSite, tmp_path: Path) -> None:
    folder = _unpacked(amd64, tmp_path)
    subprocess.run(
        [tool("mkfs.erofs"), "--quiet", tmp_path / "made", folder], check=True, capture_output=True
    )

    _assert_is_folder(tmp_path / "made", folder)


def test_chunked_erofs_of_mkfs_is_read(amd64: RichSite, tmp_path: Path) -> None:
    folder = _unpacked(amd64, tmp_path)
    command: list[str | Path] = [
        tool("mkfs.erofs"),
        "--quiet",
        "--chunksize=65536",
        tmp_path / "made",
        folder,
    ]
    subprocess.run(command, check=True, capture_output=True)

    _assert_is_folder(tmp_path / "made", folder)


@pytest.mark.parametrize(
    "options", [["-t", "ext4"], ["-t", "ext2"], ["-t", "ext4", "-b", "1024", "-I", "128"]]
)
def test_ext4_of_mkfs_is_read(amd64: RichSite, tmp_path: Path, options: list[str]) -> None:
    folder = _unpacked(amd64, tmp_path)
    with (tmp_path / "made").open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(
        [tool("mke2fs"), "-q", *options, "-d", folder, tmp_path / "made"], check=True, capture_output=True
    )

    _assert_is_folder(tmp_path / "made", folder, skipped=("lost+found",))


def test_iso_of_xorriso_is_read(amd64: RichSite, tmp_path: Path) -> None:
    folder = _unpacked(amd64, tmp_path)
    command: list[str | Path] = [
        tool("xorriso"),
        "-as",
        "mkisofs",
        "-R",
        "-J",
        "-quiet",
        "-o",
        tmp_path / "made",
        folder,
    ]
    subprocess.run(command, check=True, capture_output=True)

    _assert_is_folder(tmp_path / "made", folder)


def test_iso_of_genisoimage_with_moved_folders_is_read(amd64: RichSite, tmp_path: Path) -> None:
    folder = _unpacked(amd64, tmp_path)
    command: list[str | Path] = [tool("genisoimage"), "-R", "-quiet", "-o", tmp_path / "made", folder]
    subprocess.run(command, check=True, capture_output=True)

    _assert_is_folder(tmp_path / "made", folder, skipped=("rr_moved",))


def _unpacked(site: RichSite, tmp_path: Path) -> Path:
    """The rich folder as anybody unpacks it: no devices."""
    folder = tmp_path / "folder"
    with tarfile.open(site.build("tar")["linuxkit.tar"]) as tar:
        members = [member for member in tar if not member.isdev()]
        tar.extractall(folder, members, filter="fully_trusted")
    return folder


def _assert_is_folder(path: Path, folder: Path, *, skipped: tuple[str, ...] = ()) -> None:
    with open_output(path) as output:
        found = {entry.path: entry for entry in output.medium()}
        for name in skipped:
            found.pop(name, None)
        there = {each.relative_to(folder).as_posix(): each for each in folder.rglob("*")}
        assert set(there) == set(found)
        for name, each in there.items():
            entry = found[name]
            about = each.lstat()
            if each.is_symlink():
                assert str(each.readlink()) == entry.target
                continue
            assert (about.st_mode & 0o7777, about.st_uid, about.st_gid) == (
                entry.mode,
                entry.uid,
                entry.gid,
            ), name
            assert int(about.st_mtime) == entry.mtime // 10**9, name
            if each.is_file():
                with output.open(entry) as stream:
                    assert each.read_bytes() == stream.read(), name
