"""Presses and puts over Channel Access: who waits for what, and what a refusal leaves behind."""

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import caproto as ca
import pytest
from p4p.client.thread import RemoteError

from beamtime_ioc.board import Cell
from beamtime_ioc.errors import BusyError
from beamtime_ioc.model import Who
from beamtime_ioc.values import Value
from c_client import CClient
from raw_ca import NORMAL, NOWTACCESS, PUTFAIL, RawCa, element
from wire_house import PREFIX, End, PvaClient, Walk, Wire

STRING, LONG, DOUBLE = 0, 5, 6
WALK = f"{PREFIX}Walk"
ONE = "01000000"


def test_a_waiting_press_is_answered_when_the_run_has_ended(wire: Wire, c_client: CClient) -> None:
    walk = Walk(wire)

    c_client.begin("put", WALK, LONG, 1, ONE)
    wire.wait_for(lambda: walk.begun)
    assert wire.value("Walk") == 1
    walk.end()

    assert c_client.finish() == NORMAL
    assert (walk.ended, wire.value("Walk")) == (1, 0)


def test_a_waiting_press_fails_when_the_run_fails(wire: Wire, c_client: CClient) -> None:
    walk = Walk(wire, failing="the way is blocked")

    c_client.begin("put", WALK, LONG, 1, ONE)
    walk.end()

    assert c_client.finish() == PUTFAIL


def test_a_press_by_its_label_is_a_press(wire: Wire, c_client: CClient) -> None:
    walk = Walk(wire)

    c_client("put_plain", WALK, STRING, 1, b"Start".ljust(40, b"\0").hex())

    walk.end()
    assert [str(who) for who in walk.begun] != []


def test_who_presses_is_known_by_the_address_and_by_what_it_claims(wire: Wire) -> None:
    walk = Walk(wire)

    with RawCa(wire.ca.port, user="ann\n", host="console" + "x" * 100) as client:
        client.send(client.put_request(client.sid(WALK), LONG, 1, element(LONG, 1), waits=False))
        walk.end()

    assert walk.begun == [Who(via="ca", user="ann", peer="127.0.0.1", claim="console" + "x" * 53)]


def test_an_action_that_is_only_accepted_answers_at_once(wire: Wire, c_client: CClient) -> None:
    async def hook(cell: Cell, value: Value, who: Who) -> End:
        return End()

    wire.hook("Errand", hook)

    assert c_client("put", f"{PREFIX}Errand", LONG, 1, ONE) == NORMAL


def test_a_plain_press_hears_nothing_of_a_failure_later(wire: Wire) -> None:
    walk = Walk(wire, failing="the way is blocked")

    with RawCa(wire.ca.port) as client:
        client.send(client.put_request(client.sid(WALK), LONG, 1, element(LONG, 1), waits=False))
        walk.end()
        wire.wait_for(lambda: walk.ended)
        client.send(ca.EchoRequest())

        assert isinstance(client.receive(), ca.EchoResponse)


def test_a_refused_plain_put_hears_why(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}Mbbo")
        client.send(client.put_request(sid, LONG, 1, element(LONG, 7), waits=False))
        error = client.receive(ca.ErrorResponse)

    assert error.status.name == "ECA_PUTFAIL"
    assert bytes(error.error_message).rstrip(b"\0").decode() == (
        f"{PREFIX}Mbbo has no state 7; its states are 0 Red, 1 Green, 2 Blue"
    )


def test_a_put_of_zero_is_taken_and_changes_nothing(wire: Wire, c_client: CClient) -> None:
    walk = Walk(wire)

    idle = c_client("put", WALK, LONG, 1, "00000000")
    c_client("put_plain", WALK, LONG, 1, ONE)
    wire.wait_for(lambda: walk.begun)
    running = c_client("put", WALK, LONG, 1, "00000000")

    assert (idle, running, wire.value("Walk"), walk.ended) == (NORMAL, NORMAL, 1, 0)
    walk.end()


def test_of_twenty_presses_at_once_one_is_taken(
    wire: Wire, c_client: CClient, pva: PvaClient, whole_wire: Wire
) -> None:
    walk = Walk(wire)
    start = threading.Barrier(20)

    def press_ca() -> int:
        with RawCa(wire.ca.port) as client:
            sid = client.sid(WALK)
            start.wait()
            return client.put(sid, LONG, 1)

    def press_pva() -> int:
        start.wait()
        try:
            pva.put(WALK, {"value.index": 1}, request="record[block=true]", timeout=10)
        except RemoteError as error:
            return PUTFAIL if "Walk runs since" in str(error) else -1
        return NORMAL

    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(press) for press in [press_ca, press_pva] * 10]
        wire.wait_for(lambda: walk.refused == 19)
        walk.end()
        statuses = [answer.result() for answer in answers]

    assert sorted(statuses) == [NORMAL, *[PUTFAIL] * 19]
    assert (len(walk.begun), walk.ended) == (1, 1)


def test_a_refused_press_leaves_value_and_alarm(wire: Wire, c_client: CClient) -> None:
    async def hook(cell: Cell, value: Value, who: Who) -> None:
        raise BusyError("Walk runs since 09:14:02", advice="wait for its end")

    wire.hook("Walk", hook)
    before = wire.cell("Walk").reading

    assert c_client("put", WALK, LONG, 1, ONE) == PUTFAIL
    assert wire.cell("Walk").reading is before


