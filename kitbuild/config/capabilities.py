"""The capabilities of the Linux kernel, in its own order.

Source: linux/include/uapi/linux/capability.h.
"""

from __future__ import annotations

from kitbuild.suggest import nearest

CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
KNOWN = frozenset(CAPABILITIES)


def meant(text: str) -> str:
    """The hint for a name that is no capability: the one that was probably meant."""
    if text.lower() in ("all", "none"):
        return f"`{text}` must be the only entry: leave out the others or name each capability"
    name = text.upper()
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    name = name if name in KNOWN else nearest(name, CAPABILITIES) or ""
    return f"did you mean `{name}`?" if name else "use a kernel capability such as `CAP_NET_ADMIN`, or `all`"
