"""What configs ask for holds inside the booted system: its containers look, and say so on the console."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import images
from tests.support.boot import booted, built, kernel_files

pytestmark = [pytest.mark.integration, pytest.mark.boot]

CONFIGS = Path(__file__).parents[1] / "golden" / "boot"
SCHEMA = Path(__file__).parents[2] / "schema" / "linuxkit.schema.json"
OVER = "\nchecks are over\n"
POWER_DOWN = "reboot: Power down"
# A call of one of the functions of system.yml, at the start of a line or of a script of one line.
CHECK = re.compile(r"(?:^|; )\s*(?:is|can|cannot) '([^']+)'", re.MULTILINE)
VERDICT = re.compile(r"^(not ok|ok) (.*)$", re.MULTILINE)


@pytest.mark.parametrize("name", ["capabilities", "process", "roots", "isolation", "limits", "files"])
def test_all_that_the_config_asks_for_holds_in_the_running_system(tmp_path: Path, name: str) -> None:
    config = CONFIGS / f"{name}.yml"
    prefix = built(tmp_path, CONFIGS / "system.yml", config)

    console = booted(prefix, OVER)

    assert checks(config) == verdicts(console), failures(console)


def test_services_share_volumes_and_containers_run_at_shutdown_see_what_they_left(tmp_path: Path) -> None:
    config = CONFIGS / "volumes.yml"
    prefix = built(tmp_path, CONFIGS / "system.yml", config)

    console = booted(prefix, POWER_DOWN)

    assert checks(config) == verdicts(console), failures(console)


def test_a_config_with_every_field_set_boots_and_does_what_it_says(tmp_path: Path) -> None:
    images.layout(tmp_path / "images", {"test/kernel:v1": kernel_with_microcode()})
    config = CONFIGS / "everything.yml"
    options = ("--images", str(tmp_path / "images"))
    prefix = built(tmp_path, CONFIGS / "system.yml", config, options=options)

    console = booted(prefix, POWER_DOWN)

    assert checks(config) == verdicts(console), failures(console)


def test_the_config_with_every_field_set_has_every_field_of_the_schema() -> None:
    schema = json.loads(SCHEMA.read_text())
    config = yaml.safe_load((CONFIGS / "everything.yml").read_text())

    unset = set(fields(schema, schema)) - set(set_fields(config, schema, schema))

    assert set() == unset


def checks(config: Path) -> dict[str, str]:
    """The verdict that each check in the scripts of `config` should come to, by its name; names are unique."""
    names = CHECK.findall(config.read_text())
    assert len(names) == len(set(names)) > 9
    return dict.fromkeys(names, "ok")


def verdicts(console: str) -> dict[str, str]:
    """What the checks came to, by name, or by all they said if that was not `ok`."""
    return {name: verdict for verdict, name in VERDICT.findall(console)}


def failures(console: str) -> str:
    """What a person needs to see why a check failed: the console without the checks that held."""
    return "\n".join(line for line in console.splitlines() if not line.startswith("ok "))


def fields(schema: dict[str, Any], part: dict[str, Any], path: str = "") -> Iterator[str]:
    """The paths of all fields below a part of the schema, such as `services.runtime.mkdir`."""
    part = followed(schema, part)
    if "items" in part:
        yield from fields(schema, part["items"], path)
    for name, below in part.get("properties", {}).items():
        yield f"{place(part, path)}{name}"
        yield from fields(schema, below, f"{place(part, path)}{name}.")


def set_fields(value: Any, schema: dict[str, Any], part: dict[str, Any], path: str = "") -> Iterator[str]:
    """The paths of the fields that `value` sets, spelled as `fields` does."""
    part = followed(schema, part)
    if "items" in part:
        for one in value:
            yield from set_fields(one, schema, part["items"], path)
    elif "properties" in part:
        for name, below in value.items():
            yield f"{place(part, path)}{name}"
            yield from set_fields(below, schema, part["properties"][name], f"{place(part, path)}{name}.")


def followed(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The part of the schema that this one refers to, or itself."""
    part = part["allOf"][0] if "allOf" in part else part
    name = part.get("$ref", "").rpartition("/")[2]
    return dict(schema["definitions"][name]) if name else part


def place(part: dict[str, Any], path: str) -> str:
    """The start of paths below; the same for onboot, onshutdown and services, which have the same fields."""
    return "container." if "capabilities.add" in part["properties"] else path


def kernel_with_microcode() -> images.MadeImage:
    """The kernel image of the starter kit with other names for its files, and an archive for the microcode."""
    files = kernel_files()
    archive = microcode()
    return images.image(
        {"vmlinuz": files["kernel"], "modules.tar": files["kernel.tar"], "microcode.cpio": archive}
    )


def microcode() -> bytes:
    """A newc archive as the kernel looks for it in front of the initrd, for no processor there is."""
    folders = ["kernel", "kernel/x86", "kernel/x86/microcode"]
    entries = [(folder, 0o40755, b"") for folder in folders]
    entries += [("kernel/x86/microcode/note", 0o100644, b"none"), ("TRAILER!!!", 0, b"")]
    archive = b""
    for number, (name, mode, content) in enumerate(entries):
        path = name.encode() + b"\0"
        header = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0]
        for part in (b"070701" + b"".join(b"%08X" % value for value in header) + path, content):
            archive += part + bytes(-len(part) % 4)
    return archive
