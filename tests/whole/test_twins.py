"""Two IOCs with one prefix and two state directories: one takes presses, and both say so."""

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from beamtime_ioc.errors import BeamtimeError
from box_house import PREFIX, Box, Ioc, Program, until
from c_client import CClient
from spare_ports import spare_port

MAJOR = 2


@pytest.fixture
def twins(box: Box) -> Iterator[tuple[Ioc, Ioc]]:
    """The box's own IOC, and one as on another host; each looks where the other is."""
    ports = {"ca_port": spare_port(), "pva_port": spare_port()}
    content: dict[str, Any] = yaml.safe_load(box.site.read_text())
    first_port = content["epics"]["ca_port"]
    other = {**content, "state": "state2/", "epics": {**content["epics"], **ports}}
    for site, address in ((content, f"127.0.0.1:{ports['ca_port']}"), (other, f"127.0.0.1:{first_port}")):
        site["twin"] = {"search_s": 0.3, "every_s": 1, "addresses": [address]}
    box.site.write_text(yaml.safe_dump(content))
    second_site = box.directory / "site2.yaml"
    second_site.write_text(yaml.safe_dump(other))
    second = Ioc(box, Program(["serve", str(second_site)], box.directory / "ioc2.log"))
    second.ca, second.pva = ports["ca_port"], ports["pva_port"]
    both = Ioc.on(box), second
    yield both
    for ioc in both:
        if hasattr(ioc.program, "child") and ioc.program.child.poll() is None:
            assert ioc.stop() == 0


def alarm(ioc: Ioc, suffix: str) -> tuple[str, int]:
    with CClient(ioc.ca) as c:
        return c("text", PREFIX + suffix), c("timed", PREFIX + suffix)[1]


def log_of(path: Path) -> str:
    return path.read_text(errors="replace")


def test_the_second_serves_takes_no_press_names_the_first_and_takes_over_when_that_has_ended(
    twins: tuple[Ioc, Ioc],
) -> None:
    first, second = twins
    first.start()

    second.program.launch()
    with second.client() as client:
        until(lambda: "another IOC" in client.read("TwinMessage"))
        text, severity = alarm(second, "TwinMessage")
        assert severity == MAJOR
        assert f"pid {first.program.pid}, 127.0.0.1:{first.ca}" in text
        with pytest.raises(BeamtimeError, match=f"not now: another IOC on .*pid {first.program.pid}"):
            client.press("UpdateUserInfo")
        assert "another IOC" in client.read("UpdateUserInfoMessage")
        assert alarm(second, "EngineMessage") == (text, MAJOR)

        with first.client() as other:
            until(lambda: "presses are taken here" in other.read("TwinMessage"))
            until(lambda: "presses are taken here" in other.read("EngineMessage"))
            other.press("UpdateUserInfo", wait=True)

        assert first.stop() == 0
        until(lambda: client.read("EngineState") == "Running")
        assert client.read("TwinMessage") == ""
        client.press("UpdateUserInfo", wait=True)


def test_the_second_ends_at_once_while_it_waits(twins: tuple[Ioc, Ioc]) -> None:
    first, second = twins
    first.start()
    second.program.launch()
    with second.client() as client:
        until(lambda: "another IOC" in client.read("TwinMessage"))

    assert second.stop() == 0


def test_the_second_reads_its_access_file_again_while_it_waits(twins: tuple[Ioc, Ioc], box: Box) -> None:
    first, second = twins
    first.start()
    second.program.launch()
    with second.client() as client:
        until(lambda: "another IOC" in client.read("TwinMessage"))
        client.write("ENGINEER", "Ada")

        (box.directory / "access.acf").write_text("ASG(DEFAULT) { RULE(1, READ) }\n")
        second.program.child.send_signal(signal.SIGHUP)

        until(lambda: "it lacks" in client.read("AccessMessage"))
        with pytest.raises(BeamtimeError, match="may not write"):
            client.write("ENGINEER", "Eve")


class Relay:
    """Carries searches to an IOC and its answers back: a network that is joined when it begins."""

    def __init__(self, port: int, target: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self._target = target
        self._thread = threading.Thread(target=self._carry, name="relay")
        self._thread.start()

    def _carry(self) -> None:
        while True:
            question, asker = self._socket.recvfrom(65536)
            if not question:
                return
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as carrier,
                contextlib.suppress(TimeoutError),
            ):
                carrier.settimeout(1)
                carrier.sendto(question, ("127.0.0.1", self._target))
                self._socket.sendto(carrier.recv(65536), asker)

    def cut(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ender:
            ender.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


def test_of_two_that_meet_later_both_alarm_and_the_later_one_takes_no_press_until_they_part(
    twins: tuple[Ioc, Ioc], box: Box
) -> None:
    first, second = twins
    relays = {id(first): spare_port(), id(second): spare_port()}
    for ioc, name in ((first, "site.yaml"), (second, "site2.yaml")):
        content = yaml.safe_load((box.directory / name).read_text())
        content["twin"]["addresses"] = [f"127.0.0.1:{relays[id(ioc)]}"]
        (box.directory / name).write_text(yaml.safe_dump(content))
        ioc.start()
    with first.client() as early, second.client() as late:
        for client in (early, late):
            client.press("UpdateUserInfo", wait=True)
            assert client.read("TwinMessage") == ""

        joined = [Relay(relays[id(first)], second.ca), Relay(relays[id(second)], first.ca)]
        try:
            until(lambda: "presses are taken here" in early.read("TwinMessage"))
            until(lambda: "presses are refused here" in late.read("TwinMessage"))
            assert alarm(first, "TwinMessage")[1] == alarm(second, "TwinMessage")[1] == MAJOR
            until(lambda: "presses are refused here" in late.read("EngineMessage"))
            early.press("UpdateUserInfo", wait=True)
            with pytest.raises(BeamtimeError, match=f"another IOC on .*pid {first.program.pid}"):
                late.press("UpdateUserInfo")
        finally:
            for relay in joined:
                relay.cut()

        until(lambda: late.read("TwinMessage") == early.read("TwinMessage") == "")
        late.press("UpdateUserInfo", wait=True)
