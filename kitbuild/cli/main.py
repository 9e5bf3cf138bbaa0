"""The command line: finds the command, and turns what goes wrong into a message and an exit status.

0: done. 1: a node failed, or the world did. 2: the config or the command line is wrong. 130: interrupted.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from _thread import start_new_thread
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, TextIO

from kitbuild import __version__
from kitbuild.cli.color import take_color
from kitbuild.cli.commands import SUMMARIES, listing
from kitbuild.cli.flags import Parser
from kitbuild.cli.linuxkit import rewritten

_INTERRUPTED = 130
# Ctrl-C, `kill`, and a terminal that is closed.
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Runs stop at the next megabyte they read or write; what takes longer hangs on something.
_GRACE_SECONDS = 3

_DESCRIPTION = """\
Builds bootable, immutable Linux systems from LinuxKit configs: without Docker, without root, and only what changed.

  kitbuild init                             write linuxkit.yml, to start from
  kitbuild build linuxkit.yml               build it: kernel, initrd, command line
  kitbuild build --format iso linuxkit.yml  the same as a CD that boots
  kitbuild graph linuxkit.yml               what it turns into, and what of it is cached
"""
_EPILOG = """
`kitbuild help COMMAND` has flags and examples; `kitbuild help` alone lists what else is explained.
"""


def main(arguments: Sequence[str]) -> int:
    """Runs one command line (without the program's name) and gives the exit status."""
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        _say("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, and knows it: `kitbuild ls | head` is done. A built file is cut off.
        return int(arguments[:1] == ["build"])
    except Exception as error:
        return tell(error)


def _run(arguments: Sequence[str]) -> int:
    if "_ARGCOMPLETE" in os.environ:
        # A shell asks how its line could go on.
        from kitbuild.cli.completing import answer

        return answer()
    arguments = rewritten(take_color(arguments))
    try:
        first = arguments[0] if arguments else ""
        # The names of other commands matter where there is none: they alone take some milliseconds.
        parser = _parsers([first])[0] if first in SUMMARIES else parser_for(arguments)
        parsed = parser.parse_args(arguments)
    except SystemExit as ended:
        # argparse has shown the help or the version it was asked for.
        return int(ended.code or 0)
    status: int = parsed.run(parsed)
    return status


def parser_of_all() -> Parser:
    """The whole command line, for those who write about it."""
    parser, _ = _parsers(SUMMARIES)
    return parser


def parser_for(words: Sequence[str]) -> Parser:
    """The command line with the flags of the one command that the words name, and the names of all."""
    # Imports are most of a build with nothing to do: those of other commands are left out.
    asked = next((word for word in words if word in SUMMARIES), None)
    parser, subparsers = _parsers([asked] if asked else [])
    for name in SUMMARIES:
        if name != asked:
            subparsers.add_parser(name)
    return parser


def _parsers(names: Iterable[str]) -> tuple[Parser, Any]:
    parser = Parser(
        prog="kitbuild",
        usage="kitbuild COMMAND [flags] ...",
        description=f"{_DESCRIPTION}\n{listing()}",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"kitbuild {__version__}", help="say which this is"
    )
    # The list of all commands stands in the description, in groups.
    subparsers = parser.add_subparsers(prog="kitbuild", metavar="COMMAND", required=True, help=SUPPRESS)
    for name in names:
        import_module(f"kitbuild.cli.{name}").add(subparsers)
    return parser, subparsers


def tell(error: Exception) -> int:
    """Tells the user what went wrong, and gives the exit status; our own bugs keep their traceback."""
    from kitbuild.errors import BuildError, KitbuildError

    if isinstance(error, OSError) and error.filename is None and _is_of_stdout(error):
        error = KitbuildError(f"cannot write to stdout: {error.strerror}")
    if not isinstance(error, KitbuildError):
        raise error
    # The report has told every failure of a node already.
    if not isinstance(error, BuildError):
        from kitbuild.report.ci import complaint

        _say(complaint(error, sys.stderr))
    return error.exit_status


def _is_of_stdout(error: OSError) -> bool:
    # Files have names, and their errors sentences of their own. What stdout could not write may still wait there.
    return error.errno in (errno.EBADF, errno.ENOSPC) or not _is_flushed(sys.stdout)


def _say(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")


def entry() -> None:
    """The program `kitbuild`."""
    for number in _STOPS:
        # What our parent wants ignored (`nohup`, `&` in a script) stays so.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    _open_closed_streams()
    status = _INTERRUPTED
    with suppress(KeyboardInterrupt):
        status = main(sys.argv[1:])
        # What comes now comes too late. Left to Python's end it would meet the default, and kill.
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)
    # Python writes what is left once more when it ends, and must not trip over a stream that takes nothing.
    for stream in (sys.stdout, sys.stderr):
        if not _is_flushed(stream):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if status == _INTERRUPTED:
        # A thread that waits for a network would keep the program alive until that answers.
        os._exit(status)
    sys.exit(status)


def _interrupt(_number: int, _frame: object) -> None:
    """Ends the program as Ctrl-C does, with nothing left half-written; soon, whatever it waits for."""
    # Not threading.Thread: the lock it takes may be held by what was just interrupted.
    start_new_thread(_end_soon, ())
    raise KeyboardInterrupt


def _end_soon() -> None:
    time.sleep(_GRACE_SECONDS)
    _say("interrupted")
    os._exit(_INTERRUPTED)


def _open_closed_streams() -> None:
    """Puts something in the place of streams the shell has closed (`>&-`); reading gives nothing, output fails."""
    # Their numbers would go to files opened later. Nobody misses what is not said on stderr.
    for name, mode, flags in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_RDWR),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))


def _is_flushed(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return False
    return True
