from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kitbuild.cache.memory import MemoryStore
from kitbuild.graph import Graph
from kitbuild.history import Builds, earlier, listed, load
from kitbuild.node import Ingredients
from kitbuild.record import NodeRecord, Origins, Record
from tests.support.nodes import node

BEGAN = 1_700_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return MemoryStore(tmp_path)


def record(text: str = "a", began: float = BEGAN, *names: str) -> Record:
    nodes = {
        name: NodeRecord("test/top", "", "ran", {}, Ingredients("test/top", 1, (), {"text": text}, ()))
        for name in names or ("top",)
    }
    return Record("1", text, began, 1.0, nodes, {})


def why(builds: Builds, text: str, name: str = "top") -> tuple[str, ...]:
    wanted = node(name, text=text, rule="top")
    ingredients = Ingredients("test/top", 1, (), {"text": text}, ())
    others = {one: node(one, rule="top") for one in ("top", "other", "third") if one != name}
    return builds.why(wanted, ingredients, Graph.of({"out": wanted, **others}))


def test_ids_are_in_the_order_of_time(store: MemoryStore) -> None:
    for number in range(3):
        Builds(store, "a").keep(record(began=BEGAN + number / 100))

    ids = [name for name, _ in listed(store)]

    assert [name[:19] for name in ids] == [f"20231114-221320-0{number}0" for number in (2, 1, 0)]
    assert [one.id for one in earlier(store, "a", ids[0])] == ids[1:]
    assert [one.id for one in earlier(store, "a")] == ids


def test_oldest_builds_of_a_scope_are_dropped_with_their_content(store: MemoryStore) -> None:
    for number in range(20):
        Builds(store, "a").keep(record(began=BEGAN + number))
    ids = [name for name, _ in listed(store)]

    Builds(store, "a").keep(record(began=BEGAN + 20))

    assert len(ids) == 16
    assert [name for name, _ in listed(store)][1:] == ids[:-1]
    assert store.note("build", ids[-1]) == b""


def test_node_is_compared_with_the_last_build_that_has_it(store: MemoryStore) -> None:
    Builds(store, "a").keep(record("one", BEGAN, "top", "other"))
    Builds(store, "a").keep(record("two", BEGAN + 1, "top"))

    builds = Builds(store, "a")

    assert why(builds, "new") == ('option `text` changed from "two" to "new"',)
    assert why(builds, "new", "other") == ('option `text` changed from "one" to "new"',)
    assert why(builds, "new", "third") == ("never built before",)


def test_node_is_compared_with_a_build_of_the_same_flags_before_one_is_blamed(store: MemoryStore) -> None:
    for number, compression in enumerate(("gzip", "zstd")):
        origins = Origins(flags={"--compression": compression})
        options = {"text": "one", "compression": compression}
        nodes = {"top": NodeRecord("test/top", "", "ran", {}, Ingredients("test/top", 1, (), options, ()))}
        builds = Builds(store, "a", origins=lambda origins=origins: origins)  # type: ignore[misc]
        builds.keep(Record("1", compression, BEGAN + number, 1.0, nodes, {}))
    now = Builds(store, "a", origins=lambda: Origins(flags={"--compression": "gzip"}))
    wanted = node("top", text="two", rule="top")
    ingredients = Ingredients("test/top", 1, (), {"text": "two", "compression": "gzip"}, ())

    found = now.why(wanted, ingredients, Graph.of({"out": wanted}))

    assert found == ('option `text` changed from "one" to "two"',)


def test_build_like_the_last_one_is_recorded_for_who_asked_alone(store: MemoryStore) -> None:
    Builds(store, "a").keep(record("one", BEGAN))
    builds = Builds(store, "a", always=True)

    assert builds.wants("one", ran=False)
    builds.keep(record("one", BEGAN + 1))

    latest = builds.latest()
    assert latest is not None
    assert latest.began == BEGAN + 1
    assert len(listed(store)) == 1


def test_origins_are_not_asked_for_while_there_is_nothing_to_compare(store: MemoryStore) -> None:
    def never() -> Origins:
        raise AssertionError("asked")

    assert why(Builds(store, "a", origins=never), "x") == ("never built before",)


def test_build_elsewhere_is_kept_beside_the_first_that_was_compared_with_it(store: MemoryStore) -> None:
    builds = Builds(store, "a", elsewhere=lambda: record("there")._replace(id="x"))
    assert why(builds, "here") == ('option `text` changed from "there" to "here"',)
    builds.keep(record("here"))
    Builds(store, "a").keep(record("later", BEGAN + 1))

    (last, _), (first, _) = listed(store)

    assert [one.state for one in earlier(store, "a", last)] == ["here", "there"]
    assert [one.id for one in earlier(store, "a", first)] == ["elsewhere x"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'["s", 5]', b'["s", [1, "x"]]', b"\xff", b"null"])
def test_malformed_lists_are_as_good_as_none(store: MemoryStore, content: bytes) -> None:
    store.keep("builds", "a", content)
    store.keep("builds-of", "all", content)
    store.keep("build", "x", content)

    assert load(store, "x") is None
    assert why(Builds(store, "a"), "new") == ("never built before",)
    Builds(store, "a").keep(record())
    assert len([name for name, _ in listed(store) if load(store, name)]) == 1


def test_builds_of_many_configs_that_end_at_once_are_all_there(store: MemoryStore) -> None:
    threads = [
        threading.Thread(target=Builds(store, f"scope{number}").keep, args=(record(began=BEGAN + number),))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number in range(8):
        assert len(list(earlier(store, f"scope{number}"))) == 1


def test_the_record_kept_is_that_of_this_build_and_none_before_it_is_over(store: MemoryStore) -> None:
    Builds(store, "a").keep(record("before"))
    builds = Builds(store, "a")

    assert builds.kept() is None
    builds.keep(record("now", BEGAN + 1))
    kept = builds.kept()

    assert kept is not None
    assert kept.state == "now"
