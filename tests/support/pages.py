"""Documents for pages: a small build with every state and every kind of name, and one of a thousand sections.

page(document_of(small(), version="1", lay=layers))
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

from kitbuild.content import Content, FileRow
from kitbuild.digest import Digest
from kitbuild.graph import Graph
from kitbuild.node import Ingredients, Node
from kitbuild.record import ImageOrigin, Origin, Origins, Record
from kitbuild.report.html_document import Facts, Filling, Output, Subject
from kitbuild.rule import Artifact, Input, Rule

# What a name must not do: end the script it is in, become an element, leave an attribute, turn text round.
HOSTILE = "</script><img src=x onerror=alert(1)>\"'`&amp; \u202e\u2028 \udcff 日本 ünï \x1b[31m"
LONG = "very-" * 120 + "long"


class SomeOptions(NamedTuple):
    """Options as a rule has them."""

    text: str = ""
    config: str = '{"process": {"args": ["sh"]}}'


RULE: Rule[Any] = Rule(
    name="assemble/thing",
    version=2,
    summary="put a thing together",
    options=SomeOptions,
    inputs={"inputs": Input("tree", many=True)},
    output="tree",
    run=lambda work: work.artifacts("inputs")[0],
)


def node(name: str, *needs: Node, section: str = "", text: str = "") -> Node:
    """A node of this name."""
    return Node(name, RULE, SomeOptions(text), {"inputs": needs} if needs else {}, section)


def facts(one: Node, state: str = "near", **more: Any) -> Facts:
    """What a page knows of a node in this state."""
    digest = Digest(sha256(one.name.encode("utf-8", "surrogateescape")).hexdigest(), 100)
    artifact = None if state in ("failed", "left", "run", "unknown") else Artifact("tree", digest)
    made_of = Ingredients(RULE.name, RULE.version, (("isal", "1.6"),), {"text": one.options.text}, ())
    return Facts(state, artifact, **{"size": 4096, "seconds": 0.25, "ingredients": made_of, **more})


def small() -> Subject:
    """A build that failed in part; with names that mean harm, and a log that does."""
    layer = node("layer 1", section="images")
    image = node("image kit/web:v1", layer, section="images")
    web = node("services web: bundle", image, section="services web", text="changed")
    packed = node("services web: segment", web, section="services web")
    hostile = node(f"files {HOSTILE}", section=f"files {HOSTILE}", text=HOSTILE)
    long = node(f"services {LONG}: bundle", image, section=f"services {LONG}")
    broken = node("services broken: bundle", image, section="services broken")
    initrd = node("initrd", packed, hostile, long)
    disk = node("disk", broken)
    graph = Graph.of({"-initrd.img": initrd, ".iso": disk})
    told: dict[Node, Facts] = {
        layer: facts(layer, "far"),
        image: facts(image, "near"),
        web: facts(web, "ran", began=0.1, why=("services web, web.yml:7: `command` was changed",)),
        packed: facts(packed, "sent", began=0.4, seconds=0.5),
        hostile: facts(hostile, "ran", began=0.1, why=(HOSTILE,), log=(HOSTILE, "a second line")),
        long: facts(long, "near"),
        broken: facts(broken, "failed", began=0.2, seconds=0.3, log=("expected a fish, got <b>fowl</b>",)),
        initrd: facts(initrd, "ran", began=0.95, seconds=0.05),
        disk: facts(disk, "left"),
    }
    by_name = {one.name: told[one] for one in graph}
    origins = Origins(
        ("web.yml", f"{HOSTILE}.yml"),
        {"services web": Origin("web.yml", 7, 3), "image kit/web:v1": Origin("web.yml", 8, 5)},
        {
            "kit/web:v1": ImageOrigin("ab" * 32, "", "layout:/images"),
            HOSTILE: ImageOrigin("", "", "", "no such image"),
        },
        {"--arch": "amd64", "--name": HOSTILE},
    )
    return Subject(
        "build",
        f"web.yml {HOSTILE}",
        graph,
        by_name,
        list(dict.fromkeys(one.section for one in graph)),
        origins,
        Record("0.1.0", "state", 1_700_000_000.0, 1.1, {}, {}, origins, "20261123-141000-ab12"),
        [
            Output("-initrd.img", "out/web-initrd.img", initrd, 1_048_576, "cd" * 32),
            Output(".iso", f"out/{HOSTILE}.iso", disk),
        ],
        [f"an image says: {HOSTILE}"],
        Filling(content(), 4, ("services broken",)),
    )


def content() -> Content:
    """Files of two sections, in packages and in none."""
    rows = [
        FileRow("services web", "nginx", "usr/sbin/nginx", 1_200_000),
        FileRow("services web", "libc6", "usr/lib/x86_64-linux-gnu/libc.so.6", 2_000_000),
        FileRow("services web", "", "srv/www/index.html", 700),
        FileRow("services web", "libc6", "usr/share/doc", 9_000, 12),
        FileRow(f"files {HOSTILE}", "", f"etc/{HOSTILE}", 400_000),
        FileRow(f"files {HOSTILE}", "", f"etc/{LONG}", 300_000),
    ]
    rows.sort(key=lambda row: -row.size)
    return Content(tuple(rows), 17, sum(row.size for row in rows))


def large(sections: int = 1000, *, files: int = 20_000) -> Subject:
    """A build of so many services, each with an image over a layer they share: five nodes a section."""
    shared = [node("layer shared: tar", section="images")]
    shared.append(node("layer shared", shared[0], section="images"))
    segments = [segment for number in range(sections) for segment in _service(number, shared[1])]
    initrd = node("initrd", *segments)
    graph = Graph.of({"-initrd.img": initrd})
    told = {one.name: _told(number, one) for number, one in enumerate(graph)}
    places = {f"services s{number}": Origin("large.yml", 4 + 3 * number, 5) for number in range(sections)}
    origins = Origins(("large.yml",), places, {}, {"--arch": "amd64"})
    return Subject(
        "build",
        "large.yml",
        graph,
        told,
        list(dict.fromkeys(one.section for one in graph)),
        origins,
        Record("0.1.0", "state", 1_700_000_000.0, 60.0, {}, {}, origins, "20261123-141000-ab12"),
        [Output("-initrd.img", "large-initrd.img", initrd, 1 << 30, "cd" * 32)],
        (),
        Filling(_files(sections, files), sections),
    )


def _service(number: int, shared: Node) -> Iterator[Node]:
    tar = node(f"layer {number}: tar", section="images")
    layer = node(f"layer {number}", tar, section="images")
    image = node(f"image kit/s{number}:v1", shared, layer, section="images")
    section = f"services s{number}"
    config = f'{{"process": {{"args": ["run", "{number}"], "env": "{"x" * 1500}"}}}}'
    bundle = node(f"{section}: bundle", image, section=section, text=config)
    yield node(f"{section}: segment", bundle, section=section)


def _told(number: int, one: Node) -> Facts:
    # Two of three nodes were cached; those that ran did so on four lanes.
    if number % 3:
        return facts(one, "near" if number % 2 else "far", seconds=0.02)
    return facts(
        one, "ran", seconds=0.03, began=round(number // 3 // 4 * 0.031, 4), why=("never built before",)
    )


def _files(sections: int, files: int) -> Content:
    rows = [
        FileRow(
            f"services s{number % sections}",
            f"package-{number % 97}",
            f"containers/services/s{number % sections}/lower/usr/lib/folder-{number % 13}/file-{number}.so",
            1 + (files - number) * 37,
        )
        for number in range(files)
    ]
    return Content(tuple(rows), files, sum(row.size for row in rows))
