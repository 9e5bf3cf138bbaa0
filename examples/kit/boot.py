#!/usr/bin/env python3
"""Boots what `kitbuild build` made, in QEMU, and shows its console.

    python examples/kit/boot.py examples/out/minimal                     until it powers off, or Ctrl-C
    python examples/kit/boot.py examples/out/minimal --marker "hello"    until the console says so: exit 0, else 1
    python examples/kit/boot.py examples/out/minimal --format raw-efi    another format than kernel+initrd
    python examples/kit/boot.py examples/out/minimal-efi.img             the same, named by its file

PREFIX stands for the files that the build wrote, such as PREFIX-kernel, PREFIX-initrd.img and PREFIX-cmdline. No file
is changed by what runs. Emulates the processor (TCG), which works everywhere; --kvm is faster where nested
virtualisation is sound, which the mere presence of /dev/kvm does not say.
"""

from __future__ import annotations

import argparse
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import IO, Any, NamedTuple, NoReturn, cast


class Form(NamedTuple):
    """How a format boots.

    `ending` is how the file that is booted is named after PREFIX. `firmware` is what starts it: `bios`, `efi` or, if
    empty, QEMU itself, which is given PREFIX-kernel and PREFIX-cmdline too. `driver` is QEMU's name for the format of
    a disk, or what else the file is; `member` is the disk's name in a tar, or the start of it.
    """

    ending: str
    firmware: str = ""
    driver: str = "raw"
    cd: bool = False
    member: str = ""


# Where two have the same ending, a file is taken for the first.
FORMATS: Mapping[str, Form] = {
    "kernel+initrd": Form("-initrd.img", driver="initrd"),
    "kernel+squashfs": Form("-squashfs.img"),
    "kernel+erofs": Form("-erofs.img"),
    "iso-bios": Form(".iso", "bios", cd=True),
    "kernel+iso": Form(".iso", cd=True),
    "iso-efi": Form("-efi.iso", "efi", cd=True),
    "iso-efi-initrd": Form("-efi-initrd.iso", "efi", cd=True),
    "iso": Form("-hybrid.iso", "efi", cd=True),
    "raw-bios": Form("-bios.img", "bios"),
    "raw-efi": Form("-efi.img", "efi"),
    "uki": Form(".efi", "efi", "program"),
    "qcow2-bios": Form(".qcow2", "bios", "qcow2"),
    "qcow2-efi": Form("-efi.qcow2", "efi", "qcow2"),
    "aws": Form(".raw", "bios"),
    "gcp": Form(".img.tar.gz", "bios", member="disk.raw"),
    "vhd": Form(".vhd", "bios", "vpc"),
    "dynamic-vhd": Form(".vhd", "bios", "vpc"),
    "vhdx": Form(".vhdx", "bios", "vhdx"),
    "vmdk": Form(".vmdk", "bios", "vmdk"),
    "ova": Form(".ova", "bios", "vmdk", member="*.vmdk"),
}

# Interface -> the devices that make a disk of a drive; `{kind}` is hd or cd.
INTERFACES: Mapping[str, tuple[str, ...]] = {
    "virtio": ("virtio-blk-pci",),
    "ide": ("ide-{kind}",),
    "sata": ("ich9-ahci,id=sata", "ide-{kind},bus=sata.0"),
    "scsi": ("virtio-scsi-pci", "scsi-{kind}"),
    "nvme": ("nvme,serial=1",),
    "usb": ("qemu-xhci", "usb-storage"),
}
# The file that programs for EFI are looked for in, if nothing else is said.
_EFI_PROGRAMS = {"x86_64": "BOOTX64.EFI", "aarch64": "BOOTAA64.EFI"}
# Firmware and its variables, and the Debian packages that bring them.
_EFI = {
    "x86_64": (("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"), "ovmf"),
    "aarch64": (("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"), "qemu-efi-aarch64"),
}
_EMULATORS = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}


class BootError(Exception):
    """Something the user can act on: a sentence, and a hint that says what to do."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Boot(NamedTuple):
    """What happened: the console's text, wall seconds until the end, whether the marker was seen."""

    console: str
    seconds: float
    seen: bool


