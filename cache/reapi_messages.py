"""The messages of the Remote Execution API (build.bazel.remote.execution.v2), as far as they are spoken here.

With them what it takes over from google.longrunning, google.bytestream, google.rpc and google.protobuf. Every message
holds only the fields that are read or written; what else a peer sends is skipped. Requests are made without a digest
function: sha256 is told from the length of a hash, as before version 2.3.

Source: remote_execution.proto of the Remote APIs working group, version 2.12; its names are kept.
"""

from __future__ import annotations

from kitbuild.cache.protobuf import (
    Message,
    boolean,
    content,
    integer,
    integers,
    message,
    messages,
    text,
    texts,
)

SHA256 = 1  # DigestFunction.Value

# ExecutionStage.Value
STAGE_CACHE_CHECK, STAGE_QUEUED, STAGE_EXECUTING, STAGE_COMPLETED = 1, 2, 3, 4


class Any(Message):
    """google.protobuf.Any: an encoded message and the URL that names its type."""

    type_url: str = text(1)
    value: bytes = content(2)


class Duration(Message):
    """google.protobuf.Duration."""

    seconds: int = integer(1)
    nanos: int = integer(2)


class Timestamp(Message):
    """google.protobuf.Timestamp: seconds since 1970."""

    seconds: int = integer(1)
    nanos: int = integer(2)


class Status(Message):
    """google.rpc.Status; `code` 0 is good."""

    code: int = integer(1)
    message: str = text(2)
    details: tuple[Any, ...] = messages(3, Any)


class Violation(Message):
    """google.rpc.PreconditionFailure.Violation: type MISSING, subject `blobs/<hash>/<size>`."""

    type: str = text(1)
    subject: str = text(2)
    description: str = text(3)


class PreconditionFailure(Message):
    """google.rpc.PreconditionFailure: says in the details of a status which blobs are missing."""

    violations: tuple[Violation, ...] = messages(1, Violation)


class BlobDigest(Message):
    """Digest, named so that it is not taken for kitbuild.digest.Digest."""

    hash: str = text(1)
    size_bytes: int = integer(2)


# Inputs.


class NodeProperty(Message):
    """NodeProperty."""

    name: str = text(1)
    value: str = text(2)


class NodeProperties(Message):
    """NodeProperties; `mtime` alone of what else it may hold."""

    properties: tuple[NodeProperty, ...] = messages(1, NodeProperty)
    mtime: Timestamp | None = message(2, Timestamp)


class FileNode(Message):
    """FileNode."""

    name: str = text(1)
    digest: BlobDigest | None = message(2, BlobDigest)
    is_executable: bool = boolean(4)
    node_properties: NodeProperties | None = message(6, NodeProperties)


class DirectoryNode(Message):
    """DirectoryNode."""

    name: str = text(1)
    digest: BlobDigest | None = message(2, BlobDigest)


class SymlinkNode(Message):
    """SymlinkNode."""

    name: str = text(1)
    target: str = text(2)


class Directory(Message):
    """Directory; each of its three lists is sorted by name."""

    files: tuple[FileNode, ...] = messages(1, FileNode)
    directories: tuple[DirectoryNode, ...] = messages(2, DirectoryNode)
    symlinks: tuple[SymlinkNode, ...] = messages(3, SymlinkNode)


class Tree(Message):
    """Tree: an output directory with all that is below it."""

    root: Directory | None = message(1, Directory)
    children: tuple[Directory, ...] = messages(2, Directory)


class Property(Message):
    """Platform.Property."""

    name: str = text(1)
    value: str = text(2)


class Platform(Message):
    """Platform; sorted by name, then value."""

    properties: tuple[Property, ...] = messages(1, Property)


class EnvironmentVariable(Message):
    """Command.EnvironmentVariable."""

    name: str = text(1)
    value: str = text(2)


class Command(Message):
    """Command; variables and outputs are sorted. `output_files` and `output_directories` are of API 2.0."""

    arguments: tuple[str, ...] = texts(1)
    environment_variables: tuple[EnvironmentVariable, ...] = messages(2, EnvironmentVariable)
    output_files: tuple[str, ...] = texts(3)
    output_directories: tuple[str, ...] = texts(4)
    platform: Platform | None = message(5, Platform)
    working_directory: str = text(6)
    output_paths: tuple[str, ...] = texts(7)
    output_node_properties: tuple[str, ...] = texts(8)
    output_directory_format: int = integer(9)


class Action(Message):
    """Action; its encoding's digest names its result."""

    command_digest: BlobDigest | None = message(1, BlobDigest)
    input_root_digest: BlobDigest | None = message(2, BlobDigest)
    timeout: Duration | None = message(6, Duration)
    do_not_cache: bool = boolean(7)
    salt: bytes = content(9)
    platform: Platform | None = message(10, Platform)


