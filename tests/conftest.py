"""What pytest asks of the whole suite: an option of its own, and when slow tests run."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write golden files instead of comparing them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("KITBUILD_SLOW") != "1":
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; set KITBUILD_SLOW=1"))
