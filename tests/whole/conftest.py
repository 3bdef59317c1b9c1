"""A box and an IOC for each test that asks for one; both are ended by pid."""

from collections.abc import Generator
from pathlib import Path

import pytest

from beamtime_ioc.client import Client
from box_house import Box, Ioc


@pytest.fixture
def box(tmp_path: Path) -> Generator[Box, None, None]:
    started = Box.start(tmp_path / "box")
    yield started
    assert started.program.stop() == 0


@pytest.fixture
def ioc(box: Box) -> Generator[Ioc, None, None]:
    started = Ioc.on(box).start()
    yield started
    if started.program.child.poll() is None:
        assert started.stop() == 0


@pytest.fixture
def client(ioc: Ioc) -> Generator[Client, None, None]:
    with ioc.client() as opened:
        yield opened
