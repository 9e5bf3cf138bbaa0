"""The flags of the commands that make locks."""

from __future__ import annotations

from argparse import ArgumentParser

from kitbuild.settings import add_setting_arguments


def add_locking_arguments(
    parser: ArgumentParser, *, configs: str, help_text: str, needed: bool = True
) -> None:
    """Adds what all commands take that make locks."""
    parser.add_argument("configs", nargs="+" if needed else "*", metavar=configs, help=help_text)
    parser.add_argument(
        "--arch",
        action="append",
        default=[],
        metavar="ARCH[,ARCH]",
        help="architecture to look up: amd64, arm64, ... (repeatable; default: this machine's)",
    )
    parser.add_argument(
        "-f",
        "--format",
        action="append",
        default=[],
        metavar="FORMAT[,FORMAT]",
        help="also lock the boot loaders that these formats take (repeatable)",
    )
    parser.add_argument("--offline", action="store_true", help="never ask a registry")
    add_setting_arguments(parser)
