"""The images of the kit: what each is made of, how it is run, and what it asks of the system.

An image is a shared layer of busybox commands, the programs it needs from Debian packages with their libraries,
and the files of the folder of the same name beside this module.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import elf
from oci import Member
from packages import KitError, PackageFile

PREFIX = "docker.io/kit/"
TAG = ":v1"
HERE = Path(__file__).parent
LABEL = "org.mobyproject.config"

# The commands of the base layer, as links to busybox. Commands of a system administrator stand in sbin, where
# the kernel and busybox init look for them.
COMMANDS = {
    "bin": """[ ash awk base64 basename cat chgrp chmod chown clear cp cut date dd df dirname dmesg du echo egrep env
        expr false find free getopt grep gunzip gzip head hexdump hostname id kill killall less ln login ls md5sum
        mkdir mkfifo mknod mktemp more mount mv nc netstat nl nproc nslookup nsenter od pidof ping printf ps pwd
        readlink realpath rev rm rmdir sed seq setsid sh sha256sum sleep sort stat strings stty su sync tail tar tee
        test time timeout top touch tr true truncate tty umount uname uniq unshare unzip uptime usleep vi watch wc
        wget which who whoami xargs yes zcat""",
    "sbin": """adjtimex arp blockdev brctl chroot depmod fdisk findfs fsfreeze getty halt hwclock ifconfig init
        insmod ip losetup lsmod mdev mke2fs mkswap modinfo modprobe pivot_root poweroff reboot rmmod route sulogin
        swapoff swapon switch_root sysctl udhcpc watchdog""",
}
# Where a system or a container mounts something, so that it may be read-only.
FOLDERS = ("dev", "etc", "mnt", "proc", "root", "run", "srv", "sys", "tmp", "var")


class Image(NamedTuple):
    """One image: `programs` are paths inside Debian packages, `links` are symbolic links to add (path -> target).

    `command` is what runs, `label` what LinuxKit reads from org.mobyproject.config: rights, binds, namespaces.
    """

    programs: tuple[str, ...] = ()
    links: Mapping[str, str] = {}
    command: tuple[str, ...] = ()
    label: Mapping[str, Any] = {}


SERVICE = "/usr/bin/service"

IMAGES = {
    "init": Image(links={"bin/rc.shutdown": "rc.init", "etc/init.d/005-volumes": SERVICE}),
    "crun": Image(
        programs=("usr/bin/crun", "usr/bin/jq"),
        links={
            "etc/init.d/010-onboot": SERVICE,
            "etc/init.d/020-services": SERVICE,
            "etc/shutdown.d/010-onshutdown": SERVICE,
        },
    ),
    "hello": Image(command=("/bin/echo", "hello from an onboot container"), label={"readonly": True}),
    "dhcp": Image(
        command=("/sbin/udhcpc", "-n", "-q", "-f", "-i", "eth0", "-s", "/usr/share/udhcpc.sh"),
        label={
            "binds": ["/run/resolvconf:/etc"],
            "capabilities": ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"],
        },
    ),
    "getty": Image(
        command=("/usr/bin/consoles.sh",),
        label={
            "pid": "host",
            "net": "host",
            "binds": [
                "/etc/resolv.conf:/etc/resolv.conf",
                "/etc:/hostroot/etc",
                "/run:/run",
                "/tmp:/tmp",
                "/var/log:/var/log",
                "/containers:/containers",
                "/dev:/dev",
                "/sys:/sys",
            ],
            "devices": [{"path": "all", "type": "a"}],
            "capabilities": ["all"],
        },
    ),
    "web": Image(
        command=("/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/srv"),
        label={"readonly": True, "capabilities": ["CAP_NET_BIND_SERVICE"]},
    ),
    "store": Image(
        programs=("usr/bin/redis-check-rdb", "usr/bin/redis-cli"),
        # One program under several names: Debian keeps the server as redis-check-rdb.
        links={"usr/bin/redis-server": "redis-check-rdb"},
        command=("/usr/bin/store.sh",),
        label={"capabilities": ["CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE"]},
    ),
    "poweroff": Image(
        command=("/usr/bin/poweroff.sh", "3"),
        label={"pid": "host", "readonly": True, "capabilities": ["CAP_SYS_BOOT", "CAP_KILL"]},
    ),
}

PACKAGES = ("busybox-static", "crun", "jq", "redis-tools")


def base_members(files: Mapping[str, PackageFile]) -> Iterator[Member]:
    """The layer all images but the kernel share: busybox, its commands, empty folders to mount on."""
    yield Member("bin/busybox", files["bin/busybox"].data, 0o755)
    for folder, names in COMMANDS.items():
        for name in names.split():
            yield Member(f"{folder}/{name}", target="busybox" if folder == "bin" else "../bin/busybox")
    for folder in FOLDERS:
        modes = {"tmp": 0o1777, "root": 0o700}
        yield Member(folder, mode=modes.get(folder, 0o755), directory=True)


def own_members(name: str, files: Mapping[str, PackageFile]) -> Iterator[Member]:
    """What image `name` has on top of the shared layer."""
    image = IMAGES[name]
    yield from _programs(image.programs, files)
    for path, target in image.links.items():
        yield Member(path, target=target)
    folder = HERE / name
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            # By content and not by the file's mode, which depends on how the folder came here.
            mode = 0o755 if data.startswith(b"#!") else 0o644
            yield Member(file.relative_to(folder).as_posix(), data, mode)


def run_config(name: str) -> dict[str, Any]:
    """The part of the image config that says how the image is run."""
    image = IMAGES[name]
    config: dict[str, Any] = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    if image.command:
        config["Cmd"] = list(image.command)
    if image.label:
        config["Labels"] = {LABEL: json.dumps(image.label, separators=(",", ":"))}
    return config


def _programs(paths: Iterable[str], files: Mapping[str, PackageFile]) -> Iterator[Member]:
    """The programs at `paths` and, where they ask for them, the libraries and the loader."""
    # Without a cache file the loader looks in lib/<machine>-linux-gnu, below / and /usr.
    libraries = {path.rpartition("/")[2]: path for path in files if ".so" in path and "-linux-gnu/" in path}
    queue = list(paths)
    done: set[str] = set()
    while queue:
        path = queue.pop()
        if path in done:
            continue
        done.add(path)
        data = _content(path, files)
        yield Member(path, data, 0o755)
        loader = elf.interpreter(data).lstrip("/")
        if loader and loader not in done:
            done.add(loader)
            yield Member(loader, target=f"/{libraries[loader.rpartition('/')[2]]}")
        queue += [libraries[library] for library in elf.needed(data)]


def _content(path: str, files: Mapping[str, PackageFile]) -> bytes:
    """A file's bytes, through symbolic links; raises KitError if the packages have no such file."""
    file = files.get(path)
    while file and file.target:
        absolute = file.target.startswith("/")
        folder = "" if absolute else file.path.rpartition("/")[0]
        file = files.get(f"{folder}/{file.target}".strip("/"))
    if file is None:
        raise KitError(
            f"expected `{path}` in the Debian packages, found none", hint="run this with --refresh"
        )
    return file.data
