"""The pinned boot loaders, fetched once for all tests, as the setting that gives them to a build.

Tests with caches of their own would ask the mirror over and over; tests/integration/test_boot_loaders.py does, once.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from kitbuild.cache.memory import MemoryStore
from kitbuild.config.loaders import LOADERS, Package
from kitbuild.digest import Digest
from kitbuild.rules.fetch import package as fetch_package
from kitbuild.work import StoreWork
from tests.support.registry import tool

_FOLDER = Path(__file__).parents[2] / "examples" / "kit" / ".work" / "loaders"


@cache
def loader_settings(architecture: str) -> str:
    """KITBUILD_BOOT_LOADERS for every boot loader there is for an architecture."""
    tool("apt-get")
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return ",".join(_settings(architecture))


def _settings(architecture: str) -> Iterator[str]:
    for name, loaders in LOADERS.items():
        if architecture in loaders:
            paths = [_fetched(package, name) for package in loaders[architecture].packages]
            yield f"{name}={'+'.join(map(str, paths))}"


def _fetched(package: Package, name: str) -> Path:
    path = _FOLDER / Path(package.path).name
    if not path.exists() or Digest.of(path.read_bytes()).hex != package.hex:
        store = MemoryStore()
        options = fetch_package.PackageOptions(package.hex, package.size, f"package:{package.path}", name)
        with StoreWork(options=options, inputs={}, store=store) as work:
            path.write_bytes(store.path(fetch_package.run(work)).read_bytes())
    return path
