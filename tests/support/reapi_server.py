"""A server of the Remote Execution API that answers what a test tells it to, for what real servers do not do.

    with reapi_server({"Read": lambda request, context: [ReadResponse(data=b"x")]}) as server:
        ... f"grpc://{server.host}" ...

An answer is a function of the request (of an iterator of them for Write) and gRPC's context; it gives a message or
bytes, for Read and Execute an iterable of them. Unless told otherwise GetCapabilities is answered as by a cache that
takes everything; all else is unimplemented.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kitbuild.cache import reapi_messages as messages
from kitbuild.cache.connection import library
from kitbuild.cache.protobuf import Message

grpc = library()

_API = "build.bazel.remote.execution.v2"
_METHODS: dict[str, tuple[str, type[Message]]] = {
    "GetCapabilities": (f"{_API}.Capabilities", messages.GetCapabilitiesRequest),
    "FindMissingBlobs": (f"{_API}.ContentAddressableStorage", messages.FindMissingBlobsRequest),
    "BatchReadBlobs": (f"{_API}.ContentAddressableStorage", messages.BatchReadBlobsRequest),
    "BatchUpdateBlobs": (f"{_API}.ContentAddressableStorage", messages.BatchUpdateBlobsRequest),
    "GetActionResult": (f"{_API}.ActionCache", messages.GetActionResultRequest),
    "UpdateActionResult": (f"{_API}.ActionCache", messages.UpdateActionResultRequest),
    "Read": ("google.bytestream.ByteStream", messages.ReadRequest),
    "Write": ("google.bytestream.ByteStream", messages.WriteRequest),
    "Execute": (f"{_API}.Execution", messages.ExecuteRequest),
    "WaitExecution": (f"{_API}.Execution", messages.WaitExecutionRequest),
}
_STREAMS = ("Read", "Execute", "WaitExecution")

Answer = Callable[[Any, Any], Any]


def capable(
    *, functions: tuple[int, ...] = (messages.SHA256,), updates: bool = True, most: int = 0, version: int = 2
) -> messages.ServerCapabilities:
    """What a server says of itself."""
    return messages.ServerCapabilities(
        cache_capabilities=messages.CacheCapabilities(
            digest_functions=functions,
            action_cache_update_capabilities=messages.ActionCacheUpdateCapabilities(update_enabled=updates),
            max_batch_total_size_bytes=most,
        ),
        low_api_version=messages.SemVer(major=version),
        high_api_version=messages.SemVer(major=version, minor=3),
    )


class ReapiServer:
    """A running server: its `host`, and of each call so far the method and the metadata, in the order they came."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.calls: list[tuple[str, dict[str, str | bytes]]] = []

    @property
    def methods(self) -> list[str]:
        """The methods called so far."""
        return [method for method, _ in self.calls]


@contextlib.contextmanager
def reapi_server(answers: Mapping[str, Answer], credentials: Any = None) -> Iterator[ReapiServer]:
    """The server until the block ends; with gRPC's server `credentials` it speaks TLS."""
    told = {"GetCapabilities": lambda request, context: capable(), **answers}
    grpc_server = grpc.server(ThreadPoolExecutor(8))
    server = ReapiServer("")
    for method, answer in told.items():
        service, kind = _METHODS[method]
        handler = _handler(method, kind, answer, server)
        grpc_server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service, {method: handler})]
        )
    if credentials:
        port = grpc_server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = grpc_server.add_insecure_port("127.0.0.1:0")
    server.host = f"127.0.0.1:{port}"
    grpc_server.start()
    try:
        yield server
    finally:
        grpc_server.stop(None).wait()


def _handler(method: str, kind: type[Message], answer: Answer, server: ReapiServer) -> Any:
    def noted(context: Any) -> None:
        server.calls.append((method, {pair.key: pair.value for pair in context.invocation_metadata()}))

    def one(request: bytes, context: Any) -> bytes:
        noted(context)
        return _encoded(answer(kind.decode(request), context))

    def stream(request: bytes, context: Any) -> Iterator[bytes]:
        noted(context)
        return map(_encoded, answer(kind.decode(request), context))

    def sent(requests: Iterable[bytes], context: Any) -> bytes:
        noted(context)
        return _encoded(answer(map(kind.decode, requests), context))

    if method in _STREAMS:
        return grpc.unary_stream_rpc_method_handler(stream)
    return (
        grpc.stream_unary_rpc_method_handler if method == "Write" else grpc.unary_unary_rpc_method_handler
    )(sent if method == "Write" else one)


def _encoded(answer: Message | bytes) -> bytes:
    return answer if isinstance(answer, bytes) else answer.encode()
