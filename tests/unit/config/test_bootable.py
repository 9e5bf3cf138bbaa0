"""What a boot loader wants of a config is told with its place, and only if a boot loader is asked for."""

from __future__ import annotations

import json

import pytest

from kitbuild.config.bootable import MAX_CMDLINE_BYTES, bootable_errors
from kitbuild.errors import ConfigError
from kitbuild.system import Format
from tests.unit.config.configs import config

BOOTING = Format("disk", "", lambda system: {}, boots=True)
PLAIN = Format("tar", "", lambda system: {})


def errors(text: str, *formats: Format) -> list[ConfigError]:
    return list(bootable_errors(config(text), formats or (PLAIN, BOOTING)))


def kernel(cmdline: str) -> str:
    return f"kernel:\n  image: t/kernel:v1\n  cmdline: {cmdline}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("init: [t/init:v1]\n", "expected a kernel section for `disk`, got none"),
        ("kernel: {image: t/kernel:v1}\n", "expected a kernel command line for `disk`, got none"),
        (kernel('""'), "expected a kernel command line for `disk`, got none"),
        (kernel('" \\n"'), "expected a kernel command line for `disk`, got none"),
        (
            kernel('"a\\nb"'),
            "expected a kernel command line of one line for `disk`, got control characters in it",
        ),
        (
            kernel('"a\\eb"'),
            "expected a kernel command line of one line for `disk`, got control characters in it",
        ),
        (
            kernel("x" * 65536),
            f"expected a kernel command line of at most {MAX_CMDLINE_BYTES} bytes for `disk`, got 65536",
        ),
    ],
)
def test_what_a_boot_loader_cannot_start_is_refused(text: str, message: str) -> None:
    (error,) = errors(text)

    assert message == error.message
    assert error.hint
    assert not errors(text, PLAIN)


@pytest.mark.parametrize("cmdline", ["it's", 'say "hi', "a\\", "b=\\x41", "d='q r'", 'e="\\""'])
def test_what_grub_would_change_is_refused_for_grub_alone(cmdline: str) -> None:
    grub = Format("iso", "", lambda system: {}, loaders={"amd64": ("grub",)}, boots=True)
    text = kernel(json.dumps(cmdline))

    (error,) = errors(text, BOOTING, grub)

    assert error.message.endswith("with double quotes in pairs, for `iso`")
    assert not errors(text, BOOTING)
    assert not errors(kernel(json.dumps('a=b "c d"=e f="g h"')), grub)


def test_mistake_in_the_command_line_is_told_with_its_place() -> None:
    (error,) = errors(kernel('"a\\nb"'))

    assert error.where is not None
    assert (3, 12) == (error.where.line, error.where.column)


@pytest.mark.parametrize(
    "cmdline", ["console=ttyS0", '"a\\tb c=\\"d e\\"\\n\\n"', "x" * MAX_CMDLINE_BYTES, "ünï"]
)
def test_one_line_that_fits_is_taken(cmdline: str) -> None:
    assert not errors(kernel(cmdline))