# Results.


class OutputFile(Message):
    """OutputFile."""

    path: str = text(1)
    digest: BlobDigest | None = message(2, BlobDigest)
    is_executable: bool = boolean(4)
    contents: bytes = content(5)
    node_properties: NodeProperties | None = message(7, NodeProperties)


class OutputDirectory(Message):
    """OutputDirectory; `tree_digest` names a Tree."""

    path: str = text(1)
    tree_digest: BlobDigest | None = message(3, BlobDigest)
    is_topologically_sorted: bool = boolean(4)
    root_directory_digest: BlobDigest | None = message(5, BlobDigest)


class OutputSymlink(Message):
    """OutputSymlink."""

    path: str = text(1)
    target: str = text(2)


class ExecutedActionMetadata(Message):
    """ExecutedActionMetadata: where an action ran, and when."""

    worker: str = text(1)
    queued_timestamp: Timestamp | None = message(2, Timestamp)
    worker_start_timestamp: Timestamp | None = message(3, Timestamp)
    worker_completed_timestamp: Timestamp | None = message(4, Timestamp)
    input_fetch_start_timestamp: Timestamp | None = message(5, Timestamp)
    input_fetch_completed_timestamp: Timestamp | None = message(6, Timestamp)
    execution_start_timestamp: Timestamp | None = message(7, Timestamp)
    execution_completed_timestamp: Timestamp | None = message(8, Timestamp)
    output_upload_start_timestamp: Timestamp | None = message(9, Timestamp)
    output_upload_completed_timestamp: Timestamp | None = message(10, Timestamp)


class ActionResult(Message):
    """ActionResult; what stdout and stderr were stands in it, or is a blob."""

    output_files: tuple[OutputFile, ...] = messages(2, OutputFile)
    output_directories: tuple[OutputDirectory, ...] = messages(3, OutputDirectory)
    exit_code: int = integer(4)
    stdout_raw: bytes = content(5)
    stdout_digest: BlobDigest | None = message(6, BlobDigest)
    stderr_raw: bytes = content(7)
    stderr_digest: BlobDigest | None = message(8, BlobDigest)
    execution_metadata: ExecutedActionMetadata | None = message(9, ExecutedActionMetadata)
    output_file_symlinks: tuple[OutputSymlink, ...] = messages(10, OutputSymlink)
    output_directory_symlinks: tuple[OutputSymlink, ...] = messages(11, OutputSymlink)
    output_symlinks: tuple[OutputSymlink, ...] = messages(12, OutputSymlink)


# Execution.


class ExecutionPolicy(Message):
    """ExecutionPolicy; the smaller the priority, the sooner."""

    priority: int = integer(1)


class ResultsCachePolicy(Message):
    """ResultsCachePolicy."""

    priority: int = integer(1)


class ExecuteRequest(Message):
    """Request of Execution.Execute, answered by a stream of Operation."""

    instance_name: str = text(1)
    skip_cache_lookup: bool = boolean(3)
    action_digest: BlobDigest | None = message(6, BlobDigest)
    execution_policy: ExecutionPolicy | None = message(7, ExecutionPolicy)
    results_cache_policy: ResultsCachePolicy | None = message(8, ResultsCachePolicy)


class WaitExecutionRequest(Message):
    """Request of Execution.WaitExecution, answered by a stream of Operation; `name` is the operation's."""

    name: str = text(1)


class ExecuteResponse(Message):
    """What a completed operation's `response` holds."""

    result: ActionResult | None = message(1, ActionResult)
    cached_result: bool = boolean(2)
    status: Status | None = message(3, Status)
    message: str = text(5)


class ExecuteOperationMetadata(Message):
    """What an operation's `metadata` holds."""

    stage: int = integer(1)
    action_digest: BlobDigest | None = message(2, BlobDigest)
    partial_execution_metadata: ExecutedActionMetadata | None = message(5, ExecutedActionMetadata)


class Operation(Message):
    """google.longrunning.Operation; once `done`, either `error` or `response` is there."""

    name: str = text(1)
    metadata: Any | None = message(2, Any)
    done: bool = boolean(3)
    error: Status | None = message(4, Status)
    response: Any | None = message(5, Any)


class CancelOperationRequest(Message):
    """Request of google.longrunning.Operations.CancelOperation, answered by Empty."""

    name: str = text(1)


class Empty(Message):
    """google.protobuf.Empty."""


# Action cache.


class GetActionResultRequest(Message):
    """Request of ActionCache.GetActionResult, answered by ActionResult."""

    instance_name: str = text(1)
    action_digest: BlobDigest | None = message(2, BlobDigest)
    inline_stdout: bool = boolean(3)
    inline_stderr: bool = boolean(4)
    inline_output_files: tuple[str, ...] = texts(5)


