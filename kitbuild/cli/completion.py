"""kitbuild completion: write completions for a shell."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

from kitbuild.errors import KitbuildError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

SHELLS = ("bash", "zsh", "fish")
_DESCRIPTION = """\
Writes a script that completes commands, flags, formats, configs, nodes and builds in your shell.

  source <(kitbuild completion bash)        for this shell; in ~/.bashrc: for every one
  source <(kitbuild completion zsh)         likewise in ~/.zshrc, below `compinit`
  kitbuild completion fish | source         for this shell
  kitbuild completion fish > ~/.config/fish/completions/kitbuild.fish

  kitbuild completion bash > ~/.local/share/bash-completion/completions/kitbuild
  kitbuild completion zsh > ~/.zfunc/_kitbuild     a folder of your $fpath
"""
# argcomplete's own code for zsh quotes by itself, and fails inside quotes; zsh quotes what it is given as the line
# wants it. The way to ask is that of fish: words as they are, a tab, what they are.
_ZSH = r"""#compdef kitbuild

_kitbuild() {
    local -a lines closed closed_labels open open_labels
    local line word label
    # Not $BUFFER, which loses the quote that the word begins with.
    line="${(j: :)words[1,CURRENT-1]} $IPREFIX$QIPREFIX$PREFIX"
    lines=("${(@f)$(
        COMP_LINE="$line" COMP_POINT="${#line}" COMP_TYPE= _ARGCOMPLETE=1 _ARGCOMPLETE_SHELL=fish \
        _ARGCOMPLETE_DFS=$'\t' _ARGCOMPLETE_IFS=$'\n' _ARGCOMPLETE_SUPPRESS_SPACE=1 \
        kitbuild 8>&1 9>/dev/null 1>/dev/null 2>&1 </dev/null
    )}")
    for line in "${lines[@]}"; do
        [[ -n "$line" ]] || continue
        word="${line%%$'\t'*}"
        label="${line#*$'\t'}"
        [[ -n "$label" ]] && label="$word  -- $label" || label="$word"
        # What goes on gets no space behind it.
        if [[ "$word" == *[/:=] ]]; then
            open+=("$word") open_labels+=("$label")
        else
            closed+=("$word") closed_labels+=("$label")
        fi
    done
    (( $#closed )) && compadd -V kitbuild -l -d closed_labels -a closed
    (( $#open )) && compadd -V kitbuild-open -l -S '' -d open_labels -a open
}

if [[ $zsh_eval_context == *func ]]; then
    _kitbuild "$@"
else
    compdef _kitbuild kitbuild
fi
"""


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "completion",
        help="write completions for a shell",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes the script to stdout."""
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError as error:
        raise KitbuildError(
            "expected the library argcomplete, got none", hint="pip install argcomplete"
        ) from error

    script = _ZSH if arguments.shell == "zsh" else shellcode(["kitbuild"], shell=arguments.shell)
    # Builds are offered newest first, and stay so.
    script = script.replace("complete --command kitbuild -f -a", "complete --command kitbuild -f -k -a")
    sys.stdout.write(f"{script.strip()}\n")
    return 0
