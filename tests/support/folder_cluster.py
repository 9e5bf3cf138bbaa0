"""FolderCluster: a cluster of one worker, in this process and a folder; what it runs is `kitbuild worker run`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from kitbuild import worker
from kitbuild.cache.connection import CallError
from kitbuild.cache.execution_inputs import sent
from kitbuild.cache.reapi_messages import (
    Action,
    ActionResult,
    BlobDigest,
    Command,
    Directory,
    DirectoryNode,
    FileNode,
    OutputDirectory,
    Tree,
)
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError
from tests.support.remotes import MemoryRemote


def told(digest: BlobDigest | None) -> Digest:
    """A digest out of a message."""
    assert digest is not None
    return Digest.parse(digest.hash, digest.size_bytes)


class FolderCluster:
    """Runs actions whose files are in `content`; `trouble`, if set, is called before each run.

    `commands` are those that ran, `folders` where.
    """

    def __init__(self, content: MemoryRemote, folder: Path) -> None:
        self._content = content
        self._folder = folder
        self.trouble: Callable[[], ActionResult | None] = lambda: None
        self.commands: list[Command] = []
        self.folders: list[Path] = []
        self.stopped = False

    def execute(self, action: Digest) -> ActionResult:
        """Lays the files out, runs the node, keeps what it gave."""
        if answer := self.trouble():
            return answer
        try:
            message = Action.decode(self._read(action))
            self.commands.append(Command.decode(self._read(told(message.command_digest))))
            folder = Path(tempfile.mkdtemp(prefix="run-", dir=self._folder))
            self._lay_out(told(message.input_root_digest), folder)
        except MissingBlobError as error:
            raise CallError(error.message, code="FAILED_PRECONDITION") from error
        self.folders.append(folder)
        worker.run(folder)
        return self.gave(folder / "out")

    def stop(self) -> None:
        """Notes that it was called."""
        self.stopped = True

    def gave(self, out: Path) -> ActionResult:
        """The answer for a run that left this folder."""
        blobs = Directory(files=tuple(self._file(path) for path in sorted((out / "blobs").iterdir())))
        root = Directory(
            files=(self._file(out / "result"),),
            directories=(DirectoryNode(name="blobs", digest=sent(Digest.of(blobs.encode()))),),
        )
        tree = self.keep(Tree(root=root, children=(blobs,)).encode())
        return ActionResult(output_directories=(OutputDirectory(path="out", tree_digest=sent(tree)),))

    def keep(self, content: bytes) -> Digest:
        """Puts content where the cluster has its own."""
        digest = Digest.of(content)
        self._content.put(digest, lambda: [content])
        return digest

    def _file(self, path: Path) -> FileNode:
        return FileNode(name=path.name, digest=sent(self.keep(path.read_bytes())))

    def _read(self, digest: Digest) -> bytes:
        return b"".join(self._content.get(digest))

    def _lay_out(self, root: Digest, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        directory = Directory.decode(self._read(root))
        for file in directory.files:
            (folder / file.name).write_bytes(self._read(told(file.digest)))
        for below in directory.directories:
            # The worker is this process, which needs no other kitbuild; but it has to be there.
            self._lay_out(told(below.digest), folder / below.name)
