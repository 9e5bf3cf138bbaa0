"""Long text goes to the user's pager when it goes to a terminal, and straight to stdout when it does not."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from contextlib import suppress

from kitbuild.report.text import encodable


def show(text: str) -> None:
    """Writes text to stdout, a screen at a time if it is longer than the terminal."""
    lines = shutil.get_terminal_size().lines
    if not sys.stdout.isatty() or text.count("\n") < lines or not _paged(text):
        sys.stdout.write(encodable(text, sys.stdout.encoding))


def _paged(text: str) -> bool:
    """Whether a pager took the text."""
    command = shlex.split(os.environ.get("PAGER", "less"))
    if not command or os.environ.get("TERM") == "dumb":
        return False
    import subprocess

    # As git has it: leave at once if all fits, show colours, leave the text on the screen.
    environment = {"LESS": "FRX", **os.environ}
    try:
        pager = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    except OSError:
        return False
    # Ctrl-C is the pager's own from here on.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with suppress(BrokenPipeError):
            pager.communicate(text.encode(sys.stdout.encoding, "backslashreplace"))
        pager.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return True
