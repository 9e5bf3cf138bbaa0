"""The documentation as a site: `python docs/site/make.py FOLDER` builds it there, and fails at the first warning.

Pages of docs/ are read where they are by whoever has a clone, and so are README.md, BUILD.md, CHANGELOG.md and
bench/RESULTS.md above it. For the site they are laid out in one folder together with the reference pages, which are
made from what the program declares; links between them are turned accordingly, and what a link names that is no page
(an example, a schema) comes along.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from reference import pages

ROOT = Path(__file__).resolve().parents[2]
# Pages by the path of what they are made of.
ABOVE = {
    "README.md": "overview.md",
    "BUILD.md": "build.md",
    "CHANGELOG.md": "changelog.md",
    "bench/RESULTS.md": "measurements.md",
}
NAVIGATION = {
    "Start": ("tutorial", "overview"),
    "How to": (
        *("config", "formats", "images", "lock", "graph", "why", "report", "diff", "look-inside", "progress"),
        *(
            "building-in-ci",
            "ci",
            "remote-cache",
            "remote-cache-servers",
            "cache-server",
            "remote-execution",
            "boot-loaders",
        ),
        "linuxkit-flags",
    ),
    "Explanation": (
        *("explanation/index", "explanation/keys", "explanation/trees", "explanation/extents"),
        *("cache", "linuxkit-compatibility"),
    ),
    "Reference": (
        *("reference/commands", "commands", "settings", "reference/formats", "reference/rules"),
        *("reference/events", "reference/config"),
    ),
    "Project": ("build", "development", "measurements", "changelog", "decisions/index"),
}
_WELCOME = """\
One YAML file names a kernel and some container images; kitbuild makes of it what boots: an ISO, a disk, an image for
a cloud. Without Docker, without root, the same bytes every time, and only what changed. Begin with the
[tutorial](tutorial.md), or with an [overview](overview.md)."""
_ORPHAN = "---\norphan: true\n---\n\n"  # in no table of contents
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def lay_out(folder: Path) -> None:
    """Writes into an empty `folder` all that Sphinx reads."""
    shutil.copytree(ROOT / "docs", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("site", "*.md"))
    sources = {f"docs/{path.relative_to(ROOT / 'docs').as_posix()}" for path in (ROOT / "docs").rglob("*.md")}
    for source in sorted(sources | ABOVE.keys()):
        _write(folder, _page(source), _linked((ROOT / source).read_text(encoding="utf-8"), source, folder))
    for name, text in pages().items():
        _write(folder, name, text)
    decisions = sorted(path.stem for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    about = "What was decided, why, and what was rejected."
    _write(folder, "decisions/index.md", f"# Decisions\n\n{about}\n\n{_contents('', decisions)}")
    tables = [_contents(title, names) for title, names in NAVIGATION.items()]
    _write(folder, "index.md", "\n".join(["# kitbuild", "", _WELCOME, "", *tables]))


def build(site: Path) -> int:
    """Builds the site in `site` and gives the exit status of Sphinx; a warning is an error."""
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
        command += ["-c", str(ROOT / "docs/site"), "-d", f"{folder}.trees", folder, str(site)]
        try:
            return subprocess.run(command, check=False).returncode
        finally:
            shutil.rmtree(f"{folder}.trees", ignore_errors=True)


def _contents(title: str, names: tuple[str, ...] | list[str]) -> str:
    caption = f":caption: {title}\n" if title else ""
    return "\n".join(["```{toctree}", f"{caption}:maxdepth: 1", "", *names, "```", ""])


def _page(source: str) -> str:
    """The place in the site of a page, by its path from the top of the clone."""
    return ABOVE.get(source, source.removeprefix("docs/"))


def _linked(text: str, source: str, folder: Path) -> str:
    """The text with links that lead to pages and files of the site, which are brought along."""
    here = PurePosixPath(_page(source)).parent.as_posix()

    def turned(found: re.Match[str]) -> str:
        target = normpath((PurePosixPath(source).parent / found["target"]).as_posix())
        return f"]({relpath(_brought(target, folder), here)}{found['anchor'] or ''})"

    return _LINK.sub(turned, text)


def _brought(target: str, folder: Path) -> str:
    if target in ABOVE or target.startswith("docs/"):
        return "decisions/index.md" if target == "docs/decisions" else _page(target)
    if target == "docs":
        return "index.md"
    path = ROOT / target
    if path.is_dir():
        names = "\n".join(f"- `{entry.name}`" for entry in sorted(path.glob("*.yml")))
        _write(folder, f"{target}/index.md", f"{_ORPHAN}# {target}/\n\nIn a clone:\n\n{names}\n")
        return f"{target}/index.md"
    text = path.read_text(encoding="utf-8")
    _write(folder, target, f"{_ORPHAN}{text}" if path.suffix == ".md" else text)
    return target


def _write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1])))
