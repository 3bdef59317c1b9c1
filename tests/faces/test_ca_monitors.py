"""Monitors over Channel Access: who hears of what, and when."""

import caproto as ca
import pytest

from beamtime_ioc.alarm import Alarm, Severity, Status
from c_client import CClient
from raw_ca import RawCa
from wire_house import PREFIX, Wire

DOUBLE = 6


def test_a_monitor_is_told_of_a_put_once(wire: Wire, c_client: CClient) -> None:
    c_client("watch", f"{PREFIX}Free")

    c_client("caput", f"{PREFIX}Free", 17)
    c_client("caput", f"{PREFIX}Free", 18)

    assert [event[0] for event in c_client("events", f"{PREFIX}Free", 3)][-2:] == [17, 18]
    assert len(c_client("events", f"{PREFIX}Free", 3)) == 3


@pytest.mark.parametrize(
    ("mask", "wanted"), [(1, [1.0, 2.0, 3.0]), (2, [1.0, 2.0, 3.0]), (4, [2.0]), (8, [])]
)
def test_a_subscription_hears_what_its_mask_says(wire: Wire, mask: int, wanted: list[float]) -> None:
    alarm = Alarm(Severity.MINOR, Status.SOFT, "careful")

    with RawCa(wire.ca.port) as client:
        client.subscribe(client.sid(f"{PREFIX}Ai"), DOUBLE, mask)
        client.receive(ca.EventAddResponse)
        wire.do(lambda: wire.cell("Ai").set(1.0))
        wire.do(lambda: wire.cell("Ai").set(2.0, alarm))
        wire.do(lambda: wire.cell("Ai").set(3.0, alarm))
        client.send(ca.EchoRequest())
        events: list[float] = []
        while not isinstance(message := client.receive(), ca.EchoResponse):
            events.append(message.data[0])

    assert events == wanted


def test_a_cancelled_subscription_is_confirmed_and_quiet(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}Ai")
        number = client.subscribe(sid, DOUBLE)
        client.receive(ca.EventAddResponse)
        client.send(ca.EventCancelRequest(DOUBLE, sid, number))
        last = client.receive(ca.EventAddResponse)
        wire.do(lambda: wire.cell("Ai").set(2.0))
        client.send(ca.EchoRequest())

        assert last.header.payload_size == 0
        assert isinstance(client.receive(), ca.EchoResponse)


def test_events_that_are_off_come_when_they_are_on_again_and_are_the_latest(wire: Wire) -> None:
    with RawCa(wire.ca.port) as client:
        client.subscribe(client.sid(f"{PREFIX}Ai"), DOUBLE)
        client.receive(ca.EventAddResponse)
        client.send(ca.EventsOffRequest())
        client.echo()
        for value in (1.0, 2.0, 3.0):
            wire.do(lambda value=value: wire.cell("Ai").set(value))
        client.send(ca.EventsOnRequest())

        assert client.receive(ca.EventAddResponse).data[0] == 3.0
        client.send(ca.EchoRequest())
        assert isinstance(client.receive(), ca.EchoResponse)


def test_a_closed_channel_is_forgotten(wire: Wire) -> None:
    watchers = wire.do(lambda: len(wire.cell("Ai").watchers))

    with RawCa(wire.ca.port) as client:
        sid = client.sid(f"{PREFIX}Ai")
        client.subscribe(sid, DOUBLE)
        client.receive(ca.EventAddResponse)
        client.send(ca.ClearChannelRequest(sid, 1))
        client.receive(ca.ClearChannelResponse)

        assert wire.do(lambda: len(wire.cell("Ai").watchers)) == watchers