class Drive(NamedTuple):
    """A disk or CD. `file` may be a folder, which becomes a FAT disk; `driver` is QEMU's name for what the file is.

    `interface` is one of INTERFACES; if empty, one that the machine boots from and the kit's kernel can read.
    """

    file: Path
    driver: str = "raw"
    cd: bool = False
    interface: str = ""


class Machine(NamedTuple):
    """What to boot and on what. `forwards` are (port of this host, port of the guest), on the loopback address.

    A machine without forwards has a network card all the same: it reaches nothing but the address server.
    With a kernel, QEMU starts that; else the firmware, `bios` or `efi`, starts what is on the drive. `board` is
    QEMU's name for the mainboard, if empty its usual one.
    """

    kernel: Path | None = None
    initrd: Path | None = None
    cmdline: str = ""
    memory_megabytes: int = 512
    architecture: str = "x86_64"
    forwards: tuple[tuple[int, int], ...] = ()
    kvm: bool = False
    drive: Drive | None = None
    firmware: str = "bios"
    board: str = ""

    @classmethod
    def of(cls, prefix: str | Path, **settings: Any) -> Machine:
        """The machine of the three files PREFIX-kernel, PREFIX-initrd.img, PREFIX-cmdline."""
        cmdline = Path(f"{prefix}-cmdline").read_text().strip()
        return cls(Path(f"{prefix}-kernel"), Path(f"{prefix}-initrd.img"), cmdline, **settings)

    @property
    def emulator(self) -> str:
        """The name of the QEMU program for this architecture."""
        return f"qemu-system-{self.architecture}"

    def command(self) -> list[str]:
        """The QEMU command line: the serial port is the terminal, and a panic or a reboot ends QEMU."""
        board = self.board or ("pc" if self.architecture == "x86_64" else "virt")
        processor = "max" if self.architecture == "x86_64" else "cortex-a57"
        network = "user,id=network,restrict=on"
        for host_port, guest_port in self.forwards:
            network += f",hostfwd=tcp:127.0.0.1:{host_port}-:{guest_port}"
        return [
            self.emulator,
            *("-machine", f"{board},accel={'kvm' if self.kvm else 'tcg'}"),
            *("-cpu", "host" if self.kvm else processor),
            *("-m", str(self.memory_megabytes)),
            # Not -nographic: the firmware would then clear the terminal.
            *("-display", "none", "-nodefaults", "-serial", "stdio", "-no-reboot"),
            # No boot from the network, so no program for it.
            *("-netdev", network, "-device", "virtio-net-pci,netdev=network,romfile="),
            *self._kernel(),
            *self._firmware(),
            *self._drive(),
        ]

    def missing(self) -> tuple[str, str] | None:
        """A program or file this machine lacks, and the Debian package that has it."""
        if shutil.which(self.emulator) is None:
            return self.emulator, _EMULATORS[self.architecture]
        files, package = _EFI[self.architecture]
        if self.firmware == "efi" and not all(map(os.path.exists, files)):
            return files[0], package
        return None

    def _kernel(self) -> Iterator[str]:
        if self.kernel:
            yield from ("-kernel", str(self.kernel))
            if self.initrd:
                yield from ("-initrd", str(self.initrd))
            yield from ("-append", f"{self.cmdline} panic=-1")

    def _firmware(self) -> Iterator[str]:
        if self.firmware == "efi":
            (code, variables), _ = _EFI[self.architecture]
            yield from ("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}")
            yield from ("-drive", f"if=pflash,unit=1,format=raw,snapshot=on,file={variables}")

    def _drive(self) -> Iterator[str]:
        if not self.drive:
            return
        file, driver, cd, interface = self.drive
        source = (
            f"fat:{file},format=raw,readonly=on" if file.is_dir() else f"{file},format={driver},snapshot=on"
        )
        media = ",media=cdrom" if cd else ""
        yield from ("-drive", f"if=none,id=drive,file={source}{media}")
        *controllers, disk = INTERFACES[interface or _interface(self.architecture, cd=cd)]
        for controller in controllers:
            yield from ("-device", controller)
        # A kernel that QEMU starts has the first place already.
        place = "" if self.kernel else ",bootindex=0"
        yield from ("-device", f"{disk.format(kind='cd' if cd else 'hd')},drive=drive{place}")


