"""Lowering: configs become the graphs written down in tests/golden, and those stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.config.load import load
from kitbuild.config.lower import Sbom, lower, references_of
from kitbuild.config.nodes import Sources
from kitbuild.errors import ConfigErrors, ImageError
from kitbuild.image import Image
from kitbuild.reference import Reference
from kitbuild.system import System
from tests.support import graphs, images
from tests.support.graphs import graph_of, text_of
from tests.support.sboms import with_sbom

GOLDEN = Path(__file__).parents[1] / "golden"
CONFIGS = sorted(path.stem for path in (GOLDEN / "configs").glob("*.yml"))
REGENERATE = "python -m pytest tests/unit/test_lower.py --regenerate"

COMMON_LAYER: dict[str, images.Content] = {"lib/common": "common"}
MADE: dict[str, images.Made] = {
    "t/kernel:v1": images.image({"kernel": b"k", "kernel.tar": images.layer_tar({}), "ucode.cpio": b"u"}),
    "t/init:v1": images.image({"init": "i"}),
    "t/tool:v1": images.image({"bin/tool": "t"}, entrypoint=["/bin/tool"]),
    "t/web:v1": images.image(COMMON_LAYER, {"bin/web": "w"}, entrypoint=["/bin/web"]),
    "t/cousin:v1": images.image(COMMON_LAYER, {"bin/cousin": "c"}, entrypoint=["/bin/cousin"]),
    "t/billed:v1": with_sbom(images.image({"bin/billed": "b"}, cmd=["/bin/billed"]), name="billed"),
    "t/data:v1": images.image({"file": "d"}),
}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.layout(tmp_path_factory.mktemp("images"), MADE)


def lowered(config: Path, layout: Path) -> System:
    """The system of a config whose images are those of MADE, and whose files all say the same."""
    bill = Sbom("sbom.spdx.json", "2017-04-18T16:30:00Z") if config.stem == "bill" else None
    return graphs.lowered([str(config)], layout, bill=bill)


@pytest.mark.parametrize("name", CONFIGS)
def test_config_gives_the_graph_written_down(name: str, layout: Path, request: pytest.FixtureRequest) -> None:
    golden = GOLDEN / f"{name}.txt"

    text = text_of(graph_of(lowered(GOLDEN / "configs" / f"{name}.yml", layout)))

    if request.config.getoption("--regenerate"):
        golden.write_text(text)
    assert golden.is_file(), f"no {golden}; write it with: {REGENERATE}"
    assert text == golden.read_text(), f"another graph; if that is meant: {REGENERATE}"


def test_every_golden_graph_has_a_config(request: pytest.FixtureRequest) -> None:
    left_over = [path for path in GOLDEN.glob("*.txt") if path.stem not in CONFIGS]

    if request.config.getoption("--regenerate"):
        for path in left_over:
            path.unlink()
    assert [path.name for path in left_over if path.exists()] == [], f"remove them, or: {REGENERATE}"


@pytest.mark.parametrize("name", CONFIGS)
def test_lowering_twice_gives_nodes_with_equal_options(name: str, layout: Path) -> None:
    config = GOLDEN / "configs" / f"{name}.yml"

    one, two = graph_of(lowered(config, layout)), graph_of(lowered(config, layout))

    assert [(node.name, node.options) for node in one] == [(node.name, node.options) for node in two]


def test_command_line_is_no_part_of_the_initrd(layout: Path, tmp_path: Path) -> None:
    config = (GOLDEN / "configs" / "everything.yml").read_text()
    (tmp_path / "changed.yml").write_text(config.replace("ttyS0", "tty0"))

    one = lowered(GOLDEN / "configs" / "everything.yml", layout)
    two = lowered(tmp_path / "changed.yml", layout)

    assert changed(one, two) == {"cmdline", "kernel: cmdline"}


def test_service_put_first_changes_no_other_node(layout: Path, tmp_path: Path) -> None:
    config = (GOLDEN / "configs" / "everything.yml").read_text()
    first = "services:\n  - name: first\n    image: t/cousin:v1\n"
    (tmp_path / "changed.yml").write_text(config.replace("services:\n", first))

    one = lowered(GOLDEN / "configs" / "everything.yml", layout)
    two = lowered(tmp_path / "changed.yml", layout)

    names = {name for name in changed(one, two) if not name.startswith(("layer ", "image "))}
    # Tars say of each member where in the config it comes from.
    assert names == {
        "services first: bundle",
        "services first: segment",
        "services first: tar members",
        "services web: tar members",
        "initrd",
        "tar",
    }


def changed(one: System, two: System) -> set[str]:
    """The names of nodes that only one of them has, or that have other options or inputs."""
    before, after = (
        {
            node.name: (
                node.options,
                [(name, [needed.name for needed in given]) for name, given in node.inputs.items()],
            )
            for node in graph_of(system)
        }
        for system in (one, two)
    )
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_image_that_was_not_found_is_a_node_that_fails(layout: Path) -> None:
    config = load([str(GOLDEN / "configs" / "inits.yml")])
    missing: dict[Reference, Image | ImageError] = {
        reference: ImageError("nowhere", hint="look again") for reference in references_of(config)
    }

    graph = graph_of(lower(config, Sources(missing, {})))

    absent = [node for node in graph if node.rule.name == "unpack/absent"]
    assert [node.options.label for node in absent] == [str(reference) for reference in missing]
    assert {(node.options.reason, node.options.hint) for node in absent} == {("nowhere", "look again")}


def test_mistakes_in_labels_are_told_together_at_their_containers(tmp_path: Path) -> None:
    wrong = images.image({"x": "x"}, cmd=["/x"], labels={"org.mobyproject.config": "no JSON"})
    layout = images.layout(tmp_path / "images", {"t/wrong:v1": wrong, **MADE})
    (tmp_path / "config.yml").write_text(
        "services:\n"
        "  - {name: one, image: t/wrong:v1}\n"
        "  - {name: two, image: t/web:v1}\n"
        "onboot:\n"
        "  - {name: three, image: t/wrong:v1}\n"
    )

    with pytest.raises(ConfigErrors) as raised:
        lowered(tmp_path / "config.yml", layout)

    assert [error.where.line for error in raised.value.errors if error.where] == [5, 2]


def test_references_are_given_once_with_their_first_place() -> None:
    config = load([str(GOLDEN / "configs" / "shared.yml")])

    places = references_of(config)

    assert {str(reference): place.where().line for reference, place in places.items()} == {
        "docker.io/t/init:v1": 3,
        "docker.io/t/web:v1": 6,
        "docker.io/t/cousin:v1": 14,
    }


def test_optional_file_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("files:\n  - {path: a, source: gone, optional: true}\n")

    system = lower(load([str(tmp_path / "config.yml")]), Sources({}, {}))

    assert "files" not in [part.name for part in system.parts]
