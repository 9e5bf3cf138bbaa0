"""Wrong configs, each with one mistake: the whole text of the answer is golden, and nothing is written.

Every file of tests/golden/bad is a table of cases:

    ## what is wrong
    the config
    --- over.yml
    another one to merge into it, if there is one
    >>>
    what kitbuild says

Files for bytes and for what takes long have no configs: those are made here. To add a case, write its config with
`>>>` behind it, and let REGENERATE fill in the rest.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

from kitbuild.cli.main import main
from tests.support import images
from tests.support.command import Site
from tests.support.images import Content, Made, directory

pytestmark = pytest.mark.integration

GOLDEN = Path(__file__).parents[1] / "golden" / "bad"
REGENERATE = "python -m pytest tests/integration/test_bad_input.py --regenerate"
CONFIG, OVER = "bad.yml", "over.yml"
# What is found only in an image or on disk has to look there, and leaves notes of that in the cache.
LOOKED_UP = ("images", "kernels", "labels", "sources", "unavailable")
# What may be no mistake of the config but of the image: only a look into it shows that.
OF_THE_IMAGE = ("kernels", "unavailable")
MOST_SECONDS = 1.0

LABELS = {
    "no-json": "as you like: it",
    "list": '["/bin/web"]',
    "cut": '{"command": ["/bin/web"',
    "unknown": '{"comand": ["/bin/web"]}',
    "type": '{"command": 1}',
    "nested": '{"resources": {"memory": {"limt": 1}}}',
    "capability": '{"capabilities": ["CAP_NET_ADMN"]}',
    "limit": '{"rlimits": ["nofile"]}',
    "bind": '{"binds": ["/etc"]}',
    "mount": '{"mounts": [{"destination": "/data"}]}',
    "device": '{"devices": [{"path": "/dev/null", "type": "c"}]}',
    "user": '{"uid": "wbe"}',
    "twice": '{"net": "host", "net": "new"}',
    "tmpfs": '{"tmpfs": ["/tmp:a:b"]}',
    "image": '{"name": "web"}',
}
BYTES = {
    "nothing": b"",
    "spaces alone": b"  \n \n",
    "a byte that is no UTF-8": b"kernel:\n  cmdline: caf\xe9\n",
    "UTF-8 that is cut off": b"init: [t/init:v1]\n# \xe2\x82",
    "a surrogate": b"kernel:\n  cmdline: \xed\xa0\x80\n",
    "UTF-16 that is cut off": "init: [1]\n".encode("utf-16")[:-1],
    "UTF-16 without a mark": "init: [1]\n".encode("utf-16-le"),
    "UTF-32": "init: [1]\n".encode("utf-32"),
    "a NUL": b"kernel:\n  cmdline: quiet\0\n",
    "an escape character": b"kernel:\n  cmdline: \x1b[31mred\n",
    "a compressed file": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "an ELF file": b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00",
    "a mistake behind a byte order mark": b"\xef\xbb\xbfkernl: {}\n",
    "a mistake in UTF-16": "\ufeffkernl: {}\n".encode("utf-16-le"),
    "a mistake behind lines that end as in Windows": b"kernel:\r\n  image: t/kernel:v1\r\n  cmdlin: quiet\r\n",
    "a mistake behind lines that end as in old Macs": b"kernel:\r  image: t/kernel:v1\r  cmdlin: quiet\r",
    "a mistake behind wide letters": "kernel: {cmdline: 漢字, cmdlin: é}\n".encode(),
    "a mistake in a long line": b"kernel: {cmdline: '" + b"x" * 300 + b"', cmdlin: quiet}\n",
    "a mistake in the last line without an end": b"init: []\nkernl: {}",
    "a tab and a mistake": b"kernel:\n  image:\tt/kernel:v1\n  cmdlin:\tquiet\n",
    "a name of a thousand letters": b"k" * 1000 + b": {}\n",
    "a key too long for YAML": b"k" * 1025 + b": {}\n",
    "a number of five thousand digits": b"init: [" + b"9" * 5000 + b"]\n",
}


def _laughs(levels: int) -> bytes:
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n"]
    for level in range(1, levels):
        lines.append(b"a%d: &a%d [%s]\n" % (level, level, b", ".join([b"*a%d" % (level - 1)] * 9)))
    return b"".join(lines)


def _merges(levels: int) -> bytes:
    lines = [b"a0: &a0 {x: 1}\n"]
    for level in range(1, levels):
        lines.append(b"a%d: &a%d {<<: [%s]}\n" % (level, level, b", ".join([b"*a%d" % (level - 1)] * 9)))
    return b"".join(lines)


MIB = 1 << 20
NEARLY = 39 * MIB // 10  # as much as is read at all
# What makes the content; all would take a careless reader minutes, gigabytes or its stack.
HEAVY: Mapping[str, Callable[[], bytes]] = {
    "100 MB of entries": lambda: b"init:\n" + b"  - t/init:v1\n" * (100 * MIB // 14),
    "100 MB in one word": lambda: b"a" * (100 * MIB),
    "100 MB of NUL": lambda: bytes(100 * MIB),
    "4 MB of entries": lambda: b"init:\n" + b"- a\n" * (NEARLY // 4),
    "4 MB of brackets": lambda: b"[" * (NEARLY),
    "4 MB of one word": lambda: b"a" * (NEARLY),
    "4 MB of comments": lambda: b"# nothing\n" * (NEARLY // 10),
    "4 MB of blanks": lambda: b" " * (NEARLY),
    "4 MB of commas": lambda: b"init: [" + b"a," * (NEARLY // 2),
    "4 MB in an open quote": lambda: b'init: "' + b"a\n" * (NEARLY // 2),
    "a hundred thousand brackets": lambda: b"[" * 100_000,
    "a hundred thousand braces": lambda: b"{a: " * 100_000,
    "a hundred thousand dashes": lambda: b"- " * 100_000,
    "two thousand levels of indentation": lambda: b"".join(b" " * n + b"a:\n" for n in range(2_000)),
    "a billion laughs": lambda: _laughs(10),
    "a billion merges": lambda: _merges(10),
    "a list that holds itself": lambda: b"init: &a [*a, *a]\n",
    "two lists that hold each other": lambda: b"services: &a\n  - &b [*a, *b]\n",
    "a merge of itself": lambda: b"kernel: &a\n  <<: *a\n",
    "forty thousand unknown keys": lambda: b"".join(b"kernel%d: {}\n" % n for n in range(40_000)),
    "forty thousand equal keys": lambda: b"kernel: {}\n" * 40_000,
    "seventy thousand wrong entries": lambda: b"init: [" + b"1, " * 70_000 + b"]\n",
    "seventy thousand wrong names": lambda: b"init: [" + b"A:-, " * 70_000 + b"]\n",
    "ten thousand equal services": lambda: b"services:\n" + b"- {name: a, image: b}\n" * 10_000,
    "ten thousand wrong binds": lambda: (
        b"services: [{name: a, image: b, binds: [" + b"c, " * 10_000 + b"]}]\n"
    ),
    "seventy thousand anchors": lambda: b"init:\n" + b"".join(b"- &a%d b:-\n" % n for n in range(70_000)),
    "a million digits": lambda: b"init: [" + b"9" * 1_000_000 + b"]\n",
    "a key of a million letters": lambda: b'? "' + b"a" * 1_000_000 + b'"\n: 1\n',
    "a wrong value of a million letters": lambda: b"volumes: [{name: " + b"A" * 1_000_000 + b"}]\n",
}


class Case(NamedTuple):
    """One mistake: what it is, its configs as the golden file has them, and the answer written down there."""

    group: str
    title: str
    text: str
    answer: str

    @property
    def configs(self) -> dict[str, bytes]:
        """The content of the configs by their names, in the order in which they are merged."""
        texts = self.text.split(f"\n--- {OVER}\n")
        return {name: f"{text}\n".encode() for name, text in zip((CONFIG, OVER), texts, strict=False)}


def table(group: str) -> list[Case]:
    """The cases of one golden file, in their order."""
    path = GOLDEN / f"{group}.txt"
    cases = []
    for block in f"\n{path.read_text()}".split("\n## ")[1:] if path.exists() else ():
        head, _, answer = block.partition("\n>>>\n")
        title, _, text = head.partition("\n")
        cases.append(Case(group, title, text, answer.strip("\n")))
    return cases


def made(group: str, contents: Mapping[str, object]) -> list[Case]:
    """The cases of a golden file without configs, whether they are in it yet or not."""
    known = {case.title: case for case in table(group)}
    return [known.get(title, Case(group, title, "", "")) for title in contents]


GROUPS = sorted(path.stem for path in GOLDEN.glob("*.txt") if path.stem not in ("bytes", "heavy"))
CASES = [case for group in GROUPS for case in table(group)]


def record(case: Case, answer: str) -> None:
    """Writes an answer into the golden file."""
    cases = table(case.group)
    if case.title not in [known.title for known in cases]:
        cases.append(case)
    order = {"bytes": list(BYTES), "heavy": list(HEAVY)}.get(case.group)
    if order:
        cases = sorted(
            (known for known in cases if known.title in order), key=lambda known: order.index(known.title)
        )
    blocks = []
    for known in cases:
        text = f"## {known.title}\n{known.text}\n" if known.text else f"## {known.title}\n"
        blocks.append(f"{text}>>>\n{answer if known.title == case.title else known.answer}\n")
    (GOLDEN / f"{case.group}.txt").write_text("\n".join(blocks))


def ids(cases: list[Case]) -> list[str]:
    return [f"{case.group}: {case.title}" for case in cases]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with something wrong in them."""
    named: dict[str, Made] = {
        f"t/label-{name}:v1": images.image({}, labels={"org.mobyproject.config": label})
        for name, label in LABELS.items()
    }
    kernel: dict[str, Content] = {
        "kernel": b"k",
        "modules.tar": images.layer_tar({}),
        "readme.txt": b"x" * 1024,
    }
    named["t/kernel:v1"] = images.image({**kernel, "lib/": directory()})
    named["t/bare:v1"] = images.image({})
    named["t/arm:v1"] = images.index(images.image({}, architecture="arm64"))
    return images.layout(tmp_path_factory.mktemp("bad"), named)