def machine_of(prefix: str | Path, name: str, scratch: Path, **settings: Any) -> Machine:
    """The machine for a build of the format `name`; `scratch` is an empty folder for what must be unpacked first.

    `settings` are fields of Machine, and `cd` and `interface` to attach the drive in another way than the format's
    usual one. For a root file system on the drive, the initrd is PREFIX-ucode.cpio, if there is one, and the command
    line says which drive. Raises FileNotFoundError for files that are not there.
    """
    form = FORMATS[name]
    cd, interface = settings.pop("cd", form.cd), settings.pop("interface", "")
    if form.driver == "initrd":
        initrd = settings.pop("initrd", Path(f"{prefix}-initrd.img"))
        return Machine.of(prefix, **settings)._replace(initrd=initrd)
    file = Path(f"{prefix}{form.ending}")
    file.stat()
    machine = Machine(**settings)
    if form.driver == "program":
        file = _folder(file, scratch, machine.architecture)
    elif form.member:
        file = _unpacked(file, form.member, scratch)
    machine = machine._replace(drive=Drive(file, form.driver, cd, interface))
    if form.firmware:
        firmware = "efi" if machine.architecture == "aarch64" else form.firmware
        return machine._replace(firmware=settings.get("firmware", firmware))
    early = Path(f"{prefix}-ucode.cpio")
    return machine._replace(
        kernel=Path(f"{prefix}-kernel"),
        initrd=machine.initrd or (early if early.exists() else None),
        cmdline=_with_root(
            Path(f"{prefix}-cmdline").read_text().strip(),
            cd=cd,
            interface=interface or _interface(machine.architecture, cd=cd),
        ),
    )


def format_of(target: str) -> tuple[str, str] | None:
    """The prefix and the format of what is named like a format's file and is no prefix of files, else nothing."""
    if Path(f"{target}-cmdline").exists():
        return None
    endings = [(form.ending, name) for name, form in FORMATS.items() if target.endswith(form.ending)]
    if not endings:
        return None
    ending, name = max(endings, key=lambda found: len(found[0]))
    return target.removesuffix(ending), name


def _interface(architecture: str, *, cd: bool) -> str:
    """How a machine usually has its drive. On arm64 a CD is a disk like others, as LinuxKit has it there."""
    return "ide" if cd and architecture == "x86_64" else "virtio"


def _with_root(cmdline: str, *, cd: bool, interface: str) -> str:
    if any(word.startswith("root=") for word in cmdline.split()):
        return cmdline
    names = {"virtio": "vda", "nvme": "nvme0n1"}
    return f"{cmdline} root=/dev/{names.get(interface, 'sr0' if cd else 'sda')}"


def _folder(program: Path, scratch: Path, architecture: str) -> Path:
    """A folder to become the disk on which firmware finds the program."""
    place = scratch / "disk" / "EFI" / "BOOT" / _EFI_PROGRAMS[architecture]
    place.parent.mkdir(parents=True)
    place.symlink_to(program.absolute())
    return scratch / "disk"


def _unpacked(archive: Path, pattern: str, scratch: Path) -> Path:
    """The first file in the tar whose name fits, unpacked into `scratch`; blocks of zeros become holes."""
    with tarfile.open(archive) as tar:
        member = next(member for member in tar if member.isreg() and PurePath(member.name).match(pattern))
        content = cast("IO[bytes]", tar.extractfile(member))
        with (scratch / "disk").open("wb") as disk:
            while block := content.read(1 << 20):
                if block.count(0) == len(block):
                    disk.seek(len(block), os.SEEK_CUR)
                else:
                    disk.write(block)
            disk.truncate(member.size)
    return scratch / "disk"


