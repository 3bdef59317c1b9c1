"""Words to and from a program of ours, up to a bound: who writes without end must not fill our memory."""

import os
import selectors
import subprocess
import threading
import time

MOST_BYTES = 16 << 20
PIECE_BYTES = 65_536
MURMUR_BYTES = 65_536
MURMUR_S = 2.0
"""Longest wait for the end of what a program wrote on stderr, when it has ended itself."""


class UnfinishedTalkError(Exception):
    """A program wrote too much, or did not end in time.

    Parameters
    ----------
    output
        What it wrote before.
    """

    def __init__(self, output: bytes) -> None:
        super().__init__("it did not end")
        self.output = output

    @property
    def is_too_long(self) -> bool:
        return len(self.output) > MOST_BYTES


def talk(child: "subprocess.Popen[bytes]", words: bytes, timeout_s: float) -> bytes:
    """Write to the stdin of a program and read its stdout, both to their ends; wait for the program's end.

    Raises
    ------
    UnfinishedTalkError
        It wrote more than `MOST_BYTES`, or was not done in time; it runs still.
    """
    assert child.stdin is not None
    assert child.stdout is not None
    end, left, output = time.monotonic() + timeout_s, memoryview(words), bytearray()
    with child.stdin as stdin, child.stdout as stdout, selectors.DefaultSelector() as ready:
        os.set_blocking(stdin.fileno(), False)
        ready.register(stdin, selectors.EVENT_WRITE)
        ready.register(stdout, selectors.EVENT_READ)
        while ready.get_map():
            events = ready.select(max(0, end - time.monotonic()))
            if time.monotonic() >= end or len(output) > MOST_BYTES:
                raise UnfinishedTalkError(bytes(output))
            for key, _ in events:
                if key.fileobj is stdout:
                    piece = os.read(key.fd, PIECE_BYTES)
                    output += piece
                    is_over = not piece
                else:
                    left = left[_written(key.fd, left) :]
                    is_over = not left
                if is_over:
                    ready.unregister(key.fileobj)
                    if key.fileobj is stdin:
                        stdin.close()
    try:
        child.wait(max(0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise UnfinishedTalkError(bytes(output)) from None
    return bytes(output)


class Murmur:
    """What a program writes on stderr: the beginning is kept, and who writes without end is ended."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child, self._kept, self._count = child, bytearray(), 0
        self._thread = threading.Thread(target=self._hear, name=f"stderr of {child.pid}", daemon=True)
        self._thread.start()

    @property
    def is_too_long(self) -> bool:
        return self._count > MOST_BYTES

    def text(self) -> str:
        """All of it, of a program that has ended; at most the first `MURMUR_BYTES`."""
        self._thread.join(MURMUR_S)
        return self._kept[:MURMUR_BYTES].decode("utf-8", "replace")

    def _hear(self) -> None:
        assert self._child.stderr is not None
        with self._child.stderr as stderr:
            while not self.is_too_long and (piece := os.read(stderr.fileno(), PIECE_BYTES)):
                self._count += len(piece)
                if len(self._kept) < MURMUR_BYTES:
                    self._kept += piece
        if self.is_too_long:
            self._child.kill()


def _written(fd: int, words: memoryview) -> int:
    """How many bytes went; all of them where nobody reads any more."""
    try:
        return os.write(fd, words[:PIECE_BYTES])
    except BrokenPipeError:
        return len(words)
