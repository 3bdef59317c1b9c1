"""A box and an IOC for each test that asks for one; both are ended by pid."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.client import Client
from box_house import Box, Ioc


@pytest.fixture(scope="module")
def standing_ioc(tmp_path_factory: pytest.TempPathFactory) -> Generator[Ioc, None, None]:
    """For all tests of a file that leave it, its box and its files as they were."""
    box = Box.start(tmp_path_factory.mktemp("standing") / "box")

    def be_impatient(site: dict[str, Any]) -> None:
        site["schedule"]["read_timeout_s"] = site["mail"]["timeout_s"] = 2

    box.edit_site(be_impatient)
    started = Ioc.on(box).start()
    yield started
    assert started.stop() == 0
    assert box.program.stop() == 0


@pytest.fixture
def standing(standing_ioc: Ioc) -> Generator[tuple[Box, Client], None, None]:
    """The box and a client of it; its knobs are put back."""
    with standing_ioc.client() as opened:
        yield standing_ioc.box, opened
    standing_ioc.box.reset()


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
