"""The recipes of docs/ci.md: their YAML parses, their commands are commands, their steps do what the page says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from kitbuild.cli.main import parser_for
from kitbuild.cli.remote import TOKEN_VARIABLE
from kitbuild.settings import TABLE
from tests.support.command import PROGRAM, Site
from tests.support.nginx import NginxServer, nginx_with
from tests.support.registry import registry

pytestmark = pytest.mark.integration

DOCUMENT = Path(__file__).parents[2] / "docs/ci.md"
FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
HEADING = re.compile(r"^(#{2,3}) (.*)$", re.M)
EXPRESSION = re.compile(r"\$\{\{ *([\w.]+) *\}\}")
# What the systems themselves, or those who set them up, give to builds.
VARIABLES = {"NUMBER": "7", "CI_MERGE_REQUEST_IID": "7", "CHANGE_ID": "7"}


class Block(NamedTuple):
    """A fenced block; `place` is the headings it stands below, `GitHub Actions / With a registry`."""

    place: str
    language: str
    text: str


def blocks() -> list[Block]:
    """The fenced blocks of the page, in their order."""
    text = DOCUMENT.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        outer = inner = ""
        for heading in HEADING.finditer(text[: match.start()]):
            outer, inner = (heading[2], "") if heading[1] == "##" else (outer, heading[2])
        place = f"{outer} / {inner}" if inner else outer
        found.append(Block(place, match["language"], match["text"]))
    return found


BLOCKS = blocks()


def block(place: str, language: str = "yaml") -> str:
    """The one block of a language below a heading."""
    (text,) = [block.text for block in BLOCKS if (block.place, block.language) == (place, language)]
    return text


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a YAML document: what of it is a command shows when it is read."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_in(inner)


def scripts_of(block: Block) -> list[str]:
    """The texts of a block that a shell may be given."""
    if block.language == "yaml":
        return list(texts_in(yaml.safe_load(block.text)))
    if block.language == "groovy":
        shells = re.finditer(r"sh ('''|'|\")(?P<script>.*?)\1", block.text, re.S)
        return [shell["script"] for shell in shells]
    return [block.text] if block.language == "sh" else []


def commands_of(script: str) -> Iterator[list[str]]:
    """The command lines of the program in a shell script, as words."""
    for line in re.split(r"\n|&&|\|\|?|;", script.replace("\\\n", " ")):
        words = shlex.split(
            re.sub(r"\$\{?(\w+)\}?", lambda name: VARIABLES.get(name[1], name[0]), line), comments=True
        )
        if words[:1] == ["kitbuild"] and len(words) > 1:
            yield words[1:]


COMMANDS = [
    pytest.param(words, id=f"{block.place}: {' '.join(words)}")
    for block in BLOCKS
    for script in scripts_of(block)
    for words in commands_of(script)
]


def test_page_has_a_recipe_for_each_system_and_server() -> None:
    with_commands = {
        block.place for block in BLOCKS for script in scripts_of(block) for _ in commands_of(script)
    }

    expected = {
        f"{system} / {server}"
        for system, servers in (
            (
                "GitHub Actions",
                ("With an HTTP server", "With bazel-remote", "With a registry", "Without a server"),
            ),
            ("GitLab CI", ("With an HTTP server", "With the project's registry", "Without a server")),
        )
        for server in servers
    } | {"Jenkins", "Secrets", "A server of CI's own", "When a build runs what it should find"}
    assert expected == with_commands


@pytest.mark.parametrize("words", COMMANDS)
def test_command_line_is_one_that_kitbuild_takes(words: list[str]) -> None:
    parsed = parser_for(words).parse_args(words)

    namespace = getattr(parsed, "remote_cache_namespace", None)
    assert namespace in (None, "pr-7")


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=lambda block: block.place)
def test_yaml_is_a_mapping_without_keys_twice(block: Block) -> None:
    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            names = [key.value for key, _ in node.value]
            assert len(names) == len(set(names)), names
            return super().construct_mapping(node, deep)

    assert isinstance(yaml.load(block.text, Loader), dict)


def test_variables_are_variables_of_kitbuild() -> None:
    known = {setting.variable for setting in TABLE} | {TOKEN_VARIABLE}

    named = set(re.findall(r"\bKITBUILD_[A-Z_]+", DOCUMENT.read_text(encoding="utf-8")))

    assert named <= known


def test_only_what_is_trusted_is_written_with_the_key_of_main() -> None:
    for block in BLOCKS:
        if block.language != "yaml" or not block.place.startswith("GitHub"):
            continue
        for name, job in yaml.safe_load(block.text)["jobs"].items():
            secrets = set(re.findall(r"secrets\.(\w+)", json.dumps(job)))
            main = {secret for secret in secrets if secret.startswith("MAIN_")}
            assert (name == "main") == bool(main)
            assert ("environment" in job) == bool(main)
            assert name != "from-outside" or not secrets


# --- the steps, run ---


class Runner:
    """What GitHub does with a workflow, as far as these recipes need it: steps of a job, in a clone of its own"""

    def __init__(self, folder: Path, workflow: str, known: Mapping[str, str]) -> None:
        self._folder = folder
        self._workflow = yaml.safe_load(workflow)
        self._known = known

    def run(self, job: str, machine: str, *, replaced: Mapping[str, str]) -> str:
        """Runs a job on a machine where nothing was built before; gives what its commands said.

        `replaced` are the variables of the workflow's own that are other ones here.
        """
        site = Site(self._folder / machine)
        said = ""
        for step in self._workflow["jobs"][job]["steps"]:
            script = step.get("run", "")
            if "uses" in step or script.startswith("pip install"):
                continue
            environment = {
                **site.environment,
                "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}",
                **self._workflow["env"],
                **self._workflow["jobs"][job].get("env", {}),
                **{name: self._filled(value) for name, value in step.get("env", {}).items()},
                **replaced,
            }
            done = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", script],
                cwd=site.folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{script}: {done.stderr}"
            said += done.stdout + done.stderr
        outputs = site.outputs()
        assert outputs, said
        return said

    def _filled(self, value: str) -> str:
        return EXPRESSION.sub(lambda name: self._known.get(name[1], ""), value)


def key_pair(folder: Path, name: str) -> tuple[str, str]:
    """The secret key, as a secret of CI has it, and the public one."""
    done = subprocess.run(
        [str(PROGRAM), "cache", "keygen", str(folder / name)], check=True, capture_output=True, text=True
    )
    secret = (folder / name).read_text()
    return "".join(line for line in secret.splitlines() if not line.startswith("#")), done.stdout.strip()


@pytest.fixture
def known(tmp_path: Path) -> dict[str, str]:
    """What the expressions of the workflows stand for."""
    main, pull_request = key_pair(tmp_path, "main-key"), key_pair(tmp_path, "pull-request-key")
    return {
        "github.event.number": "7",
        "secrets.MAIN_CACHE_TOKEN": "token-of-main",
        "secrets.MAIN_SIGNING_KEY": main[0],
        "secrets.PULL_REQUEST_CACHE_TOKEN": "token-of-pull-requests",
        "secrets.PULL_REQUEST_SIGNING_KEY": pull_request[0],
        "vars.TRUSTED_KEYS_OF_PULL_REQUESTS": f"{main[1]} {pull_request[1]}",
        "main": main[1],
    }


def ran(said: str) -> int:
    """How many nodes ran, as the closing line has it."""
    found = re.search(r"\d+ nodes: (.*)", said)
    assert found, said
    return sum(int(number) for number in re.findall(r"(\d+) run", found[1]))


def assert_no_secret(known: Mapping[str, str], said: str) -> None:
    secrets = [value for name, value in known.items() if name.startswith("secrets.")]
    assert not [secret for secret in secrets if secret in said]


def files_of(server: NginxServer, folder: str) -> set[str]:
    """What nginx has in a folder of records or content."""
    return {path.name for path in (server.root / folder).glob("*")}


def test_steps_of_github_with_nginx_do_what_the_page_says(tmp_path: Path, known: dict[str, str]) -> None:
    workflow = block("GitHub Actions / With an HTTP server")
    with nginx_with(tmp_path / "nginx", block("The server / nginx", "nginx")) as server:
        runner = Runner(tmp_path, workflow, known)
        at_nginx = {"KITBUILD_REMOTE_CACHE": server.url}
        trusting = {**at_nginx, "KITBUILD_TRUSTED_KEYS": known["main"]}

        pull_request = runner.run("pull-request", "first", replaced=at_nginx)
        assert ran(pull_request)
        assert files_of(server, "pr-7/ac")
        assert not files_of(server, "ac")

        main = runner.run("main", "second", replaced=trusting)
        assert ran(main) == ran(pull_request)
        trusted = files_of(server, "ac")
        assert trusted

        from_outside = runner.run("from-outside", "third", replaced=trusting)
        assert ran(from_outside) == 0
        again = runner.run("pull-request", "fourth", replaced=at_nginx)
        assert ran(again) == 0
        cached = Runner(tmp_path, second_machine(), known).run("second-machine", "fifth", replaced=trusting)
        assert ran(cached) == 0

        assert trusted == files_of(server, "ac")
    for said in (pull_request, main, from_outside, again, cached):
        assert_no_secret(known, said)


def second_machine() -> str:
    """The workflow that fails if anything has to run, as a whole one."""
    return block("When a build runs what it should find") + "\nenv: {}\n"


def test_server_keeps_what_pull_requests_write_where_the_page_says(
    tmp_path: Path, known: dict[str, str]
) -> None:
    hijacked = block("GitHub Actions / With an HTTP server").replace(
        '--remote-cache-namespace "pr-$NUMBER" ', ""
    )
    with nginx_with(tmp_path / "nginx", block("The server / nginx", "nginx")) as server:
        said = Runner(tmp_path, hijacked, known).run(
            "pull-request", "first", replaced={"KITBUILD_REMOTE_CACHE": server.url}
        )

        assert "403" in said
        assert not files_of(server, "ac")
        assert not files_of(server, "cas")
    assert_no_secret(known, said)


def test_steps_of_github_with_a_registry_do_what_the_page_says(tmp_path: Path, known: dict[str, str]) -> None:
    workflow = yaml.safe_load(block("GitHub Actions / With a registry"))
    for job in workflow["jobs"].values():
        # This machine has no docker; what it would leave is in no other place than nothing is needed from.
        job["steps"] = [step for step in job["steps"] if "docker login" not in step.get("run", "")]
    with registry(tmp_path / "registry") as server:
        runner = Runner(tmp_path, json.dumps(workflow), known)
        repository = workflow["env"]["KITBUILD_REMOTE_CACHE"].partition("://")[2].partition("/")[2]
        there = {"KITBUILD_REMOTE_CACHE": f"oci://{server.host}/{repository}"}

        pull_request = runner.run("pull-request", "first", replaced=there)
        main = runner.run("main", "second", replaced={**there, "KITBUILD_TRUSTED_KEYS": known["main"]})
        again = runner.run("pull-request", "third", replaced=there)

        assert (ran(main), 0) == (ran(pull_request), ran(again))
        assert ran(main)
        kept = {
            line.split("/manifests/")[0]
            for line in server.requests()
            if "PUT" in line and "manifests" in line
        }
        assert {f"PUT /v2/{repository}", f"PUT /v2/{repository}/pr-7"} == kept
    for said in (pull_request, main, again):
        assert_no_secret(known, said)
