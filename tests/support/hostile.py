"""Looks into damaged copies of outputs, and says what is no KitbuildError or takes too long.

    python -m tests.support.hostile COUNT SEED FILE...

Every copy is cut off somewhere, or has a few bytes of it changed, mostly where structures are. The process may
have 2 GiB of memory. Prints a line for each thing that is wrong; nothing if all is well.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from kitbuild.errors import KitbuildError
from kitbuild.reading import open_output

_MEMORY_BYTES = 2 << 30
_MOST_SECONDS = 10
_HEAD_BYTES = 4096
_WORDS = (b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\1" * 4)


def look(path: Path) -> str:
    """Reads everything in an output; what was wrong with it, or nothing."""
    try:
        with open_output(path) as output:
            output.cmdline()
            for entries in (output.system(), output.medium()):
                left = 4 << 20
                for entry in entries:
                    if left > 0 and entry.kind in ("file", "hardlink"):
                        with output.open(entry) as stream:
                            left -= len(stream.read(1 << 20))
    except KitbuildError as error:
        return str(error)
    return ""


def damaged(content: bytes, chance: random.Random, count: int) -> Iterator[bytes]:
    """Damaged copies."""
    for _ in range(count):
        copy = bytearray(content)
        if chance.random() < 0.25:
            del copy[_place(content, chance) :]
        else:
            for _ in range(chance.choice((1, 1, 2, 8))):
                place = _place(content, chance)
                if chance.random() < 0.5:
                    copy[place] ^= 1 << chance.randrange(8)
                else:
                    word = chance.choice((*_WORDS, chance.randbytes(4)))
                    copy[place : place + len(word)] = word
        yield bytes(copy)


def _place(content: bytes, chance: random.Random) -> int:
    """A place near the start or the end, or where something is."""
    kind = chance.random()
    if kind < 0.3:
        return chance.randrange(min(_HEAD_BYTES, len(content)))
    if kind < 0.5:
        return chance.randrange(max(0, len(content) - _HEAD_BYTES), len(content))
    place = 0
    for _ in range(50):
        place = chance.randrange(len(content))
        if content[place : place + 16].strip(b"\0"):
            break
    return place


def main(count: int, seed: int, paths: list[Path]) -> None:
    """Prints what is wrong."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        for path in paths:
            chance = random.Random(f"{seed} {path.name}")
            for number, content in enumerate(damaged(path.read_bytes(), chance, count)):
                copy.write_bytes(content)
                began = time.process_time()
                try:
                    look(copy)
                except Exception as error:
                    print(f"{path.name} {number}: {error!r}")  # noqa: T201
                if time.process_time() - began > _MOST_SECONDS:
                    print(f"{path.name} {number}: {time.process_time() - began:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), list(map(Path, sys.argv[3:])))
