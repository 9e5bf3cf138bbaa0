"""Every format gives the same bytes: those of the golden digests, anywhere, in whatever state the cache is.

The digests are of tests/support/formats.py's small system with the pinned boot loaders:

    pytest tests/integration/test_formats.py --regenerate
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitbuild.cli import build
from kitbuild.cli.configs import Lowered, lowered
from kitbuild.lookup import status
from kitbuild.node import ingredients_of
from tests.contract.test_rules import RULES
from tests.support.formats import FormatSite, groups

pytestmark = pytest.mark.integration

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
ARCHITECTURES = ("amd64", "arm64")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FormatSite, dict[str, str]]:
    """A site, and the digests of its first build, with an empty cache."""
    site = FormatSite(tmp_path_factory.mktemp("formats") / "site", architecture=request.param)
    return site, site.every_output()


def test_outputs_are_those_of_the_golden_digests(
    built: tuple[FormatSite, dict[str, str]], request: pytest.FixtureRequest
) -> None:
    site, digests = built
    golden = GOLDEN / f"{site.architecture}.txt"
    text = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    if request.config.getoption("--regenerate"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)

    assert golden.read_text() == text
    assert len(digests) >= len(groups(site.architecture))


def test_other_bytes_come_with_another_key(
    built: tuple[FormatSite, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """A rule that gives other bytes for the same ingredients would be served old ones from caches.

    If this fails: raise the `version` of the rule, and regenerate.
    """
    site, _ = built
    found = results(site, monkeypatch)
    golden = GOLDEN / f"{site.architecture}-results.txt"
    if request.config.getoption("--regenerate"):
        golden.write_text("".join(f"{key} {found[key]}\n" for key in sorted(found, key=found.__getitem__)))

    known = dict(line.split(" ", 1) for line in golden.read_text().splitlines())

    assert {key: known[key] for key in found if key in known} == {
        key: found[key] for key in found if key in known
    }
    assert sorted(known) == sorted(found), "nodes are made of something else now: look at why, and regenerate"


def test_every_rule_is_among_them() -> None:
    lines = "".join((GOLDEN / f"{name}-results.txt").read_text() for name in ARCHITECTURES).splitlines()

    # What is left stands for an image that was not found, and for boot loaders, which are fetched once for all tests.
    assert {"unpack/absent", "fetch/package"} == set(RULES) - {line.split()[1] for line in lines}


def results(site: FormatSite, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The key of every node of every format, and what it led to: rule, node and artifact."""
    found: dict[str, str] = {}
    with monkeypatch.context() as patched:
        patched.chdir(site.folder)
        for name, value in site.environment.items():
            patched.setenv(name, value)
        for chosen in groups(site.architecture):
            parser = ArgumentParser()
            build.add(parser.add_subparsers())
            arguments = parser.parse_args(["build", *site.options(chosen), "linuxkit.yml"])
            found.update(_results(lowered(arguments, formats=chosen.split(","))))
    return found


def _results(made: Lowered) -> Iterator[tuple[str, str]]:
    known = status(made.graph, made.store)
    for node, result in known.items():
        assert result is not None, f"{node} has no result"
        inputs = {
            name: tuple(given.artifact for needed in nodes if (given := known[needed]))
            for name, nodes in node.inputs.items()
        }
        key = ingredients_of(node, inputs).key().hex
        yield key, f"{node.rule.name} {node.name}: {result.artifact.kind} {result.artifact.digest.hex}"


def test_nothing_is_left_to_do_for_a_second_build(built: tuple[FormatSite, dict[str, str]]) -> None:
    site, digests = built

    assert digests == site.every_output()
    assert {0} == {counts["run"] for counts in site.counts}


def test_outputs_are_the_same_without_a_cache(built: tuple[FormatSite, dict[str, str]]) -> None:
    site, digests = built

    assert digests == site.every_output("--no-cache", "--jobs", "1")


def test_outputs_are_the_same_in_other_surroundings(
    built: tuple[FormatSite, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only the outputs: every node between gives the same."""
    site, digests = built
    elsewhere = FormatSite(tmp_path / "some where else", architecture=site.architecture)
    surroundings = {
        "TZ": "Asia/Kathmandu",
        "PYTHONHASHSEED": "77",
        "LC_ALL": "C",
        "SOURCE_DATE_EPOCH": "9",
        "KITBUILD_JOBS": "5",
    }

    found = elsewhere.every_output(shell='umask 077; "$@"', environment=surroundings)

    assert digests == found
    assert results(site, monkeypatch) == results(elsewhere, monkeypatch)


def test_one_more_format_runs_what_is_its_own(
    built: tuple[FormatSite, dict[str, str]], tmp_path: Path
) -> None:
    site, _ = built
    fresh = FormatSite(tmp_path / "site", architecture=site.architecture)
    fresh.run("build", "--arch", site.architecture, "linuxkit.yml")

    report = fresh.run("build", "-v", "--arch", site.architecture, "--format", "raw-efi", "linuxkit.yml")

    assert not [
        node for node in report.ran if node.endswith((": segment", ": bundle", ": tar")) or node == "initrd"
    ]
    assert report.counts["cached"] > report.counts["run"]
