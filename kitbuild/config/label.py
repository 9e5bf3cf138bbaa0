"""The label an image carries its container options in, read like a config: JSON is YAML."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kitbuild.config.schema import LABEL, Problem, validate
from kitbuild.errors import ConfigError

NAME = "org.mobyproject.config"


@lru_cache(maxsize=1024)
def label_options(text: str) -> tuple[Mapping[str, Any], tuple[Problem, ...]]:
    """The options in the label's text and what is wrong with it; none if the text is empty or wrong.

    Remembered by text: the images of a system carry few different labels.
    """
    # A system of images without labels needs no YAML here.
    from kitbuild.config.yaml import parse

    if not text:
        return {}, ()
    try:
        document = parse(text.encode("utf-8", "replace"), NAME)
    except ConfigError as error:
        return {}, (Problem((), error.message, error.hint or ""),)
    problems = [Problem((), error.message, error.hint or "") for error in document.problems]
    problems += validate(document.value, LABEL)
    return (document.value if not problems else {}), tuple(problems)
