"""A terminal of its own for each page."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs_terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as repeater:
        repeater.bind(("", 0))
        opened = Terminal(tmp_path, repeater.getsockname()[1])
        yield opened
        opened.close()
