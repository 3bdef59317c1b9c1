"""Files that people write and programs read."""

import errno
import os
import stat
from pathlib import Path


def read_file(path: Path, most_bytes: int) -> bytes:
    """What stands in a file, up to a bound: one byte more than `most_bytes` says that there is more.

    Raises
    ------
    OSError
        Also where it is no file: a pipe would be waited for without end.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        return file.read(most_bytes + 1)