def boot(
    machine: Machine,
    marker: str,
    *,
    timeout_seconds: float = 60,
    show: Callable[[str], object] | None = None,
    then: Callable[[], object] | None = None,
) -> Boot:
    """Boots `machine` until its console shows `marker`, it powers off, or the time is up; QEMU is gone afterwards.

    `show` gets the console's text piece by piece. `then` runs once the marker is seen, while the machine still runs.
    """
    started = time.monotonic()
    console = ""
    process = subprocess.Popen(
        machine.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        for piece in _pieces(cast("IO[bytes]", process.stdout), started + timeout_seconds):
            console += piece
            if show:
                show(piece)
            if marker in console:
                if then:
                    then()
                break
    finally:
        process.kill()
        process.communicate()
    return Boot(console, time.monotonic() - started, marker in console)


def _pieces(stream: IO[bytes], deadline: float) -> Iterator[str]:
    """What `stream` gives, as it comes, without carriage returns, until its end or the deadline."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0 and selector.select(left):
            piece = os.read(stream.fileno(), 65536)
            if not piece:
                return
            yield piece.decode("utf-8", "replace").replace("\r", "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; gives the exit status."""
    options = _parser().parse_args(arguments)
    # So that a time-out around this script ends QEMU too.
    signal.signal(signal.SIGTERM, _stop)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return _run(_machine(options, Path(scratch)), options)
        except BootError as error:
            sys.stderr.write(f"error: {error}\nhint: {error.hint}\n")
            return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Boot a build in QEMU and show its console.",
        epilog=f"Formats: {', '.join(FORMATS)}.",
    )
    parser.add_argument(
        "build", help="path and name of the build, such as examples/out/minimal, or one of its files"
    )
    parser.add_argument("--marker", help="stop when the console shows this text, with exit status 0")
    parser.add_argument(
        "--timeout", type=float, default=120, metavar="S", help="seconds to wait for the marker"
    )
    parser.add_argument("--memory", type=int, default=512, metavar="MB", help="memory of the machine")
    parser.add_argument("--architecture", choices=tuple(_EMULATORS), default="x86_64")
    parser.add_argument(
        "--forward", action="append", default=[], metavar="HOST:GUEST", type=_ports, help="a TCP port"
    )
    parser.add_argument("--kvm", action="store_true", help="use the processor itself, where that works")
    drive = parser.add_argument_group("how to boot it (default: as the format is meant to)")
    drive.add_argument("--format", choices=tuple(FORMATS), metavar="FORMAT", help="that of the build")
    drive.add_argument("--firmware", choices=("bios", "efi"))
    kind = drive.add_mutually_exclusive_group()
    kind.add_argument("--cd", action="store_true", default=None, help="put it into a CD drive")
    kind.add_argument("--disk", dest="cd", action="store_false", help="make it a disk")
    drive.add_argument("--interface", choices=tuple(INTERFACES), help="of the disk or the CD drive")
    drive.add_argument("--board", help="mainboard as QEMU calls it, such as q35")
    drive.add_argument("--initrd", type=Path, help="with a root file system on the drive: what mounts it")
    return parser


def _machine(options: argparse.Namespace, scratch: Path) -> Machine:
    """What the command line describes; raises BootError if something it needs is not there."""
    prefix, name = format_of(options.build) or (options.build, "kernel+initrd")
    settings = {
        "memory_megabytes": options.memory,
        "architecture": options.architecture,
        "forwards": tuple(options.forward),
        "kvm": options.kvm,
        "cd": options.cd,
        "firmware": options.firmware,
        "interface": options.interface,
        "board": options.board,
        "initrd": options.initrd,
    }
    given = {setting: value for setting, value in settings.items() if value is not None}
    try:
        machine = machine_of(prefix, options.format or name, scratch, **given)
    except FileNotFoundError as error:
        raise BootError(
            f"expected the file {error.filename}, found none",
            hint="build it first: kitbuild build --format FORMAT CONFIG.yml",
        ) from error
    if missing := machine.missing():
        raise BootError(
            f"expected `{missing[0]}`, found none", hint=f"run `apt-get install {missing[1]}` as root"
        )
    return machine


def _run(machine: Machine, options: argparse.Namespace) -> int:
    if options.marker is None:
        return subprocess.run(machine.command(), check=False).returncode
    result = boot(machine, options.marker, timeout_seconds=options.timeout, show=_show)
    verdict = "seen" if result.seen else "not seen"
    sys.stderr.write(f"\nboot: `{options.marker}` {verdict} after {result.seconds:.1f} s\n")
    return 0 if result.seen else 1


def _ports(text: str) -> tuple[int, int]:
    host_port, guest_port = text.split(":")
    return int(host_port), int(guest_port)


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _stop(*_: object) -> NoReturn:
    sys.exit(143)  # as a shell reports death by SIGTERM


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
