"""Our messages against those that BuildGrid was made with."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from kitbuild.cache import reapi_messages
from kitbuild.cache.protobuf import Message
from tests.support.buildgrid import VERSION
from tests.support.cache_servers import bundle

pytestmark = pytest.mark.integration

# Prints {message: {field: [number, type, whether it is repeated, the message in it]}}.
_DESCRIBE = """
import json
from importlib import import_module
from google.protobuf import any_pb2, duration_pb2, empty_pb2, timestamp_pb2

described = {}
modules = [any_pb2, duration_pb2, empty_pb2, timestamp_pb2]
for name in ("build.bazel.remote.execution.v2.remote_execution", "build.bazel.semver.semver",
             "google.bytestream.bytestream", "google.longrunning.operations", "google.rpc.error_details",
             "google.rpc.status"):
    modules.append(import_module(f"buildgrid._protos.{name}_pb2"))

def describe(message, name):
    described[name] = {
        field.name: [field.number, field.type, field.is_repeated, field.message_type and field.message_type.name]
        for field in message.fields
    }
    for inner in message.nested_types:
        describe(inner, f"{name}.{inner.name}")

for module in modules:
    for name, message in module.DESCRIPTOR.message_types_by_name.items():
        describe(message, name)
print(json.dumps(described))
"""

# What is named otherwise here, for it lies in another message or would be taken for something else.
_NAMES = {
    "BlobDigest": "Digest",
    "BlobUpdate": "BatchUpdateBlobsRequest.Request",
    "BlobUpdated": "BatchUpdateBlobsResponse.Response",
    "BlobRead": "BatchReadBlobsResponse.Response",
    "Property": "Platform.Property",
    "EnvironmentVariable": "Command.EnvironmentVariable",
    "Violation": "PreconditionFailure.Violation",
}
# The numbers of types in descriptor.proto: int64, int32 and enum; bool; string; bytes; message.
_TYPES = {"integer": {3, 5, 14}, "boolean": {8}, "text": {9}, "content": {12}, "message": {11}}

OURS = {
    name: kind
    for name, kind in vars(reapi_messages).items()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
}


@pytest.fixture(scope="module")
def theirs() -> dict[str, dict[str, Any]]:
    python = bundle(f"buildgrid-{VERSION}") / "bin/python"
    done = subprocess.run([python, "-c", _DESCRIBE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", OURS)
def test_fields_are_those_of_the_official_message(name: str, theirs: dict[str, dict[str, Any]]) -> None:
    official = theirs[_NAMES.get(name, name)]

    for field_name, field in OURS[name]._fields.items():
        number, type_, is_repeated, inner = official[field_name]
        assert (field_name, number, is_repeated) == (field_name, field.number, field.many)
        assert type_ in _TYPES[field.kind]
        if field.message:
            assert inner == _NAMES.get(field.message.__name__, field.message.__name__).rpartition(".")[2]
