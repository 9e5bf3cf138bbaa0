"""Builds of several machines that share a remote cache: what runs, what travels, and that outputs are right."""

from __future__ import annotations

import io
import random
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from kitbuild.cache.guarded import GuardedRemote
from kitbuild.cache.link import Traffic
from kitbuild.cache.memory import MemoryStore
from kitbuild.cache.remote import Remote
from kitbuild.cache.tiered import TieredStore
from kitbuild.cache.verified import VerifiedRemote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError, StoreError
from kitbuild.event import Event, NodeStarted
from kitbuild.export import extents_of, write
from kitbuild.extents import Extents, Literal, Slice
from kitbuild.node import Node
from kitbuild.rule import Value, Work
from kitbuild.store import Result, Store
from kitbuild.tree import Entry, Tree
from tests.support.faulty_remote import Clock, FaultyRemote, RandomlyFaultyRemote
from tests.support.nodes import TextOptions, built, node, uppercase
from tests.support.remotes import MemoryRemote

KERNEL = random.Random(3).randbytes(40_000)
LARGE = bytes(3 << 20)
LAYER = b"h" * 300_000 + KERNEL + b"t" * 200_000


class Machine:
    """A machine with a local cache of its own, and builds that use a remote one."""

    def __init__(
        self, folder: Path, remote: Remote, *, writes: bool = True, clock: Clock | None = None
    ) -> None:
        self._clock = clock or Clock()
        self.local = MemoryStore(folder)
        self.remote = remote
        self.warnings: list[str] = []
        self.events: list[Event] = []
        self.traffic = Traffic()
        self._writes = writes

    def build(self, outputs: dict[str, Node], *, wanted: bool = True) -> dict[str, bytes]:
        """One build; the files of its outputs if they are wanted."""
        self.events.clear()
        self.warnings.clear()
        guarded = GuardedRemote(
            VerifiedRemote(self.remote), warn=self.warnings.append, clock=self._clock, sleep=self._clock.sleep
        )
        store = TieredStore(
            self.local, guarded, writes=self._writes, warn=self.warnings.append, clock=self._clock
        )
        results = built(
            outputs, store, report=self.events.append, wanted=lambda name, artifact: wanted, jobs=2
        )
        files = {name: file_of(result, store) for name, result in results.items()} if wanted else {}
        store.finish()
        self.traffic = store.traffic()
        store.close()
        return files

    @property
    def ran(self) -> set[str]:
        return {event.node.name for event in self.events if isinstance(event, NodeStarted)}


def file_of(result: Result, store: Store) -> bytes:
    """The file of an output, as an export writes it."""
    out = io.BytesIO()
    write(extents_of(result.file(store), store), out, store)
    return out.getvalue()


def layer(work: Work[TextOptions]) -> Value:
    return work.put(LAYER)


def large(work: Work[TextOptions]) -> Value:
    return work.put(LARGE)


def tree(work: Work[TextOptions]) -> Value:
    blob = work.artifact("inputs").digest
    return Tree.of([Entry("kernel", "file", 0o644, content=Slice(blob, 300_000, len(KERNEL)))])


def kernel(work: Work[TextOptions]) -> Value:
    (found,) = work.tree(work.artifact("inputs")).entries
    assert found.content is not None
    return Extents.of([Literal(b"head"), found.content])


def system() -> dict[str, Node]:
    """A kernel, sliced out of a layer, and a text in capitals."""
    below = node("layer", layer)
    image = node("image", tree, needs=[below], output="tree")
    text = node("text", text="some text")
    return {
        "kernel": node("kernel", kernel, needs=[image], output="extents"),
        "note": node("note", uppercase, needs=[text]),
    }


FILES = {"kernel": b"head" + KERNEL, "note": b"SOME TEXT"}


@pytest.fixture
def memory() -> MemoryRemote:
    return MemoryRemote()


def test_second_machine_runs_nothing_and_brings_the_outputs_alone(
    memory: MemoryRemote, tmp_path: Path
) -> None:
    first, second = Machine(tmp_path / "1", memory), Machine(tmp_path / "2", memory, writes=False)
    first.build(system())

    files = second.build(system())

    assert files == FILES
    assert first.ran == {"layer", "image", "kernel", "text", "note"}
    assert second.ran == set()
    recipes = sum(
        len(content) for content in memory.content.values() if content.startswith(b"kitbuild-extents")
    )
    assert second.traffic.bytes <= len(KERNEL) + len(b"SOME TEXT") + recipes
    assert second.traffic.results == 5
    assert first.warnings == second.warnings == []