class Answer(NamedTuple):
    """How a build ended: its status, what it said, how long it took, and the files it left, by their folder."""

    status: int
    text: str
    seconds: float
    files: list[str]
    cache: list[str]


Build = Callable[[Mapping[str, bytes]], Answer]


@pytest.fixture
def build(
    layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Build:
    """Builds configs in a folder of their own, in this very process."""
    for name in [name for name in os.environ if name.startswith(("KITBUILD_", "LINUXKIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KITBUILD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("KITBUILD_IMAGES", str(layout))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(configs: Mapping[str, bytes]) -> Answer:
        for name, content in configs.items():
            Path(name).write_bytes(content)
        start = time.perf_counter()
        status = main(["build", "--quiet", "--offline", "--arch", "amd64", *configs])
        seconds = time.perf_counter() - start
        said = capsys.readouterr()
        assert said.out == ""
        found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
        cache = [path for path in found if path.startswith("cache/")]
        left = [path for path in found if path.startswith("work/")]
        assert sorted([*cache, *left]) == found
        text = said.err.replace(str(tmp_path), "FOLDER").rstrip("\n")
        return Answer(status, text, seconds, left, cache)

    return run


def check(case: Case, answer: Answer, request: pytest.FixtureRequest) -> None:
    """One mistake, told as it is written down, and no file but the configs."""
    if request.config.getoption("--regenerate"):
        record(case, answer.text)
        case = case._replace(answer=answer.text)
    assert [f"work/{name}" for name in sorted(case.configs)] == answer.files
    assert case.answer == answer.text, f"another answer; if that is meant: {REGENERATE}"


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_mistake_is_told_with_its_place_and_a_hint(
    case: Case, build: Build, request: pytest.FixtureRequest
) -> None:
    answer = build(case.configs)

    check(case, answer, request)
    assert answer.status == (1 if case.group in OF_THE_IMAGE else 2)
    if case.group not in OF_THE_IMAGE:
        assert answer.text.endswith("\n1 mistake")
    if case.group != "kernels":
        assert re.match(r"error: (bad|over)\.yml:\d+:\d+: [a-z`@]", answer.text)
    assert answer.text.count("error: ") == 1
    assert answer.text.count("\nhint: ") == 1
    assert not [path for path in answer.cache if "/blobs/" in path] or case.group == "kernels"
    assert answer.cache == [] or case.group in LOOKED_UP


@pytest.mark.parametrize("title", BYTES)
def test_bytes_that_are_no_config_are_told_with_their_place_and_a_hint(
    title: str, build: Build, request: pytest.FixtureRequest
) -> None:
    [case] = [case for case in made("bytes", BYTES) if case.title == title]

    answer = build({CONFIG: BYTES[title]})

    check(case, answer, request)
    assert answer.status == 2
    assert answer.text.endswith("\n1 mistake")
    assert re.match(r"error: bad\.yml:\d+:\d+: [a-z`@]", answer.text)
    assert answer.text.count("\nhint: ") == 1
    assert answer.cache == []


@pytest.mark.parametrize("title", HEAVY)
def test_config_that_is_too_much_is_refused_within_a_second(
    title: str, build: Build, request: pytest.FixtureRequest
) -> None:
    [case] = [case for case in made("heavy", HEAVY) if case.title == title]
    content = HEAVY[title]()

    answer = build({CONFIG: content})

    check(case, answer, request)
    assert answer.status == 2
    assert answer.cache == []
    # On a busy machine the first may have waited for others.
    assert any(seconds < MOST_SECONDS for seconds in chain([answer.seconds], again(build, content)))


def again(build: Build, content: bytes) -> Iterator[float]:
    """The seconds that more runs take, each when it is asked for."""
    for _ in range(2):
        yield build({CONFIG: content}).seconds


def test_there_are_at_least_120_cases_and_no_two_alike() -> None:
    titles = ids(CASES) + [f"bytes: {title}" for title in BYTES] + [f"heavy: {title}" for title in HEAVY]

    assert len(titles) >= 120
    assert sorted(set(titles)) == sorted(titles)


@pytest.mark.parametrize(("group", "contents"), [("bytes", BYTES), ("heavy", HEAVY)], ids=["bytes", "heavy"])
def test_every_answer_has_a_case(group: str, contents: Mapping[str, object]) -> None:
    assert sorted(contents) == sorted(case.title for case in table(group))


@pytest.mark.parametrize("title", ["a misspelt section", "text at the top", "a number as a section"])
def test_program_says_the_same(title: str, tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    [case] = [case for case in table("sections") if case.title == title]
    site.write(CONFIG, case.configs[CONFIG])

    finished = site.run("build", CONFIG, status=2)

    assert case.answer == finished.stderr.rstrip("\n")
    assert site.outputs() == {}
    assert not (site.folder / "cache").exists()


@pytest.mark.parametrize("title", ["100 MB in one word", "a hundred thousand brackets", "a billion laughs"])
def test_program_refuses_too_much_from_stdin_too(title: str, tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    [case] = [case for case in table("heavy") if case.title == title]

    # Once the limit is read nobody reads on: the writer has to live with that.
    finished = site.run("build", "-", status=2, stdin=HEAVY[title]())

    assert case.answer.replace(CONFIG, "<stdin>") == finished.stderr.rstrip("\n")
    assert not (site.folder / "cache").exists()
