from __future__ import annotations

import json

import pytest

from kitbuild.cache.execution_request import decode_request, request_of
from kitbuild.digest import Digest
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.support.nodes import TextOptions, node

RESULT = Result(
    Artifact("blob", Digest.of(b"a")), (Digest.of(b"b"), Digest.of(b"c")), 1.5, (Digest.of(b"d"),)
)


def test_request_comes_back_from_its_json() -> None:
    request = request_of(node("words", text="a"), {"inputs": (RESULT,)}, is_shipped=True)

    found = decode_request(request.encode())

    kept = Result(RESULT.artifact, RESULT.blobs)
    assert request._replace(inputs={"inputs": (kept,)}) == found
    assert found.options == TextOptions("a")._asdict()


def test_how_long_an_input_took_does_not_change_the_request() -> None:
    requests = {
        request_of(node("words"), {"inputs": (RESULT._replace(seconds=seconds),)}, is_shipped=True).encode()
        for seconds in (0.1, 99.0)
    }

    assert len(requests) == 1


def test_installed_kitbuild_may_run_on_any_python() -> None:
    assert request_of(node("words"), {}, is_shipped=False).suffix == ""
    assert request_of(node("words"), {}, is_shipped=True).suffix.endswith(".so")


def changed(**changes: object) -> bytes:
    document = json.loads(request_of(node("words"), {"inputs": (RESULT,)}, is_shipped=True).encode())
    return json.dumps({**document, **changes}).encode()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"{}", id="no format"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(changed(format=0), id="another format"),
        pytest.param(changed(more=0), id="field too many"),
        pytest.param(changed(inputs={"inputs": ["1 blob"]}), id="no result"),
        pytest.param(changed(inputs={"inputs": ["é"]}), id="no ASCII"),
        pytest.param(changed(inputs=[]), id="no inputs"),
    ],
)
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        decode_request(content)
