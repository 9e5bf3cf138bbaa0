"""Channel is a stream that may lose its reader without anybody noticing: `kitbuild build | head` is no error."""

from __future__ import annotations

from typing import TextIO

from kitbuild.report.text import encodable


class Channel:
    """Writes to a stream until that fails, then falls silent. As much of a text stream as rich asks for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_open = True
        # Why what was written is lost, if not because its reader has gone.
        self.lost: OSError | None = None

    @property
    def encoding(self) -> str:
        """The encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's file descriptor; for the size of the terminal."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Writes `text`, escaping what the stream's encoding does not know."""
        if self.is_open:
            try:
                self._stream.write(encodable(text, self.encoding))
            except OSError as error:
                self._close(error)
        return len(text)

    def flush(self) -> None:
        """Hands on what was written."""
        if self.is_open:
            try:
                self._stream.flush()
            except OSError as error:
                self._close(error)

    def _close(self, error: OSError) -> None:
        self.is_open = False
        self.lost = None if isinstance(error, BrokenPipeError) else error
