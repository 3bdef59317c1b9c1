"""Begin a beamtime on the hosts of the box, over ssh, and what each fault of a host comes to."""

import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import RunState
from beamtime_ioc.progress import RunView
from box_house import PREFIX, Box, Ioc, until
from wire_house import pva_context

SECONDS = 1
"""How long a host may take, for a connection and for a command."""
GIVEN_UP_S = 30


@pytest.fixture(scope="module")
def far_ioc(tmp_path_factory: pytest.TempPathFactory) -> Generator[Ioc]:
    box = Box.start(tmp_path_factory.mktemp("far") / "box", far=True)

    def be_impatient(site: dict[str, Any]) -> None:
        site["hosts"] |= {"connect_timeout_s": SECONDS, "timeout_s": SECONDS}

    box.edit_site(be_impatient)
    started = Ioc.on(box).start()
    yield started
    assert started.stop() == 0
    assert box.program.stop() == 0


@pytest.fixture
def far(far_ioc: Ioc) -> Generator[tuple[Ioc, Client]]:
    with far_ioc.client() as client:
        yield far_ioc, client
    far_ioc.box.reset()


def begin(client: Client) -> RunView:
    with suppress(BeamtimeError):  # how it ended is for the test to say
        client.press("BeginBeamtime", wait=True)
    return client.view("BeginBeamtime")


def states(ioc: Ioc) -> dict[str, str]:
    with pva_context(ioc.pva) as pva:
        table = pva.get(f"{PREFIX}Hosts").value
        return dict(zip(table.name, table.state, strict=True))


def see(ioc: Ioc, **wanted: str) -> None:
    """Wait until the table `Hosts` says so of each place."""
    until(lambda: states(ioc) == wanted, f"{wanted} in Hosts")


def test_a_beamtime_begins_on_two_hosts(far: tuple[Ioc, Client]) -> None:
    ioc, client = far
    ioc.box.set(schedule__on_beam=1)

    view = begin(client)

    assert view.state is RunState.DONE
    see(ioc, det1="CREATED", ana1="CREATED")
    assert [path.relative_to(ioc.box.directory).parts[1] for path in ioc.box.directories()] == [
        "ana1",
        "det1",
    ]
    assert len(ioc.box.recipients()) == 2


FAULTS = [
    (2, {"refuse": "connect"}, "UNREACHABLE", "Connection refused", "see whether it is on"),
    (3, {"refuse": "key"}, "DENIED", "does not let us in", "give it our key"),
    (4, {"hang": "connect"}, "UNREACHABLE", "timed out", "see whether it is on"),
    (5, {"hang": "command"}, "TIMEOUT", "did not answer", "see whether its disk hangs"),
    (6, {"full": True}, "NO_SPACE", "has 0 GB free", "make space"),
    (
        7,
        {"lose_reply": 1000},
        "UNREACHABLE",
        "host det1 cannot be reached: the connection",
        "see whether it is on",
    ),
]


@pytest.mark.parametrize(("guest", "knobs", "state", "reason", "advice"), FAULTS)
def test_each_fault_of_a_host_is_told_and_once_it_is_mended_the_beamtime_begins(
    far: tuple[Ioc, Client], guest: int, knobs: dict[str, object], state: str, reason: str, advice: str
) -> None:
    ioc, client = far
    letters = len(ioc.box.recipients())
    ioc.box.set(schedule__on_beam=guest, hosts__only="det1", **{f"hosts__{k}": v for k, v in knobs.items()})
    began = time.monotonic()

    failed = begin(client)

    assert time.monotonic() - began < GIVEN_UP_S
    assert failed.state is RunState.FAILED
    assert "det1: " in failed.message
    assert reason in failed.message
    assert advice in failed.advice
    if "by hand" in failed.advice:
        assert f"by hand: ssh -F {ioc.box.directory}/hosts/ssh_config det1 true;" in failed.advice
    see(ioc, det1=state, ana1="CREATED")
    assert len(ioc.box.recipients()) == letters  # they wait until every directory stands
    ioc.box.set(**dict.fromkeys((f"hosts__{name}" for name in knobs), None))
    assert begin(client).state is RunState.DONE
    assert len(ioc.box.recipients()) == letters + 2


@pytest.mark.parametrize(("guest", "knobs"), [(20, {"delay_s": 0.3}), (21, {"lose_reply": 1})])
def test_a_slow_host_and_a_lost_reply_are_borne(
    far: tuple[Ioc, Client], guest: int, knobs: dict[str, object]
) -> None:
    ioc, client = far
    ioc.box.set(schedule__on_beam=guest, hosts__only="det1", **{f"hosts__{k}": v for k, v in knobs.items()})

    assert begin(client).state is RunState.DONE

    assert [
        path for path in ioc.box.directories() if path.name.endswith(f"Guest{guest}-{800_000_000 + guest}")
    ] != []
