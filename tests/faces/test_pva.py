"""The board over PVAccess, as pvxs clients see it."""

import asyncio
import logging
import math
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from p4p.client.thread import RemoteError
from p4p.nt import NTURI

from beamtime_ioc.action import StepLine
from beamtime_ioc.board import Alarm, Cell, RunView, Severity, Status, Value
from beamtime_ioc.errors import BusyError, PortTakenError
from beamtime_ioc.faces.pva import PvaServer
from beamtime_ioc.model import RunState, Who
from wire_house import LOOPBACK, PREFIX, PvaClient, Walk, Wire, pva_context, spare_port

WALK = f"{PREFIX}Walk"
BLOCK = "record[block=true]"
SOON_S = 1.0


@contextmanager
def second(
    wire: Wire, *, port: int | None = None, interfaces: tuple[str, ...] = LOOPBACK
) -> Iterator[PvaServer]:
    """Another server in the same process, over the same board."""
    server = PvaServer(wire.board, port=port, interfaces=interfaces)
    wire.run(server.start())
    try:
        yield server
    finally:
        wire.run(server.stop())


def refusal(pva: PvaClient, name: str, value: Any, **options: Any) -> str:
    """The error text of a put, which must come at once."""
    began = time.monotonic()
    with pytest.raises(RemoteError) as caught:
        pva.put(name, value, timeout=5, **options)
    assert time.monotonic() - began < SOON_S
    return str(caught.value)


def next_post(pva: PvaClient, name: str) -> tuple[Any, Any]:
    """A subscription, and a queue of what it brings."""
    posts: queue.Queue[Any] = queue.Queue()
    subscription = pva.monitor(name, posts.put)
    posts.get(timeout=10)
    return subscription, posts


# -- what is shown -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "type_id", "value"),
    [
        ("Text", "epics:nt/NTScalar:1.0", "first"),
        ("TextAlias", "epics:nt/NTScalar:1.0", "first"),
        ("Text39", "epics:nt/NTScalar:1.0", "first"),
        ("Stringout", "epics:nt/NTScalar:1.0", "out"),
        ("Longout", "epics:nt/NTScalar:1.0", 3),
        ("Ao", "epics:nt/NTScalar:1.0", 1.5),
    ],
)
def test_a_record_is_a_scalar_of_its_kind(
    wire: Wire, pva: PvaClient, suffix: str, type_id: str, value: object
) -> None:
    found = pva.get(PREFIX + suffix)

    assert (found.getID(), found.value, type(found.value)) == (type_id, value, type(value))


def test_states_are_an_enum_with_choices(wire: Wire, pva: PvaClient) -> None:
    found = pva.get(f"{PREFIX}Mbbo")

    assert found.getID() == "epics:nt/NTEnum:1.0"
    assert (found.value.index, found.value.choices) == (0, ["Red", "Green", "Blue"])


def test_units_limits_and_precision_are_those_of_the_record_file(wire: Wire, pva: PvaClient) -> None:
    found = pva.get(f"{PREFIX}Ao")

    display = found.display
    assert (display.units, display.precision, display.limitLow, display.limitHigh) == ("mm", 3, -10.0, 10.0)
    assert (found.control.limitLow, found.control.limitHigh) == (-8.0, 8.0)
    assert math.isnan(found.valueAlarm.highAlarmLimit)
    assert pva.get(f"{PREFIX}Text").display.description == "a text with a µ"
    whole = pva.get(f"{PREFIX}Longout")
    assert (whole.display.units, whole.display.limitHigh, whole.control.limitLow) == ("counts", 100, -80)


@pytest.mark.parametrize("suffix", ["Text", "Mbbo", "Ao", "WalkProgress"])
def test_the_first_stamp_is_that_of_the_start(wire: Wire, pva: PvaClient, suffix: str) -> None:
    with second(wire, port=spare_port()) as server, pva_context(server.port) as fresh:
        stamp = fresh.get(PREFIX + suffix, timeout=10).timeStamp

    assert abs(stamp.secondsPastEpoch - time.time()) < 10


@pytest.mark.parametrize(
    "words",
    [
        "",
        " ",
        "plain",
        'it\'s "quoted"',
        "é µ ü 漢 😀",
        "two\nlines",
        "1970-01-01",
        "x" * 256,
        "tab\tand \\ back",
    ],
)
def test_a_text_arrives_as_it_was_sent(wire: Wire, pva: PvaClient, words: str) -> None:
    pva.put(f"{PREFIX}Text", words)

    assert wire.value("Text") == words
    assert pva.get(f"{PREFIX}Text").value == words


