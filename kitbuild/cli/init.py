"""kitbuild init: write a config to start from."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from kitbuild.errors import KitbuildError, UsageError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

DEFAULT_FILE = "linuxkit.yml"
# Where a clone of kitbuild has the starter kit.
_KIT = Path("examples", "kit")
# By name; each is a file of starters/, in which {file} and {name} stand for those that are asked for, {kit} for the
# folder of the starter kit, and {images} for the flag that names its images, if one is needed.
STARTERS: Mapping[str, str] = {
    "minimal": "a shell on the console (the default)",
    "ssh": "a machine that is reached with SSH",
    "web": "a web server with pages of your own",
    "kit": "a shell on the console, of images made on this machine: no registry is asked",
}
_DESCRIPTION = """\
Writes a config with a comment on every part: build it as it is, then change it.

  kitbuild init                        linuxkit.yml, a shell on the console
  kitbuild init --starter ssh box.yml  box.yml, a machine that is reached with SSH
  kitbuild init --list                 what there is to start from
  kitbuild init --starter web - | less look at one

A file that is there already is left alone.
"""


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "init",
        help="write a config to start from",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file",
        nargs="?",
        default=DEFAULT_FILE,
        metavar="FILE",
        help=f"where to write it (default: {DEFAULT_FILE}); `-` is stdout",
    )
    parser.add_argument(
        "-s",
        "--starter",
        choices=tuple(STARTERS),
        default="minimal",
        metavar="NAME",
        help=f"what to start from: {', '.join(STARTERS)} (default: minimal)",
    )
    parser.add_argument("--list", action="store_true", help="list what there is to start from")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes the config and says what to do next; raises UsageError for a file that is there."""
    if arguments.list:
        width = max(map(len, STARTERS)) + 2
        sys.stdout.writelines(f"{name.ljust(width)}{text}\n" for name, text in STARTERS.items())
        return 0
    if arguments.file == "-":
        sys.stdout.write(starter(arguments.starter, DEFAULT_FILE))
        return 0
    _write(Path(arguments.file), starter(arguments.starter, arguments.file))
    sys.stdout.write(_next_steps(arguments.starter, arguments.file))
    return 0


def starter(name: str, file: str) -> str:
    """The text of a starter, for a config of this file name."""
    text = (Path(__file__).parent / "starters" / f"{name}.yml").read_text(encoding="utf-8")
    if name == "kit":
        text = text.replace("{kit}", quote(_kit())).replace("{images}", _images_flag())
    return text.replace("{file}", quote(file)).replace("{name}", quote(Path(file).stem))


def kit_folder() -> Path | None:
    """The starter kit: of the clone one is in, else of the clone that kitbuild runs from; None without a clone."""
    here = Path.cwd()
    tops = (here, *here.parents, Path(__file__).resolve().parents[2])
    return next((top / _KIT for top in tops if (top / _KIT / "make.py").is_file()), None)


def _kit() -> str:
    """The folder of the starter kit as seen from here; a word to fill in if there is none."""
    folder = kit_folder()
    if folder is None:
        return f"CLONE/{_KIT}"
    return min(str(folder), os.path.relpath(folder), key=len)


def _images_flag() -> str:
    """The flag that leads to the images of the kit, with a space before it; nothing if a setting does already."""
    from kitbuild.settings import settings_of

    folder = kit_folder()
    with suppress(KitbuildError, OSError):
        if folder and (folder / "images").resolve() in [
            path.resolve() for path in settings_of(Namespace()).images
        ]:
            return ""
    return f" --images {quote(f'{_kit()}/images')}"


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(
            f"expected no file at `{path}`, got one", hint="give another name: kitbuild init NAME.yml"
        ) from error
    except OSError as error:
        raise KitbuildError(f"cannot write `{path}`: {error.strerror}") from error


def _next_steps(name: str, file: str) -> str:
    config = quote(file)
    images = _images_flag() if name == "kit" else ""
    folder = kit_folder()
    steps = [
        ("git clone URL CLONE", "get kitbuild's source, which has the starter kit")
        if name == "kit" and folder is None
        else None,
        (f"python {quote(f'{_kit()}/make.py')}", "make its images, once")
        if name == "kit" and not (folder and (folder / "images" / "index.json").exists())
        else None,
        (f"kitbuild build{images} {config}", "build it"),
        (f"kitbuild graph{images} {config}", "see what it turns into"),
        (f"kitbuild watch{images} {config}", "build it again whenever it changes"),
        ("kitbuild help config", "what can be written in it"),
    ]
    known = [step for step in steps if step]
    width = max(len(command) for command, _ in known) + 2
    lines = [f"  {command.ljust(width)}{text}" for command, text in known]
    return "\n".join([f"wrote {file}; next:", *lines]) + "\n"
