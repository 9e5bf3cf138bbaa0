from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.suggest import did_you_mean, distance, nearest, one_of


@pytest.mark.parametrize(
    ("one", "other", "edits"),
    [
        pytest.param("binds", "binds", 0, id="the same"),
        pytest.param("bindz", "binds", 1, id="one letter replaced"),
        pytest.param("bind", "binds", 1, id="one letter missing"),
        pytest.param("bindss", "binds", 1, id="one letter too many"),
        pytest.param("bidns", "binds", 1, id="two neighbours swapped"),
        pytest.param("", "iso", 3, id="from nothing"),
        pytest.param("iso", "", 3, id="to nothing"),
        pytest.param("kitten", "sitting", 3, id="three edits"),
        pytest.param("ca", "abc", 3, id="a swapped pair is not edited again"),
    ],
)
def test_distance_counts_edits(one: str, other: str, edits: int) -> None:
    assert edits == distance(one, other)


_words = st.text(alphabet="abc", max_size=6)


@given(_words, _words)
def test_distance_is_the_same_both_ways_and_zero_for_equal_words_alone(one: str, other: str) -> None:
    assert distance(one, other) == distance(other, one)
    assert (distance(one, other) == 0) == (one == other)
    assert abs(len(one) - len(other)) <= distance(one, other) <= max(len(one), len(other))


def test_nearest_prefers_fewer_edits_then_the_first() -> None:
    assert nearest("initx", ["ini", "init"]) == "init"
    assert nearest("inita", ["initx", "inity"]) == "initx"


def test_a_word_more_than_two_edits_away_is_not_meant() -> None:
    assert nearest("volumes", ["services"]) is None


def test_a_short_word_is_not_taken_for_another_short_word() -> None:
    assert nearest("a", ["b"]) is None
    assert nearest("xy", ["iso"]) is None


def test_case_does_not_count() -> None:
    assert nearest("HOSTID", ["hostID"]) == "hostID"


def test_hint_names_the_word_meant() -> None:
    assert did_you_mean("bindz", ["env", "binds"]) == "did you mean `binds`?"
    assert did_you_mean("zebra", ["env", "binds"]) is None


def test_hint_lists_all_names_if_none_is_near() -> None:
    assert one_of("zebra", ["env", "binds"]) == "use one of `env`, `binds`"
