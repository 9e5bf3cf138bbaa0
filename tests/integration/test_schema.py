"""`kitbuild schema`, the committed schema, and the examples it has to take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from kitbuild.config.yaml import parse
from kitbuild.report.schema import event_schema
from tests.support.command import Site

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "schema" / "linuxkit.schema.json"
EXAMPLES = sorted((ROOT / "examples").rglob("*.yml"))


def test_committed_schema_is_what_the_command_writes() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "kitbuild", "schema"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )

    assert (shown.returncode, shown.stderr) == (0, "")
    hint = f"{SCHEMA.name} is out of date; run: kitbuild schema >schema/{SCHEMA.name}"
    assert shown.stdout == SCHEMA.read_text(encoding="utf-8"), hint


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_is_valid(example: Path) -> None:
    from jsonschema import Draft7Validator

    validator = Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))

    errors = validator.iter_errors(parse(example.read_bytes(), example.name).value)

    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_there_are_examples() -> None:
    assert {"minimal.yml", "files.yml"} <= {example.name for example in EXAMPLES}


def test_command_writes_the_schema_of_events(tmp_path: Path) -> None:
    written = Site(tmp_path / "site").run("schema", "--events").stdout

    assert json.loads(written) == event_schema()
    jsonschema.Draft7Validator.check_schema(event_schema())