def test_outputs_nobody_wants_bring_nothing(memory: MemoryRemote, tmp_path: Path) -> None:
    Machine(tmp_path / "1", memory).build(system())
    second = Machine(tmp_path / "2", memory)

    second.build(system(), wanted=False)

    assert second.ran == set()
    assert second.traffic == Traffic(asked=5, results=5)


def test_build_with_everything_here_touches_nothing_there(memory: MemoryRemote, tmp_path: Path) -> None:
    faulty = FaultyRemote(memory)
    machine = Machine(tmp_path, faulty)
    machine.build(system())
    faulty.calls.clear()

    machine.build(system(), wanted=False)

    assert machine.ran == set()
    assert faulty.calls == []


def test_machine_that_took_results_from_there_can_go_on_from_them(
    memory: MemoryRemote, tmp_path: Path
) -> None:
    Machine(tmp_path / "1", memory).build(system())
    second = Machine(tmp_path / "2", memory)
    second.build(system())
    both = system()
    both["more"] = node("more", uppercase, needs=[both["note"]], text="x")
    both["other kernel"] = node(
        "other kernel", kernel, needs=_inputs(both["kernel"]), output="extents", text="2"
    )

    files = second.build(both)

    assert second.ran == {"more", "other kernel"}
    assert files["other kernel"] == FILES["kernel"]


def _inputs(node: Node) -> tuple[Node, ...]:
    return node.inputs["inputs"]


@pytest.mark.parametrize("lost", ["all", "dense", "note"])
def test_content_lost_there_is_made_again(memory: MemoryRemote, tmp_path: Path, lost: str) -> None:
    Machine(tmp_path / "1", memory).build(system())
    second = Machine(tmp_path / "2", memory)
    gone = {
        "all": set(memory.content),
        "dense": {Digest.of(KERNEL).hex},
        "note": {Digest.of(b"SOME TEXT").hex},
    }
    for name in gone[lost]:
        del memory.content[name]

    files = second.build(system())

    assert files == FILES
    assert second.warnings == []


def test_content_that_is_wrong_there_is_made_again_and_mended(memory: MemoryRemote, tmp_path: Path) -> None:
    Machine(tmp_path / "1", memory).build(system())
    second = Machine(tmp_path / "2", memory)
    note = Digest.of(b"SOME TEXT")
    memory.content[note.hex] = b"some text"

    files = second.build(system())

    assert files == FILES
    assert memory.content[note.hex] == b"SOME TEXT"
    assert second.ran == {"note"}
    assert [warning.partition(", the last")[0] for warning in second.warnings] == [
        "the remote cache failed once"
    ]


def test_slow_transfer_is_passed_over_for_what_is_made_sooner(memory: MemoryRemote, tmp_path: Path) -> None:
    Machine(tmp_path / "1", memory).build({"layer": node("layer", layer)})
    clock = Clock()
    slow = FaultyRemote(memory, clock=clock, bytes_per_second=100_000.0)
    other = bytes(300_000)
    memory.put(Digest.of(other), lambda: [other])
    second = Machine(tmp_path / "2", slow, clock=clock)
    store = TieredStore(second.local, slow, writes=False, warn=pytest.fail, clock=clock)
    store.fetch([Digest.of(other)])

    results = built({"layer": node("layer", layer)}, store, report=second.events.append)

    assert second.ran == {"layer"}
    assert store.path(results["layer"].artifact.digest).read_bytes() == LAYER
    assert slow.asked("get") == [Digest.of(other)]


def test_transfer_that_turns_out_slow_is_given_up_for_what_is_made_sooner(
    memory: MemoryRemote, tmp_path: Path
) -> None:
    Machine(tmp_path / "1", memory).build({"large": node("large", large)})
    clock = Clock()
    slow = FaultyRemote(memory, clock=clock, bytes_per_second=50_000.0)
    second = Machine(tmp_path / "2", slow, clock=clock, writes=False)
    begun = clock.now

    files = second.build({"large": node("large", large)})

    assert files == {"large": LARGE}
    assert second.ran == {"large"}
    # Nothing was measured before: the first of three pieces tells, which comes with the second.
    assert clock.now - begun < len(LARGE) / 50_000 * 0.7
    assert second.warnings == []