def test_a_run_is_shown_as_a_structure(wire: Wire, pva: PvaClient) -> None:
    name = f"{PREFIX}WalkProgress"
    view = RunView(
        action="walk",
        state=RunState.RUNNING,
        percent=25.0,
        step="left foot",
        message="on the way",
        advice="be patient",
        run_id="0173",
        started_by="ann from console",
        started=1795170000.25,
        elapsed_s=12.5,
        steps=(
            StepLine(name="right foot", state="made", seconds=1.5),
            StepLine(name="left foot", state="running", reason="it hurts"),
        ),
    )
    subscription, posts = next_post(pva, name)

    wire.do(lambda: wire.board.progress["walk"].set(view, Alarm(Severity.MINOR, Status.STATE, "Running")))
    post = posts.get(timeout=10)
    subscription.close()

    assert post.getID() == "beamtime:Progress/1.0"
    shown = post.todict()
    assert math.isnan(shown.pop("remaining"))
    stamp = shown.pop("timeStamp")
    assert abs(stamp["secondsPastEpoch"] - time.time()) < 10
    assert shown == {
        "action": "walk",
        "state": "Running",
        "percent": 25.0,
        "step": "left foot",
        "message": "on the way",
        "advice": "be patient",
        "runId": "0173",
        "startedBy": "ann from console",
        "started": {"secondsPastEpoch": 1795170000, "nanoseconds": 250000000, "userTag": 0},
        "elapsed": 12.5,
        "alarm": {"severity": 1, "status": 7, "message": "Running"},
        "steps": [
            {"name": "right foot", "state": "made", "reason": "", "seconds": 1.5},
            {"name": "left foot", "state": "running", "reason": "it hurts", "seconds": 0.0},
        ],
    }
    wire.do(lambda: wire.board.progress["walk"].set(RunView(action="walk")))
    assert pva.get(name).steps == []


# -- puts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "value", "wanted"),
    [
        ("Mbbo", {"value.index": 2}, 2),
        ("Longout", 42, 42),
        ("Longout", "-7", -7),
        ("Free", -(2**31), -(2**31)),
        ("Ao", -8.0, -8.0),
        ("Ao", "2.5", 2.5),
        ("Stringout", "é" * 19, "é" * 19),
    ],
)
def test_a_put_arrives(wire: Wire, pva: PvaClient, suffix: str, value: Any, wanted: object) -> None:
    pva.put(PREFIX + suffix, value)

    assert wire.value(suffix) == wanted


def test_a_state_is_put_by_its_label(wire: Wire) -> None:
    with pva_context(wire.pva.port, plain=False) as labels:
        labels.put(f"{PREFIX}Mbbo", "Blue")

    assert wire.value("Mbbo") == 2


@pytest.mark.parametrize(
    ("suffix", "value", "words"),
    [
        ("Mbbo", {"value.index": 7}, "has no state 7; its states are 0 Red, 1 Green, 2 Blue"),
        ("Mbbo", {"value.index": -1}, "has no state -1"),
        ("Mbbo", {"value.choices": ["a"]}, "has no value"),
        ("Longout", 81, "takes -80 to 80, not 81"),
        ("Ao", 8.001, "takes -8 to 8, not 8.001"),
        ("Ao", math.nan, "cannot take nan"),
        ("Ao", math.inf, "cannot take inf"),
        ("Text", "x" * 257, "holds 256 bytes, the text has 257; shorten it"),
        ("Text", "x" + "é" * 128, "holds 256 bytes, the text has 257"),
        ("Text", {"alarm.severity": 2}, "the put to X:Wire:Text has no value"),
        ("Stringout", "x" * 40, "holds 39 bytes"),
        ("Stringin", "x", "is written by the IOC only; read it"),
        ("Mbbi", {"value.index": 1}, "is written by the IOC only"),
        ("Ai", 1.0, "is written by the IOC only"),
        ("Text39", "x", "is written by the IOC only"),
        ("Closed", "x", "may not write records of the access group closed; wire.acf says who may"),
        ("WalkProgress", {"step": "x"}, "is written by the IOC only; read it"),
    ],
)
def test_a_put_that_is_refused_says_why_and_changes_nothing(
    wire: Wire, pva: PvaClient, suffix: str, value: Any, words: str
) -> None:
    before = pva.get(PREFIX + suffix).tostr()

    said = refusal(pva, PREFIX + suffix, value)

    assert words in said
    assert pva.get(PREFIX + suffix).tostr() == before


