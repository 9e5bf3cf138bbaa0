#!/usr/bin/env python3
"""Boots what `kitbuild build` made, in QEMU, and shows its console.

    python examples/kit/boot.py examples/out/minimal                     until it powers off, or Ctrl-C
    python examples/kit/boot.py examples/out/minimal --marker "hello"    until the console says so: exit 0, else 1

PREFIX stands for PREFIX-kernel, PREFIX-initrd.img and PREFIX-cmdline. Emulates the processor (TCG), which works
everywhere; --kvm is faster where nested virtualisation is sound, which the mere presence of /dev/kvm does not say.
"""

from __future__ import annotations

import argparse
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn, cast


class Boot(NamedTuple):
    """What happened: the console's text, wall seconds until the end, whether the marker was seen."""

    console: str
    seconds: float
    seen: bool


class Machine(NamedTuple):
    """What to boot and on what. `forwards` are (port of this host, port of the guest), on the loopback address.

    A machine without forwards has a network card all the same: it reaches nothing but the address server.
    """

    kernel: Path
    initrd: Path
    cmdline: str
    memory_megabytes: int = 512
    architecture: str = "x86_64"
    forwards: tuple[tuple[int, int], ...] = ()
    kvm: bool = False

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
        board = "pc" if self.architecture == "x86_64" else "virt"
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
            *("-kernel", str(self.kernel), "-initrd", str(self.initrd)),
            *("-append", f"{self.cmdline} panic=-1"),
        ]


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
    parser = argparse.ArgumentParser(description="Boot a kernel+initrd build in QEMU and show its console.")
    parser.add_argument("prefix", help="path and name of the build, such as examples/out/minimal")
    parser.add_argument("--marker", help="stop when the console shows this text, with exit status 0")
    parser.add_argument(
        "--timeout", type=float, default=120, metavar="S", help="seconds to wait for the marker"
    )
    parser.add_argument("--memory", type=int, default=512, metavar="MB", help="memory of the machine")
    parser.add_argument("--architecture", choices=("x86_64", "aarch64"), default="x86_64")
    parser.add_argument(
        "--forward", action="append", default=[], metavar="HOST:GUEST", type=_ports, help="a TCP port"
    )
    parser.add_argument("--kvm", action="store_true", help="use the processor itself, where that works")
    options = parser.parse_args(arguments)
    try:
        machine = Machine.of(
            options.prefix,
            memory_megabytes=options.memory,
            architecture=options.architecture,
            forwards=tuple(options.forward),
            kvm=options.kvm,
        )
    except FileNotFoundError as error:
        return _failed(
            f"expected the file {error.filename}, found none", "build it first: kitbuild build CONFIG.yml"
        )
    if shutil.which(machine.emulator) is None:
        return _failed(
            f"expected `{machine.emulator}`, found none",
            "run `apt-get install qemu-system-x86` (or -arm) as root",
        )
    if options.marker is None:
        return subprocess.run(machine.command(), check=False).returncode
    # So that a time-out around this script ends QEMU too.
    signal.signal(signal.SIGTERM, _stop)
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


def _failed(message: str, hint: str) -> int:
    sys.stderr.write(f"error: {message}\nhint: {hint}\n")
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