def test_slow_transfer_goes_on_if_nothing_is_quicker(memory: MemoryRemote, tmp_path: Path) -> None:
    first = Machine(tmp_path / "1", memory)
    first.build({"large": node("large", large)})
    (key,) = memory.records
    memory.keep(key, memory.records[key]._replace(result=memory.records[key].result._replace(seconds=1e6)))
    clock = Clock()
    slow = FaultyRemote(memory, clock=clock, bytes_per_second=50_000.0)
    second = Machine(tmp_path / "2", slow, clock=clock, writes=False)

    files = second.build({"large": node("large", large)})

    assert files == {"large": LARGE}
    assert second.ran == set()
    assert slow.asked("get") == [Digest.of(LARGE)] * 2


@pytest.mark.parametrize("call", ["record", "missing", "get", "put", "keep"])
@pytest.mark.parametrize(
    "error",
    [RemoteError("cannot connect"), RemoteError("server says 401", lasting=True)],
    ids=["passing", "lasting"],
)
def test_build_goes_on_without_a_remote_cache_that_fails(
    memory: MemoryRemote, tmp_path: Path, call: str, error: RemoteError
) -> None:
    Machine(tmp_path / "1", memory).build(system())
    clock = Clock()
    faulty = FaultyRemote(memory, clock=clock)
    faulty.fail(call, error, times=1000)
    if call in ("put", "keep"):
        memory.records.clear()
        memory.content.clear()

    second = Machine(tmp_path / "2", faulty, clock=clock)
    files = second.build(system())

    assert files == FILES
    assert [warning.count(error.message) for warning in second.warnings] == [1]


class Gone(FaultyRemote):
    """Says that everything is there, and gives none of it: a cache that was emptied, or killed, a moment later."""

    def __init__(self, inner: Remote, error: StoreError) -> None:
        super().__init__(inner)
        self._error = error

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        return set()

    def get(self, digest: Digest) -> Iterator[bytes]:
        raise self._error


@pytest.mark.parametrize("error", [MissingBlobError("gone"), RemoteError("cannot connect")], ids=repr)
def test_any_number_of_inputs_may_turn_out_to_be_lost(
    memory: MemoryRemote, tmp_path: Path, error: StoreError
) -> None:
    texts = [node(f"text {number}", text=f"text {number} ") for number in range(20)]
    Machine(tmp_path / "1", memory).build({"all": node("all", uppercase, needs=texts)})
    second = Machine(tmp_path / "2", Gone(memory, error), writes=False)

    files = second.build({"all": node("all", uppercase, needs=texts, text="other")})

    assert files == {"all": "".join(f"TEXT {number} " for number in range(20)).encode()}


# -- by chance


def random_system(draw: random.Random) -> dict[str, Node]:
    """Some nodes over others, of every kind."""
    texts = [node(f"text {n}", text=f"some text {draw.randrange(6)} ", rule="text") for n in range(4)]
    layers = [node(f"layer {n}", layer_of, text=str(draw.randrange(3)), rule="layer") for n in range(2)]
    uppers = [
        node(f"upper {n}", uppercase, needs=draw.sample(texts, draw.randrange(1, 4)), rule="upper")
        for n in range(4)
    ]
    trees = [
        node(f"tree {n}", tree, needs=[draw.choice(layers)], rule="tree", output="tree") for n in range(2)
    ]
    kernels = [
        node(f"kernel {n}", kernel, needs=[draw.choice(trees)], rule="kernel", output="extents")
        for n in range(2)
    ]
    tops = [node(f"top {n}", uppercase, needs=draw.sample(uppers, 2), rule="top") for n in range(2)]
    return {made.name: made for made in (*kernels, *tops, draw.choice(uppers), draw.choice(layers))}


def layer_of(work: Work[TextOptions]) -> Value:
    return work.put(LAYER + work.options.text.encode())


@pytest.mark.parametrize("seed", range(25))
def test_every_build_is_right_whatever_the_remote_cache_does(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    memory = MemoryRemote()
    faulty = RandomlyFaultyRemote(memory, seed, odds=draw.choice((0.02, 0.1, 0.3)))
    machines = [Machine(tmp_path / str(number), faulty) for number in range(3)]
    reference = MemoryStore(tmp_path / "reference")

    for _ in range(6):
        outputs = random_system(draw)
        machine = draw.choice(machines)
        expected = {name: file_of(result, reference) for name, result in built(outputs, reference).items()}
        here = _blobs(machine.local)
        if here and draw.random() < 0.3:
            draw.choice(here).unlink()

        files = machine.build(outputs)

        assert files == expected

    for machine in machines:
        for path in _blobs(machine.local):
            assert Digest.of(path.read_bytes()).hex == path.parent.name + path.name


def _blobs(store: MemoryStore) -> list[Path]:
    return sorted(path for path in (store._blobs.folder / "blobs").rglob("*") if path.is_file())
