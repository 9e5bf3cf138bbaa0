"""kitbuild diff: compare two configs, outputs or builds."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Sequence

    from kitbuild.compare.budget import Outcome
    from kitbuild.compare.difference import Difference

_DESCRIPTION = """\
Says what is different between two systems, section by section: files, packages, how containers run, the kernel
command line, images, flags and sizes. Each of the two is a config, an output (any format), or the record of a build
(its id in `kitbuild history`, or a file that `build --record FILE` wrote).

  kitbuild diff old.yml new.yml                     two configs, as far as the cache knows what they are made of
  kitbuild diff old.iso new.iso                     two outputs, file by file; also of two formats
  kitbuild diff --stat linuxkit.yml linuxkit.tar    in short; is this what the config says now?
  kitbuild diff --budget initrd=+2MB --budget total=+5% old-initrd.img new-initrd.img
                                                    exit status 1 if it grew by more
  kitbuild diff --format markdown main.rec this.rec >comment.md
                                                    for a comment on a pull request
"""
_FORMATS = ("text", "markdown", "json")


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "diff",
        usage="kitbuild diff [flags] BEFORE AFTER",
        help="compare two configs, outputs or builds",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", metavar="BEFORE", help="a config, an output, or a record of a build")
    parser.add_argument("after", metavar="AFTER", help="what to compare it with")
    parser.add_argument(
        "--as",
        dest="kind",
        choices=("config", "output", "record"),
        help="what both are (default: told by what is in them)",
    )
    parser.add_argument(
        "-f",
        "--format",
        choices=_FORMATS,
        default="text",
        help="text for people, markdown for comments, json for programs",
    )
    parser.add_argument("--json", action="store_true", help="the same as `--format json`")
    parser.add_argument("--stat", action="store_true", help="one line for each section")
    parser.add_argument("--all", action="store_true", help="leave nothing out, however much differs")
    parser.add_argument("--times", action="store_true", help="also compare when files were changed last")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 if anything differs")
    parser.add_argument(
        "--budget",
        action="append",
        default=[],
        metavar="NAME=LIMIT",
        help="fail if `total`, a section or an output is larger than LIMIT (20MB) or grew by more (+2MB, +5%%)",
    )
    parser.add_argument(
        "--image-format",
        action="append",
        default=[],
        metavar="FORMAT[,FORMAT]",
        help="configs: compare the sizes of the outputs of these formats",
    )
    from kitbuild.settings import add_setting_arguments

    parser.add_argument("--arch", help="configs: architecture of the system (default: this machine's)")
    add_setting_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes what differs and gives the exit status."""
    from kitbuild.cli.diff_sides import compared
    from kitbuild.compare.budget import budget, outcomes
    from kitbuild.errors import KitbuildError
    from kitbuild.report.ci import complaint
    from kitbuild.report.diff_text import broken_budget
    from kitbuild.report.errors import format_warning
    from kitbuild.report.text import encodable, one_line, use_color

    budgets = [budget(text) for text in arguments.budget]
    with compared(arguments) as difference:
        color = use_color(sys.stderr)
        for warning in difference.warnings:
            sys.stderr.write(f"{format_warning(one_line(warning), color=color)}\n")
        held = outcomes(budgets, difference)
        text = encodable(_text(arguments, difference, held), sys.stdout.encoding)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise KitbuildError(f"cannot write to stdout: {error.strerror}") from error
    broken = [outcome for outcome in held if not outcome.is_kept]
    for outcome in broken:
        sys.stderr.write(f"{complaint(KitbuildError(broken_budget(outcome)), sys.stderr)}\n")
    return 1 if broken or (arguments.exit_code and not difference.is_empty) else 0


def _text(arguments: Namespace, difference: Difference, held: Sequence[Outcome]) -> str:
    from kitbuild.report.text import use_color

    if arguments.json or arguments.format == "json":
        from kitbuild.report.diff_json import json_of

        return json_of(difference, held)
    if arguments.format == "markdown":
        from kitbuild.report.diff_markdown import markdown_of

        return markdown_of(difference, held, everything=arguments.all)
    from kitbuild.report.diff_text import stat_of, text_of

    color = use_color(sys.stdout)
    if arguments.stat:
        return stat_of(difference, held, color=color)
    return text_of(difference, held, color=color, everything=arguments.all)
