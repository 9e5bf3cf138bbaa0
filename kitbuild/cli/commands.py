"""The commands: each with what it is for, in the groups that help shows.

A command is a module of this package. All of them together take longer to import than help may take, so their one
line of help stands here too; a test keeps both the same.
"""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, Mapping[str, str]] = {
    "build": {
        "init": "write a config to start from",
        "build": "build a bootable system",
        "watch": "build again whenever something changes",
    },
    "look": {
        "graph": "show what a config turns into and what of it is cached",
        "why": "say why a node ran, or would run",
        "history": "list the builds that are remembered",
        "diff": "compare two configs, outputs or builds",
        "ls": "list what is in an output",
        "cat": "write a file of an output to stdout",
        "extract": "write files of an output to a folder",
    },
    "share": {
        "lock": "write down what every image is now",
        "update": "move entries of a lock",
        "vendor": "collect all that a build needs in one folder",
        "cache": "look after the local cache: info, verify, gc, clear; serve a remote one: serve, keygen",
        "worker": "run one node for a cluster",
    },
    "look after": {
        "doctor": "say what this machine can do",
        "formats": "list the output formats",
        "schema": "write the JSON Schema of configs, for editors",
        "completion": "write completions for a shell",
        "help": "explain a command or a topic",
        "version": "show the version",
    },
}
SUMMARIES: Mapping[str, str] = {name: text for group in GROUPS.values() for name, text in group.items()}


def listing() -> str:
    """All commands with their summaries, by group: what `kitbuild --help` shows."""
    width = max(map(len, SUMMARIES)) + 2
    groups = (
        "\n".join([f"{title}:", *(f"  {name.ljust(width)}{text}" for name, text in group.items())])
        for title, group in GROUPS.items()
    )
    return "\n\n".join(groups)
