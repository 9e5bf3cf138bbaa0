"""What a user installs: the wheel, and the wheel made from the sdist, each in a virtual environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

from kitbuild import __version__

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
# What a build reads; the rest of the tree must not matter to it.
PARTS = ("kitbuild", "rules", "cache", "pyproject.toml", "README.md", "LICENSE")
CONFIG = """
files:
  - path: etc/note
    contents: a note
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `direct/` (the wheel) and `sdist/` (the sdist, and the wheel made from it)."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(ROOT / part, source / part, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / part, source / part)
    # In this order, so that the second finds nothing the first has left behind.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "sdist", source)
    shutil.rmtree(source / "build", ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder / "direct", source)
    return folder


@pytest.fixture(scope="module", params=["direct", "sdist"])
def installed(built: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with one of the two wheels in it."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    wheel = only(built / request.param, "*.whl")
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin/python", "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--no-index", wheel)
    # The libraries are those of this environment: a path in a .pth is searched, its own .pth files (among them the
    # editable kitbuild's) are not read.
    (site_packages(folder) / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return folder


@pytest.mark.parametrize("kind", ["direct", "sdist"])
def test_wheel_holds_every_module_and_nothing_else(built: Path, kind: str) -> None:
    modules = {
        f"kitbuild/{path.relative_to(ROOT / 'kitbuild')}" for path in (ROOT / "kitbuild").rglob("*.py")
    }
    for room in ("rules", "cache"):
        modules |= {f"kitbuild/{path.relative_to(ROOT)}" for path in (ROOT / room).rglob("*.py")}
    data = {
        path for folder in ("cli/starters", "report/html") for path in (ROOT / "kitbuild" / folder).iterdir()
    }
    modules |= {f"kitbuild/{path.relative_to(ROOT / 'kitbuild')}" for path in data}

    names = ZipFile(only(built / kind, "*.whl")).namelist()

    assert {name for name in names if ".dist-info/" not in name} == {*modules, "kitbuild/py.typed"}
    assert "kitbuild/rules/fetch/registry.py" in names
    assert "kitbuild/cache/directory.py" in names


def test_sdist_holds_no_link(built: Path) -> None:
    with tarfile.open(only(built / "sdist", "*.tar.gz")) as sdist:
        links = [member.name for member in sdist if not (member.isfile() or member.isdir())]

    # A wheel is made from an sdist on file systems without links, too.
    assert links == []


def test_nothing_but_the_package_is_in_site_packages(installed: Path) -> None:
    names = {path.name for path in site_packages(installed).iterdir()}

    assert names == {"kitbuild", f"kitbuild-{__version__}.dist-info", "libraries.pth"}


def test_program_and_module_tell_the_version_and_the_formats(installed: Path, tmp_path: Path) -> None:
    program, python = installed / "bin/kitbuild", installed / "bin/python"

    version = run(program, "version", folder=tmp_path)
    formats = run(program, "formats", folder=tmp_path)
    usage = run(python, "-m", "kitbuild", "--help", folder=tmp_path)

    assert __version__ in version
    assert "kernel+initrd" in formats
    assert usage.startswith("usage: kitbuild ")


def test_program_builds_with_the_modules_it_was_installed_with(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "note.yml").write_text(CONFIG)
    where = (
        "import kitbuild.rules.format, kitbuild.cache as c; print(kitbuild.rules.format.__file__, c.__file__)"
    )

    run(installed / "bin/kitbuild", "build", "-f", "tar", "--cache-dir", "cache", "note.yml", folder=tmp_path)

    with tarfile.open(tmp_path / "note.tar") as archive:
        note = archive.extractfile("etc/note")
        assert note is not None
        assert note.read() == b"a note"
    for file in run(installed / "bin/python", "-c", where, folder=tmp_path).split():
        assert Path(file).is_relative_to(site_packages(installed))


def run(*command: str | Path, folder: Path | None = None) -> str:
    """The standard output of a command, which must succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def only(folder: Path, pattern: str) -> Path:
    """The one file of the folder whose name fits."""
    (found,) = folder.glob(pattern)
    return found


def site_packages(environment: Path) -> Path:
    """Where a virtual environment keeps its packages."""
    return only(environment / "lib", "python3.*") / "site-packages"