class UpdateActionResultRequest(Message):
    """Request of ActionCache.UpdateActionResult, answered by ActionResult."""

    instance_name: str = text(1)
    action_digest: BlobDigest | None = message(2, BlobDigest)
    action_result: ActionResult | None = message(3, ActionResult)


# Content.


class FindMissingBlobsRequest(Message):
    """Request of ContentAddressableStorage.FindMissingBlobs."""

    instance_name: str = text(1)
    blob_digests: tuple[BlobDigest, ...] = messages(2, BlobDigest)


class FindMissingBlobsResponse(Message):
    """Those of the digests that are not there."""

    missing_blob_digests: tuple[BlobDigest, ...] = messages(2, BlobDigest)


class BlobUpdate(Message):
    """BatchUpdateBlobsRequest.Request."""

    digest: BlobDigest | None = message(1, BlobDigest)
    data: bytes = content(2)


class BatchUpdateBlobsRequest(Message):
    """Request of ContentAddressableStorage.BatchUpdateBlobs."""

    instance_name: str = text(1)
    requests: tuple[BlobUpdate, ...] = messages(2, BlobUpdate)


class BlobUpdated(Message):
    """BatchUpdateBlobsResponse.Response."""

    digest: BlobDigest | None = message(1, BlobDigest)
    status: Status | None = message(2, Status)


class BatchUpdateBlobsResponse(Message):
    """What became of each blob."""

    responses: tuple[BlobUpdated, ...] = messages(1, BlobUpdated)


class BatchReadBlobsRequest(Message):
    """Request of ContentAddressableStorage.BatchReadBlobs."""

    instance_name: str = text(1)
    digests: tuple[BlobDigest, ...] = messages(2, BlobDigest)


class BlobRead(Message):
    """BatchReadBlobsResponse.Response."""

    digest: BlobDigest | None = message(1, BlobDigest)
    data: bytes = content(2)
    status: Status | None = message(3, Status)
    compressor: int = integer(4)


class BatchReadBlobsResponse(Message):
    """What is known of each blob."""

    responses: tuple[BlobRead, ...] = messages(1, BlobRead)


class ReadRequest(Message):
    """Request of google.bytestream.ByteStream.Read, answered by a stream of ReadResponse."""

    resource_name: str = text(1)
    read_offset: int = integer(2)
    read_limit: int = integer(3)


class ReadResponse(Message):
    """One piece."""

    data: bytes = content(10)


class WriteRequest(Message):
    """One piece for google.bytestream.ByteStream.Write; only the first needs the name."""

    resource_name: str = text(1)
    write_offset: int = integer(2)
    finish_write: bool = boolean(3)
    data: bytes = content(10)


class WriteResponse(Message):
    """How much is there now."""

    committed_size: int = integer(1)


# Capabilities.


class GetCapabilitiesRequest(Message):
    """Request of Capabilities.GetCapabilities."""

    instance_name: str = text(1)


class SemVer(Message):
    """build.bazel.semver.SemVer."""

    major: int = integer(1)
    minor: int = integer(2)
    patch: int = integer(3)
    prerelease: str = text(4)


class ActionCacheUpdateCapabilities(Message):
    """ActionCacheUpdateCapabilities."""

    update_enabled: bool = boolean(1)


class CacheCapabilities(Message):
    """CacheCapabilities; 0 as the largest batch is no limit but that of messages."""

    digest_functions: tuple[int, ...] = integers(1)
    action_cache_update_capabilities: ActionCacheUpdateCapabilities | None = message(
        2, ActionCacheUpdateCapabilities
    )
    max_batch_total_size_bytes: int = integer(4)
    supported_compressors: tuple[int, ...] = integers(6)


class ExecutionCapabilities(Message):
    """ExecutionCapabilities."""

    digest_function: int = integer(1)
    exec_enabled: bool = boolean(2)
    digest_functions: tuple[int, ...] = integers(5)


class ServerCapabilities(Message):
    """Answer of Capabilities.GetCapabilities."""

    cache_capabilities: CacheCapabilities | None = message(1, CacheCapabilities)
    execution_capabilities: ExecutionCapabilities | None = message(2, ExecutionCapabilities)
    deprecated_api_version: SemVer | None = message(3, SemVer)
    low_api_version: SemVer | None = message(4, SemVer)
    high_api_version: SemVer | None = message(5, SemVer)


class ToolDetails(Message):
    """ToolDetails."""

    tool_name: str = text(1)
    tool_version: str = text(2)


class RequestMetadata(Message):
    """What a client says of itself beside every call, in the header of this name."""

    tool_details: ToolDetails | None = message(1, ToolDetails)
    action_id: str = text(2)
    tool_invocation_id: str = text(3)
    correlated_invocations_id: str = text(4)
    action_mnemonic: str = text(5)
