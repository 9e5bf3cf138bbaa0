"""A difference between two systems for programs; docs/diff.md says what the fields mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from kitbuild.compare.budget import Outcome
from kitbuild.compare.difference import Difference, PackageChange, SectionDifference, Side, Sizes
from kitbuild.compare.files import FileChange, state_of
from kitbuild.compare.snapshot import File
from kitbuild.compare.values import Change

# Raised whenever a field goes away or means something else.
JSON_FORMAT = 1


def json_of(difference: Difference, outcomes: Sequence[Outcome] = ()) -> str:
    """One JSON object, with everything that differs."""
    document = {
        "format": JSON_FORMAT,
        "equal": difference.is_empty,
        "before": _side(difference.before),
        "after": _side(difference.after),
        "total": _sizes(difference.total),
        "outputs": {name: _sizes(sizes) for name, sizes in difference.outputs.items()},
        "sizes": {name: _sizes(sizes) for name, sizes in difference.sizes.items()},
        "flags": _changes(difference.flags),
        "cmdline": _changes(difference.cmdline),
        "sections": [_section(section) for section in difference.sections],
        "packages": _packages(difference.packages),
        "medium": _files(difference.medium),
        "budgets": [_outcome(outcome) for outcome in outcomes],
        "notes": list(difference.missing),
        "warnings": list(difference.warnings),
    }
    return json.dumps(document, indent=2) + "\n"


def _side(side: Side) -> dict[str, Any]:
    return {"name": side.name, "kind": side.source, "format": side.format}


def _sizes(sizes: Sizes) -> dict[str, Any]:
    return {"before": sizes.before, "after": sizes.after}


def _section(section: SectionDifference) -> dict[str, Any]:
    return {
        "name": section.name,
        "state": section.state,
        "size": _sizes(section.size),
        "image": _changes(section.image),
        "settings": _changes(section.settings),
        "runtime": _changes(section.runtime),
        "packages": _packages(section.packages),
        "files": _files(section.files),
    }


def _changes(several: Iterable[Change]) -> list[dict[str, Any]]:
    return [
        {
            "state": state_of(change.before, change.after),
            "field": change.field,
            "before": change.before,
            "after": change.after,
            "where": change.where,
        }
        for change in several
    ]


def _packages(several: Iterable[PackageChange]) -> list[dict[str, Any]]:
    return [
        {"state": one.state, "name": one.name, "before": list(one.before), "after": list(one.after)}
        for one in several
    ]


def _files(several: Iterable[FileChange]) -> list[dict[str, Any]]:
    return [
        {
            "state": one.state,
            "path": one.path,
            "fields": list(one.fields),
            "before": _file(one.before),
            "after": _file(one.after),
        }
        for one in several
    ]


def _file(file: File | None) -> dict[str, Any] | None:
    if file is None:
        return None
    facts: dict[str, Any] = {
        "kind": file.kind,
        "mode": f"{file.mode:04o}",
        "uid": file.uid,
        "gid": file.gid,
        "size": file.size,
    }
    if file.kind == "file":
        # That of nothing is known without reading.
        facts["sha256"] = file.content.hex() if file.content else _OF_NOTHING
    if file.target:
        facts["target"] = file.target
    if file.kind in ("char", "block"):
        facts["device"] = list(file.device)
    if file.xattrs:
        facts["xattrs"] = {name: value.hex() for name, value in file.xattrs}
    return facts


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.budget.name,
        "limit": outcome.budget.text,
        "kept": outcome.is_kept,
        "before": outcome.sizes.before,
        "after": outcome.sizes.after,
    }


_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
