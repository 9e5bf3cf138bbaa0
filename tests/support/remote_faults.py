"""One build over a faulty network, told by a seed; runs in a process of its own, several at once."""

from __future__ import annotations

import os
import random
import shutil
import traceback
from pathlib import Path
from typing import NamedTuple

from tests.support.fault_proxy import fault_proxy, seeded
from tests.support.remote_builds import Builds, Built, wrong_content

# A build takes 0.3 s here. What waiting for a remote cache may cost is bounded; machines with other things to do
# are slower.
MOST_SECONDS = 30.0


class Place(NamedTuple):
    """A server of files: `root` has caches below paths, `warm` with all of a config and `half` with most of it."""

    host: str
    root: Path

    def copied(self, state: str, name: str) -> None:
        """Begins a cache below the path `name` with what `state` has; files are replaced there, never changed."""
        (self.root / name).mkdir()
        if state != "cold":
            shutil.copytree(self.root / state, self.root / name, copy_function=os.link, dirs_exist_ok=True)


def cache_at(host: str, name: str) -> list[str]:
    """The setting for a cache below a path."""
    return ["--remote-cache", f"http://{host}/{name}"]


def trouble(builds: Builds, place: Place, folder: Path, seed: int) -> str:
    """What is wrong with the build that a seed tells, or with one after it; empty if nothing is."""
    try:
        return "\n".join(_complaints(builds, place, folder, seed))
    except Exception:
        return f"seed {seed}: {traceback.format_exc()}"


def _complaints(builds: Builds, place: Place, folder: Path, seed: int) -> list[str]:
    chance = random.Random(seed)
    state = chance.choice(("cold", "half", "warm", "warm"))
    writes = ["--remote-cache-write"] if state != "warm" or chance.random() < 0.5 else []
    name = f"seed{seed}"
    place.copied(state, name)
    with fault_proxy(place.host, seeded(seed)) as proxy:
        built = builds.build(folder / "faulty", *cache_at(proxy.host, name), *writes)
    found = _wrong_with(built, builds, folder / "faulty")
    if len(built.warnings) > 2:
        found.append("too many warnings")
    if built.seconds > MOST_SECONDS:
        found.append("too slow")
    if writes:
        # Whatever was left there does no harm to who comes later, over a network that works.
        later = builds.build(folder / "later", *cache_at(place.host, name))
        found += [f"later: {one}" for one in _wrong_with(later, builds, folder / "later")]
    shutil.rmtree(place.root / name)
    shutil.rmtree(folder)
    told = f"seed {seed}, {state}, {writes}, {dict(proxy.met)}, {built.seconds:.1f} s, {built.warnings}"
    return [f"{told}: {one}" for one in found]


def _wrong_with(built: Built, builds: Builds, folder: Path) -> list[str]:
    found = []
    if built.status:
        failures = [f"{event['node']}: {event['message']}" for event in built.events_of("node-failed")]
        found.append(f"status {built.status}: {failures} {built.stderr}")
    elif built.outputs != builds.expected:
        found.append(f"other outputs: {built.outputs}")
    if wrong := wrong_content(folder):
        found.append(f"wrong content: {wrong}")
    return found
