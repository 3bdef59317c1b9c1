"""The end of a file of lines, read backwards: a month of audit is not read for its last fifty."""

import os
from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 65_536
LONGEST_BYTES = 1_000_000
"""Far more than a line may have: of a longer one only its beginning and a sign are given."""


def lines_backwards(path: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The lines of a file, the last one first, without their ends; a line at the end that is not whole too.

    Raises
    ------
    OSError
    """
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        rest = b""
        while at > 0:
            size = min(chunk_bytes, at)
            at -= size
            file.seek(at)
            first, *whole = (file.read(size) + rest).split(b"\n")
            yield from (line for line in reversed(whole) if line)
            rest = first if len(first) <= LONGEST_BYTES else b"?"
        if rest:
            yield rest