@pytest.mark.parametrize("suffix", ["Text", "Stringout", "Bo", "Longout", "Ao"])
def test_a_denied_put_leaves_value_and_alarm_and_is_one_log_line(
    wire: Wire, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = wire.cell(suffix).reading

    with caplog.at_level(logging.INFO), RawCa(wire.ca.port, source="127.0.0.9") as client:
        status = client.put(client.sid(PREFIX + suffix), STRING, "1")

    assert status == NOWTACCESS
    assert wire.cell(suffix).reading is before
    assert [record.getMessage() for record in caplog.records] == [
        f"put '1' to {PREFIX}{suffix} by tester from here (127.0.0.9) by ca refused: "
        "tester from here (127.0.0.9) by ca may not write records of the access group DEFAULT; "
        "wire.acf says who may"
    ]
    assert caplog.records[0].exc_info is None


def test_reads_are_answered_while_a_press_is_held(wire: Wire, c_client: CClient) -> None:
    walk = Walk(wire)

    with CClient(wire.ca.port) as other:
        took = other("gets_during_put", WALK, f"{PREFIX}Ao", 100)
        elsewhere = c_client("get", f"{PREFIX}Ao")
        walk.end()

    assert elsewhere == 1.5
    assert sorted(took)[-5] < 0.05  # the machine may be busy now and then
    assert max(took) < 1


def test_what_follows_a_put_sees_its_value(wire: Wire) -> None:
    async def slowly(cell: Cell, value: Value, who: Who) -> None:
        await asyncio.sleep(0.005)
        cell.set(value)

    wire.hook("Ao", slowly)

    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}Ao")
        for value in (2.0, 3.0, 4.0):
            put = client.put_request(sid, DOUBLE, 1, element(DOUBLE, value), waits=False)
            client.send(put, client.read_request(sid, DOUBLE))
            assert client.receive(ca.ReadNotifyResponse).data[0] == value


def test_puts_of_one_client_keep_their_order(wire: Wire) -> None:
    delays = iter([0.05, 0.0, 0.0])

    async def hook(cell: Cell, value: Value, who: Who) -> None:
        await asyncio.sleep(next(delays))
        cell.set(value)

    wire.hook("Ao", hook)

    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}Ao")
        client.send(
            *(client.put_request(sid, DOUBLE, 1, element(DOUBLE, value)) for value in (1.0, 2.0, 3.0))
        )
        for _ in range(3):
            client.receive(ca.WriteNotifyResponse)

    assert wire.value("Ao") == 3.0


def test_a_put_that_is_long_in_being_accepted_holds_no_read(wire: Wire) -> None:
    accepted = asyncio.Event()

    async def hook(cell: Cell, value: Value, who: Who) -> None:
        await accepted.wait()
        cell.set(value)

    wire.hook("Ao", hook)

    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}Ao")
        put = client.put_request(sid, DOUBLE, 1, element(DOUBLE, 5.0))
        began = time.monotonic()
        client.send(put, client.read_request(sid, DOUBLE))
        early = client.receive(ca.ReadNotifyResponse, ca.WriteNotifyResponse)
        took = time.monotonic() - began
        wire.do(accepted.set)
        client.receive(ca.WriteNotifyResponse)

    assert (early.data[0], took < 1) == (1.5, True)
    assert wire.value("Ao") == 5.0


@pytest.mark.parametrize("leaving", ["hangs up", "closes the channel", "both"])
def test_what_was_put_behind_a_long_press_is_done_although_the_client_leaves_at_once(
    wire: Wire, caplog: pytest.LogCaptureFixture, leaving: str
) -> None:
    release = threading.Event()

    async def hold(cell: Cell, value: Value, who: Who) -> None:
        while not release.is_set():
            await asyncio.sleep(0.001)

    wire.hook("Walk", hold)
    others = set(wire.ca.circuits)
    client = RawCa(wire.ca.port)
    press, put = client.sid(WALK), client.sid(f"{PREFIX}Stringout")

    client.send(
        client.put_request(press, LONG, 1, element(LONG, 1), waits=False),
        client.put_request(put, STRING, 1, element(STRING, "done"), waits=False),
    )
    if leaving != "hangs up":
        client.send(ca.ClearChannelRequest(put, 2))
        time.sleep(0.05)  # longer than a read would wait
    if leaving != "closes the channel":
        client.socket.close()
        time.sleep(0.05)
    release.set()

    wire.wait_for(lambda: wire.cell("Stringout").value == "done")
    if leaving == "closes the channel":
        client.receive(ca.ClearChannelResponse)
        client.echo()
        client.socket.close()
    wire.wait_for(lambda: set(wire.ca.circuits) <= others)
    assert "nonsense" not in caplog.text


def test_a_client_that_dies_leaves_the_run_alone(
    wire: Wire, c_client: CClient, caplog: pytest.LogCaptureFixture
) -> None:
    walk = Walk(wire)
    clients = wire.do(lambda: wire.ca.clients)

    with CClient(wire.ca.port) as other:
        other.begin("put", WALK, LONG, 1, ONE)
        wire.wait_for(lambda: walk.begun)
        other.kill()
    wire.wait_for(lambda: wire.ca.clients == clients)
    walk.end()
    wire.wait_for(lambda: walk.ended)

    assert wire.value("Walk") == 0
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert c_client("get", f"{PREFIX}Ao") == 1.5


def test_a_mistake_in_a_hook_is_told_and_logged(
    wire: Wire, c_client: CClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def hook(cell: Cell, value: Value, who: Who) -> None:
        raise KeyError("nobody thought of this")

    wire.hook("Walk", hook)

    with RawCa(wire.ca.port) as client:
        client.send(client.put_request(client.sid(WALK), LONG, 1, element(LONG, 1), waits=False))
        error = client.receive(ca.ErrorResponse)

    assert b"KeyError in the IOC" in bytes(error.error_message)
    assert b"nobody thought of this" not in bytes(error.error_message)
    assert "nobody thought of this" in caplog.text
    assert c_client("get", f"{PREFIX}Ao") == 1.5
