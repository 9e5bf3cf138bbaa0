"""Failure: a system error at a cache folder as something the user can act on."""

from __future__ import annotations

import errno
from pathlib import Path

from kitbuild.errors import StoreError

# EFBIG: a limit on the size of files, set with `ulimit -f`.
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def failure(folder: Path, error: OSError) -> StoreError:
    """What to tell the user about a cache folder the system refuses to work with."""
    if error.errno in _NO_SPACE:
        return StoreError(
            f"no space left for the cache {folder}",
            hint="free some space there, run `kitbuild cache gc --max-size 5G`, "
            "or set KITBUILD_CACHE_DIR to a folder on a larger disk",
        )
    return StoreError(
        f"the cache {folder} cannot be used: {error.strerror or error}",
        hint="make the folder writable for you, or set KITBUILD_CACHE_DIR to one that is",
    )
