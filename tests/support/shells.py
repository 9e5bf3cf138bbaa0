"""Real shells with kitbuild's completions in them: bash and zsh on a terminal of their own, fish asked directly.

with Terminal("zsh", folder, environment) as shell:
    shell.words("kitbuild gra\t")  == ["kitbuild", "graph"]
    shell.shown("kitbuild completion \t") contains "fish"
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from fcntl import ioctl
from pathlib import Path
from types import TracebackType

_PROMPT = "READY> "
_START = {
    "bash": ["bash", "--noprofile", "--norc", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
_PREPARE = {
    "bash": (
        "bind 'set bell-style none'; bind 'set show-all-if-ambiguous on'; bind 'set enable-bracketed-paste off'\n"
        "bind 'set page-completions off'; bind 'set completion-query-items 0'\n"
        "source /usr/share/bash-completion/bash_completion\n"
        "source <(kitbuild completion bash)\n"
    ),
    "zsh": (
        "bindkey -e; unset zle_bracketed_paste; unsetopt beep prompt_sp zle_bracketed_paste 2>/dev/null\n"
        "autoload -Uz compinit; compinit -u -D; LISTMAX=1000\n"
        "source <(kitbuild completion zsh)\n"
    ),
}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r|\x07")
_SECONDS = 15


class Terminal:
    """A shell on a pseudo-terminal, wide enough that no line is broken."""

    def __init__(self, shell: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._shell = shell
        self._process, self._terminal = _spawn(_START[shell], folder, environment)

    def __enter__(self) -> Terminal:
        self._send(f"{_PREPARE[self._shell]}PS1='{_PROMPT[:3]}''{_PROMPT[3:]}'\n")
        self._until(_PROMPT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._terminal)

    def words(self, typed: str) -> list[str]:
        """What the shell makes of a line in which Tab was pressed: its words, without quotes."""
        self._send(typed)
        self._quiet()
        # Ctrl-A: to the beginning of the line, where a command is put that prints what it is given.
        self._send("\x01printf '<%s>\\n' \x05; echo 'E''ND'\n")
        try:
            text = self._until("END\n")
        except AssertionError:
            # A quote was left open: Ctrl-C, so that the next line is one of its own.
            self._send("\x03")
            self._quiet()
            raise
        if _PROMPT not in text[text.index("END\n") :]:
            self._until(_PROMPT)
        return re.findall(r"^<(.*)>$", text, re.MULTILINE)

    def shown(self, typed: str) -> str:
        """What is on the terminal after Tab was pressed."""
        self._send(typed)
        text = self._quiet(3.0)
        # Ctrl-U, for the next line.
        self._send("\x15\n")
        self._until(_PROMPT)
        return text

    def _send(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def _until(self, expected: str) -> str:
        text = ""
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            text += self._read(0.2)
            if text.endswith(expected) or expected in text:
                return text
        raise AssertionError(f"expected {expected!r} of {self._shell}, got {text!r}")

    def _quiet(self, seconds: float = 0.7) -> str:
        """What comes until nothing comes for so long; a completion takes a tenth of a second on a quiet machine."""
        text = self._read(_SECONDS)
        while more := self._read(seconds):
            text += more
        return text

    def _read(self, seconds: float) -> str:
        if not select.select([self._terminal], [], [], seconds)[0]:
            return ""
        return _ESCAPES.sub("", os.read(self._terminal, 1 << 16).decode("utf-8", "replace"))


def _spawn(
    command: list[str], folder: Path, environment: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], int]:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 400, 0, 0))
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**environment, "TERM": "xterm", "PS1": "$ "},
        start_new_session=True,
        preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0) and None,
    )
    os.close(theirs)
    return process, ours


def fish(line: str, folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What fish offers for a line, each with its description."""
    script = "kitbuild completion fish | source; complete -C $argv[1]"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script, line],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return dict(offer.partition("\t")[::2] for offer in done.stdout.splitlines())
