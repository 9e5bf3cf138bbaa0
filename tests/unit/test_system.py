from __future__ import annotations

import calendar
import time

from kitbuild.node import Node
from kitbuild.rule import NoOptions, Rule
from kitbuild.system import MTIME, System
from kitbuild.tree import Tree

RULE = Rule("t/nothing", 1, "make nothing", NoOptions, "tree", lambda work: Tree.of([]))


def node(name: str) -> Node:
    return Node(name, RULE, NoOptions())


def test_time_of_what_kitbuild_makes_is_that_of_linuxkit() -> None:
    seconds = calendar.timegm(time.strptime("2017-04-18 16:30:00", "%Y-%m-%d %H:%M:%S"))

    assert seconds * 1_000_000_000 == MTIME


def test_node_is_made_once_a_name() -> None:
    system = System(())

    first = system.once("a", lambda: node("a"))

    assert first is system.once("a", lambda: node("another"))
    assert first is not system.once("b", lambda: node("b"))


def test_systems_share_no_nodes() -> None:
    one, other = System(()), System(())

    assert one.once("a", lambda: node("a")) is not other.once("a", lambda: node("a"))


def test_system_without_more_is_gzip_without_a_kernel() -> None:
    system = System(())

    assert (None, False, "", "gzip") == (
        system.kernel,
        system.microcode,
        system.cmdline,
        system.target.compression,
    )