def test_a_refused_put_is_one_log_line(wire: Wire, pva: PvaClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        refusal(pva, f"{PREFIX}Ao", 99.0)

    assert len(caplog.records) == 1
    assert "put '99.0' to X:Wire:Ao by " in caplog.text
    assert caplog.records[0].exc_info is None


def test_a_press_is_answered_when_it_is_accepted(wire: Wire, pva: PvaClient) -> None:
    walk = Walk(wire, failing="the way is blocked")

    pva.put(WALK, {"value.index": 1})

    assert wire.value("Walk") == 1
    walk.end()


def test_a_press_that_blocks_is_answered_at_the_end(wire: Wire, pva: PvaClient) -> None:
    walk = Walk(wire)
    wire.loop.call_soon_threadsafe(_end_when_begun, wire, walk)

    pva.put(WALK, {"value.index": 1}, request=BLOCK, timeout=10)

    assert (walk.ended, wire.value("Walk")) == (1, 0)


def _end_when_begun(wire: Wire, walk: Walk) -> None:
    if walk.begun:
        walk.finish()
    else:
        wire.loop.call_later(0.01, _end_when_begun, wire, walk)


def test_a_press_that_blocks_tells_how_the_run_failed(wire: Wire, pva: PvaClient) -> None:
    walk = Walk(wire, failing="the way is blocked")
    wire.loop.call_soon_threadsafe(_end_when_begun, wire, walk)

    with pytest.raises(RemoteError, match="Failed: the way is blocked"):
        pva.put(WALK, {"value.index": 1}, request=BLOCK, timeout=10)


def test_an_action_that_is_only_accepted_does_not_block(wire: Wire, pva: PvaClient) -> None:
    async def hook(cell: Cell, value: Value, who: Who) -> object:
        return asyncio.Event().wait()

    wire.hook("Errand", hook)

    pva.put(f"{PREFIX}Errand", {"value.index": 1}, request=BLOCK, timeout=5)


def test_who_presses_is_known_by_account_and_address(wire: Wire, pva: PvaClient) -> None:
    walk = Walk(wire)

    pva.put(WALK, {"value.index": 1})
    walk.end()

    (who,) = walk.begun
    assert (who.via, who.peer, who.claim) == ("pva", "127.0.0.1", "")
    assert who.user
    assert isinstance(who.roles, tuple)


@pytest.mark.parametrize("error", [BusyError("Walk runs"), ValueError("a mistake"), OSError(28, "disk full")])
def test_whatever_a_hook_raises_is_answered_at_once(wire: Wire, pva: PvaClient, error: Exception) -> None:
    async def hook(cell: Cell, value: Value, who: Who) -> None:
        raise error

    wire.hook("Walk", hook)

    for request in (None, BLOCK):
        said = refusal(pva, WALK, {"value.index": 1}, request=request)
        assert (
            said == "Walk runs"
            if isinstance(error, BusyError)
            else f"{type(error).__name__} in the IOC" in said
        )


def test_a_mistake_before_the_put_is_answered_at_once(
    wire: Wire, pva: PvaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def roles_of(self: PvaServer, user: str, op: Any) -> tuple[str, ...]:
        raise OSError("the directory service is away")

    monkeypatch.setattr(PvaServer, "roles_of", roles_of)

    assert "OSError in the IOC; see its log" in refusal(pva, f"{PREFIX}Ao", 1.0)


@pytest.mark.parametrize("suffix", ["Walk", "WalkProgress"])
def test_an_rpc_is_refused_at_once(wire: Wire, pva: PvaClient, suffix: str) -> None:
    began = time.monotonic()

    with pytest.raises(RemoteError, match="takes no RPC"):
        pva.rpc(PREFIX + suffix, NTURI([]).wrap(PREFIX + suffix), timeout=5)

    assert time.monotonic() - began < SOON_S


def test_a_client_that_gives_up_leaves_the_run_alone(
    wire: Wire, pva: PvaClient, caplog: pytest.LogCaptureFixture
) -> None:
    walk = Walk(wire)

    with pva_context(wire.pva.port) as impatient, pytest.raises(TimeoutError):
        impatient.put(WALK, {"value.index": 1}, request=BLOCK, timeout=0.3)
    walk.end()
    wire.wait_for(lambda: walk.ended)

    assert pva.get(WALK).value.index == 0
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_gets_are_answered_while_a_press_is_held(wire: Wire, pva: PvaClient) -> None:
    walk = Walk(wire)
    holder = threading.Thread(
        target=pva.put, args=(WALK, {"value.index": 1}), kwargs={"request": BLOCK, "timeout": 30}
    )
    holder.start()
    wire.wait_for(lambda: walk.begun)
    took: list[float] = []
    for _ in range(100):
        began = time.perf_counter()
        pva.get(f"{PREFIX}Ao")
        took.append(time.perf_counter() - began)
    walk.end()
    holder.join()

    assert max(took) < 0.05


# -- ports -------------------------------------------------------------------------------------------------


def test_the_port_of_the_site_file_is_for_searches_and_for_clients(wire: Wire) -> None:
    port = spare_port()

    with second(wire, port=port) as server:
        assert (server.port, server.tcp_port) == (port, port)


@pytest.mark.parametrize("word", ["PVAS", "PVA"])
def test_the_environment_wins_over_the_site_file(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    tcp, search = spare_port(), spare_port()
    monkeypatch.setenv(f"EPICS_{word}_SERVER_PORT", str(tcp))
    monkeypatch.setenv(f"EPICS_{word}_BROADCAST_PORT", str(search))

    with second(wire, port=spare_port()) as server, pva_context(search) as client:
        assert (server.port, server.tcp_port) == (search, tcp)
        assert client.get(f"{PREFIX}Ao", timeout=10).value == 1.5


def test_a_chosen_port_that_is_taken_is_an_error_that_names_the_setting(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        PortTakenError, match=r"PVA port \d+ is in use; .*change epics.pva_port of the site file"
    ):
        wire.run(PvaServer(wire.board, port=wire.pva.tcp_port, interfaces=LOOPBACK).start())

    monkeypatch.setenv("EPICS_PVAS_SERVER_PORT", str(wire.pva.tcp_port))
    with pytest.raises(PortTakenError, match="change EPICS_PVAS_SERVER_PORT"):
        wire.run(PvaServer(wire.board, port=spare_port(), interfaces=LOOPBACK).start())


def test_a_chosen_port_whose_searches_somebody_keeps_for_himself_is_an_error(wire: Wire) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        port = spare_port()
        taken.bind(("127.0.0.1", port))

        with pytest.raises(PortTakenError):
            wire.run(PvaServer(wire.board, port=port, interfaces=LOOPBACK).start())


@pytest.mark.parametrize("hosts", [["127.0.0.2"], ["127.0.0.2", "127.0.0.3:5075"]])
def test_the_interfaces_of_the_environment_win_and_their_ports_are_ignored(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, hosts: list[str]
) -> None:
    monkeypatch.setenv("EPICS_PVAS_INTF_ADDR_LIST", " ".join(hosts))
    port = spare_port()

    with second(wire, port=port) as server:
        assert server.tcp_port == port
        for host in hosts:
            socket.create_connection((host.partition(":")[0], port), 5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)


def test_in_the_box_beacons_stay_there_unless_the_environment_says_otherwise(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("EPICS_PVAS_BEACON_ADDR_LIST", "EPICS_PVAS_AUTO_BEACON_ADDR_LIST", "EPICS_PVAS_IGNORE_ADDR_LIST")
    with second(wire, port=spare_port()) as server:
        alone = [server.settings[name] for name in names]
        box = [f"127.0.0.1:{server.port}", "NO", ""]
    for name, word in zip(names, ("192.0.2.7:7000", "NO", "192.0.2.9"), strict=True):
        monkeypatch.setenv(name, word)
    with second(wire, port=spare_port()) as server:
        told = [server.settings[name] for name in names]

    assert alone == box
    assert told == ["192.0.2.7:7000", "NO", "192.0.2.9"]


def test_a_server_that_stopped_watches_nothing_and_can_be_started_again(wire: Wire) -> None:
    port, watchers = spare_port(), wire.do(lambda: len(wire.cell("Ai").watchers))

    for _ in range(2):
        with second(wire, port=port) as server:
            assert server.tcp_port == port
        assert wire.do(lambda: len(wire.cell("Ai").watchers)) == watchers


def test_a_press_that_blocks_is_answered_when_the_server_stops(wire: Wire) -> None:
    walk = Walk(wire)
    server = PvaServer(wire.board, port=spare_port(), interfaces=LOOPBACK)
    wire.run(server.start())

    with pva_context(server.port) as client:

        def stop() -> None:
            wire.wait_for(lambda: walk.begun)
            wire.run(server.stop())

        stopper = threading.Thread(target=stop)
        stopper.start()
        with pytest.raises(RemoteError, match="the IOC ends; what was begun goes on"):
            client.put(WALK, {"value.index": 1}, request=BLOCK, timeout=10)
        stopper.join()
    walk.end()


def test_a_server_that_never_started_can_be_stopped(wire: Wire) -> None:
    wire.run(PvaServer(wire.board, port=None, interfaces=LOOPBACK).stop())
