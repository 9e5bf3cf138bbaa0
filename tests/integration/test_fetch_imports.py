"""What finding images costs a build with nothing to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.images import image, layout

pytestmark = pytest.mark.integration

HEAVY = [
    "requests",
    "urllib3",
    "http.client",
    "tarfile",
    "isal",
    "zstandard",
    "concurrent.futures",
    "subprocess",
]


def test_resolving_from_a_layout_imports_nothing_heavy(tmp_path: Path) -> None:
    layout(tmp_path, {"t/a:v1": image({"a": "1"})})
    code = f"""
import sys
from kitbuild.image import Platform
from kitbuild.reference import Reference
from kitbuild.resolve import Resolver
from kitbuild.rules.fetch import file, layer, open_source

resolver = Resolver(["layout:{tmp_path}"], None, open_source=open_source)
resolver.image(Reference.parse("t/a:v1"), Platform("linux", "amd64"))
print([name for name in {HEAVY!r} if name in sys.modules])
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
