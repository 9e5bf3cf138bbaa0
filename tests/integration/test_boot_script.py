"""boot.py ends QEMU in every case and says whether the marker was seen. QEMU is played by a shell script here."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from examples.kit.boot import Drive, format_of, machine_of
from tests.support.boot import FORMATS, KIT, Machine, boot

pytestmark = pytest.mark.integration

# Leaves its process id, so that a test can look whether it is gone, and shows how it was called.
SCRIPT = """#!/bin/sh
echo $$ >{pid}
echo "called with: $*"
printf 'the mar'
printf 'ker\\r\\n'
{end}
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    played(tmp_path, "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "system-cmdline").write_text("console=ttyS0")
    return Machine.of(tmp_path / "system")


def played(folder: Path, end: str) -> None:
    script = folder / "qemu-system-x86_64"
    script.write_text(SCRIPT.format(pid=folder / "pid", end=end))
    script.chmod(0o755)


def gone(folder: Path) -> bool:
    return not Path("/proc", (folder / "pid").read_text().strip()).exists()


def test_the_marker_ends_the_machine(machine: Machine, tmp_path: Path) -> None:
    result = boot(machine, "the marker", timeout_seconds=30)

    assert result.seen
    assert result.seconds < 30
    assert result.console.endswith("the marker\n")
    assert gone(tmp_path)


def test_the_machine_still_runs_while_the_marker_is_acted_on(machine: Machine, tmp_path: Path) -> None:
    running = []

    boot(machine, "the marker", timeout_seconds=30, then=lambda: running.append(not gone(tmp_path)))

    assert running == [True]


def test_a_marker_that_never_comes_ends_the_machine_when_the_time_is_up(
    machine: Machine, tmp_path: Path
) -> None:
    result = boot(machine, "another marker", timeout_seconds=0.5)

    assert not result.seen
    assert 0.5 <= result.seconds < 30
    assert gone(tmp_path)


def test_a_machine_that_powers_off_ends_the_wait(machine: Machine, tmp_path: Path) -> None:
    played(tmp_path, "exit 0")

    result = boot(machine, "another marker", timeout_seconds=30)

    assert not result.seen
    assert result.seconds < 30


def test_an_error_while_showing_ends_the_machine(machine: Machine, tmp_path: Path) -> None:
    def fail(text: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        boot(machine, "the marker", timeout_seconds=30, show=fail)

    assert gone(tmp_path)


def test_the_processor_is_emulated_and_a_panic_ends_the_machine(machine: Machine) -> None:
    result = boot(machine, "the marker", timeout_seconds=30)

    assert "-machine pc,accel=tcg" in result.console
    assert "-append console=ttyS0 panic=-1" in result.console
    assert "-no-reboot" in result.console


@pytest.mark.parametrize(("marker", "status"), [("the marker", 0), ("another marker", 1)])
def test_the_exit_status_says_whether_the_marker_was_seen(
    machine: Machine, tmp_path: Path, marker: str, status: int
) -> None:
    done = script(tmp_path / "system", "--marker", marker, "--timeout", "0.5")

    assert done.returncode == status
    assert "the marker\n" in done.stdout


def test_ending_the_script_ends_the_machine(machine: Machine, tmp_path: Path) -> None:
    command = [sys.executable, str(KIT / "boot.py"), str(tmp_path / "system"), "--marker", "another marker"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        while running.stdout.readline() != "the marker\n":
            pass

        running.terminate()
        status = running.wait(timeout=30)

    assert status == 143
    assert gone(tmp_path)


def test_a_build_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = script(tmp_path / "nothing")

    assert done.returncode == 1
    assert f"expected the file {tmp_path}/nothing-cmdline, found none" in done.stderr


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("system.iso", "iso-bios"),
        ("system-efi.iso", "iso-efi"),
        ("system-efi-initrd.iso", "iso-efi-initrd"),
        ("system-efi.qcow2", "qcow2-efi"),
        ("system.qcow2", "qcow2-bios"),
        ("system.img.tar.gz", "gcp"),
        ("system.efi", "uki"),
    ],
)
def test_a_file_is_of_the_format_its_name_ends_with(file: str, name: str, tmp_path: Path) -> None:
    (tmp_path / file).touch()

    found = format_of(str(tmp_path / file))

    assert (str(tmp_path / "system"), name) == found


def test_what_files_begin_with_is_a_prefix_however_it_ends(tmp_path: Path) -> None:
    (tmp_path / "system.iso-cmdline").touch()

    assert format_of(str(tmp_path / "system.iso")) is None
    assert format_of(str(tmp_path / "note")) is None


def test_a_disk_is_booted_by_its_firmware_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "system-efi.qcow2").touch()

    machine = machine_of(tmp_path / "system", "qcow2-efi", tmp_path)

    assert machine == Machine(drive=Drive(tmp_path / "system-efi.qcow2", "qcow2"), firmware="efi")
    command = " ".join(machine.command())
    assert f"file={tmp_path}/system-efi.qcow2,format=qcow2,snapshot=on" in command
    assert "-device virtio-blk-pci,drive=drive,bootindex=0" in command
    assert "-kernel" not in command


def test_a_root_file_system_is_the_drive_of_a_kernel_that_is_told_which(tmp_path: Path) -> None:
    for ending in ("-squashfs.img", "-kernel"):
        (tmp_path / f"system{ending}").touch()
    (tmp_path / "system-cmdline").write_text("console=ttyS0")

    machine = machine_of(tmp_path / "system", "kernel+squashfs", tmp_path, interface="scsi")

    assert "console=ttyS0 root=/dev/sda" == machine.cmdline
    assert (None, "scsi") == (machine.initrd, machine.drive and machine.drive.interface)


def test_a_disk_in_a_tar_is_unpacked_with_holes(tmp_path: Path) -> None:
    content = bytes(64 << 20) + b"the end"
    with tarfile.open(tmp_path / "system.img.tar.gz", "w:gz", compresslevel=1) as tar:
        header = tarfile.TarInfo("disk.raw")
        header.size = len(content)
        tar.addfile(header, io.BytesIO(content))

    machine = machine_of(tmp_path / "system", "gcp", tmp_path)

    assert machine.drive
    assert content == machine.drive.file.read_bytes()
    assert machine.drive.file.stat().st_blocks * 512 < 2 << 20


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_that_was_not_built_is_named(name: str, tmp_path: Path) -> None:
    done = script(tmp_path / "nothing", "--format", name)

    assert done.returncode == 1
    assert f"expected the file {tmp_path}/nothing" in done.stderr
    assert "hint: build it first" in done.stderr


def test_an_emulator_that_is_not_there_is_named_with_its_package(tmp_path: Path) -> None:
    (tmp_path / "system-bios.img").touch()

    done = script(tmp_path / "system-bios.img", path=str(tmp_path))

    assert done.returncode == 1
    assert "error: expected `qemu-system-x86_64`, found none\n" in done.stderr
    assert "hint: run `apt-get install qemu-system-x86` as root\n" in done.stderr


def script(prefix: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(KIT / "boot.py"), str(prefix), *arguments]
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
