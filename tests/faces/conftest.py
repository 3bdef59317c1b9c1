"""A board on the wire, and real clients of both protocols: one of each for all tests of a worker."""

from collections.abc import Iterator

import pytest

from beamtime_ioc.faces import puts
from beamtime_ioc.faces.seldom import Seldom
from c_client import CClient
from wire_house import PvaClient, Wire, pva_context


@pytest.fixture(scope="session")
def whole_wire() -> Iterator[Wire]:
    wire = Wire()
    try:
        yield wire
    finally:
        wire.stop()


@pytest.fixture
def wire(whole_wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """The board as its files say; no refusal of a test before holds a log line back."""
    whole_wire.reset()
    for pace in ("_denied", "_wrong"):
        monkeypatch.setattr(puts, pace, Seldom(puts.log))
    return whole_wire


@pytest.fixture(scope="session")
def c_client(whole_wire: Wire) -> Iterator[CClient]:
    """pyepics over C's libca."""
    with CClient(whole_wire.ca.port) as client:
        yield client


@pytest.fixture(scope="session")
def pva(whole_wire: Wire) -> Iterator[PvaClient]:
    """p4p over pvxs."""
    with pva_context(whole_wire.pva.port) as context:
        yield context
