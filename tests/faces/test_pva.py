"""The board over PVAccess, as pvxs clients see it."""

import logging
import math
import queue
import threading
import time
from typing import Any

import pytest
from p4p.client.thread import RemoteError
from p4p.nt import NTURI

from beamtime_ioc.alarm import Alarm, Severity, Status
from beamtime_ioc.board import Cell
from beamtime_ioc.errors import BusyError
from beamtime_ioc.faces.pva import PvaServer
from beamtime_ioc.model import RunState, Who
from beamtime_ioc.progress import RunView, StepLine, StepState
from beamtime_ioc.values import Value
from wire_house import PREFIX, End, PvaClient, Walk, Wire, pva_context

WALK = f"{PREFIX}Walk"
BLOCK = "record[block=true]"
SOON_S = 1.0


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
            StepLine(name="right foot", state=StepState.MADE, seconds=1.5),
            StepLine(name="left foot", state=StepState.RUNNING, reason="it hurts"),
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


def test_of_somebody_without_rights_one_refusal_in_ten_seconds_is_logged(
    wire: Wire, pva: PvaClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for value in ("1", "2", "3", "4"):
            refusal(pva, f"{PREFIX}Closed", value)

    (line,) = caplog.records
    assert line.getMessage().startswith("put '1' to X:Wire:Closed by ")


def test_a_put_is_answered_and_the_server_ends_while_something_hangs_in_every_thread_of_the_pool() -> None:
    wire, go = Wire(), threading.Event()
    try:
        for _ in range(40):  # more than there are, on two processors
            wire.loop.call_soon_threadsafe(wire.loop.run_in_executor, None, go.wait)
        with pva_context(wire.pva.port) as fresh:
            fresh.put(f"{PREFIX}Longout", 7, timeout=5)
        assert wire.value("Longout") == 7
    finally:
        try:
            wire.stop()
        finally:
            go.set()


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
    async def hook(cell: Cell, value: Value, who: Who) -> End:
        return End()

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


def test_a_mistake_before_the_put_is_answered_at_once(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async def roles_of(self: PvaServer, user: str, op: Any) -> tuple[str, ...]:
        raise OSError("the directory service is away")

    monkeypatch.setattr(PvaServer, "roles_of", roles_of)

    with pva_context(wire.pva.port) as unknown:
        assert "OSError in the IOC; see its log" in refusal(unknown, f"{PREFIX}Ao", 1.0)


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

    assert sorted(took)[-5] < 0.05  # the machine may be busy now and then
    assert max(took) < 1
