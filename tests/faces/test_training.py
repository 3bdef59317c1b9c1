"""A box's faults as real clients turn them, by pyepics and p4p, while others do; a box that is away."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from beamtime_ioc.alarm import Severity, Status
from beamtime_ioc.boxcontrol import BoxControl, BoxSettings
from beamtime_ioc.records import shipped
from beamtime_ioc.training import Training
from beamtime_sim.box import Box
from c_client import CClient
from wire_house import PvaClient, Wire, pva_context

PREFIX = "99bm:Beamtime:Sim"
ECA_NORMAL, DBR_STRING, DBR_CHAR = 1, 0, 4
PERIOD_S = 0.05
HOSTILE = [
    "; touch /tmp/owned",
    "$(id)",
    "`id`\n\r\n.\r\nMAIL FROM:<x@example.org>",
    "../../etc/passwd\x1b[31m",
    '{"schedule.hang": true}',
    "null",
    "Łukasik 李 \u202e 🚀",
    "x" * 2048,
]


@dataclass
class House:
    """A box, its records on the wire, and a client of each protocol."""

    box: Box
    control: BoxControl
    wire: Wire
    training: Training
    ca: CClient
    pva: PvaClient

    def shows(self, suffix: str) -> tuple[Any, Severity, str]:
        def look() -> tuple[Any, Severity, str]:
            cell = self.wire.cell(f"Sim{suffix}")
            return cell.value, cell.reading.alarm.severity, cell.reading.alarm.message

        return self.wire.do(look)

    def wait(self, condition: Callable[[], object]) -> None:
        self.wire.wait_for_outside(condition)

    def knob(self, name: str) -> Any:
        return self.control.state().knobs[name]

    def caput(self, suffix: str, text: str, *, kind: int = DBR_STRING) -> int:
        """As caput -c; the status that comes back."""
        raw = text.encode()
        if kind == DBR_STRING:
            return self.ca("put", PREFIX + suffix, kind, 1, raw.ljust(40, b"\0").hex())
        return self.ca("put", PREFIX + suffix, kind, len(raw), raw.hex())

    def pvput(self, suffix: str, value: Any) -> str:
        """What the client hears; nothing if it went well."""
        try:
            self.pva.put(PREFIX + suffix, {"value": value}, timeout=10)
        except Exception as error:  # noqa: BLE001 - p4p's own kind, for a sentence
            return str(error)
        return ""


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("box")
    box = Box(directory)
    box.start()
    control = BoxControl(BoxSettings(url=f"http://127.0.0.1:{ports(directory)['control']}/"), directory)
    wire = Wire(shipped(training=True), prefix="99bm:Beamtime:", access=directory / "access.acf")

    async def train() -> tuple[Training, asyncio.Task[None]]:
        made = Training(wire.board, control, period_s=PERIOD_S)
        return made, asyncio.create_task(made.lookout.watch())

    training, task = wire.run(train())
    with CClient(wire.ca.port) as ca, pva_context(wire.pva.port) as pva:
        yield House(box, control, wire, training, ca, pva)
    wire.do(task.cancel)
    wire.stop()
    box.stop()


def ports(directory: Path) -> dict[str, int]:
    import yaml

    return yaml.safe_load((directory / "sim.yaml").read_text())["ports"]


@pytest.fixture
def house(standing: House) -> House:
    assert standing.pvput("Reset", 1) == ""
    assert "; none is on" in standing.shows("Message")[0]
    return standing


def test_a_put_is_done_when_the_box_has_it(house: House) -> None:
    assert house.caput("ScheduleDelay", "2.5") == ECA_NORMAL
    assert house.knob("schedule.delay_s") == 2.5
    assert house.ca("timed", f"{PREFIX}ScheduleDelay")[:2] == [2.5, Severity.MINOR]

    assert house.pvput("ScheduleBody", 1) == ""
    assert house.knob("schedule.body") == "html"
    assert house.pva.get(f"{PREFIX}ScheduleBody").value.index == 1

    message, severity, _ = house.shows("Message")
    assert message == (
        f"training: faults by the box at {house.control.url}; "
        "on: schedule.delay_s = 2.5, schedule.body = html"
    )
    assert severity is Severity.MINOR


def test_reset_takes_every_knob_back(house: House) -> None:
    house.caput("MailRefuse", "*", kind=DBR_CHAR)
    house.caput("ScheduleHang", "On")

    assert house.caput("Reset", "Reset") == ECA_NORMAL

    state = house.control.state()
    assert state.knobs == state.defaults
    assert (house.shows("MailRefuse")[0], house.shows("ScheduleHang")[0]) == ("", 0)
    assert house.shows("Reset")[0] == 0
    assert house.shows("Message")[1] is Severity.NO_ALARM


def test_what_is_turned_in_a_terminal_is_seen(house: House) -> None:
    house.control.turn("mail.grey", {"*": 2})
    house.wait(lambda: house.shows("MailGrey")[0] == "*=2")
    assert house.shows("MailGrey")[1] is Severity.MINOR

    house.control.turn("mail.grey", None)
    house.wait(lambda: house.shows("MailGrey")[:2] == ("", Severity.NO_ALARM))


def test_the_requests_and_letters_of_the_box_are_counted(house: House) -> None:
    import smtplib

    before = house.shows("Mails")[0]
    with smtplib.SMTP("127.0.0.1", ports(house.box.directory)["mail"], timeout=5) as talk:
        talk.sendmail("beamline@example.org", ["a@example.org"], "Subject: one\n\none")

    house.wait(lambda: house.shows("Mails")[0] == before + 1)
    assert house.shows("Requests") == (0, Severity.NO_ALARM, "")


@pytest.mark.parametrize(
    ("suffix", "value", "words"),
    [
        ("ScheduleStatus", 200, "schedule.status cannot be 200; allowed is an HTTP status, 400 to 599"),
        ("MailRefuse", "nobody", 'mail.refuse cannot be "nobody"; allowed is a list of addresses'),
        ("MailGrey", '{"a@example.org": -1}', "mail.grey cannot be"),
        ("MailGrey", "{", "the text is no JSON; write it like"),
        ("ScheduleDelay", 601, "takes 0 to 600, not 601"),
        ("ScheduleDelay", -1.0, "takes 0 to 600, not -1"),
    ],
)
def test_a_refused_value_fails_the_put_and_is_told_in_words(
    house: House, suffix: str, value: Any, words: str
) -> None:
    before, was = house.control.state().knobs, house.shows(suffix)

    heard = house.pvput(suffix, value)

    assert words in heard
    assert house.shows("Message")[0].startswith("refused: ")
    assert words in house.shows("Message")[0]
    assert house.shows("Message")[1] is Severity.MINOR
    assert house.shows(suffix) == was
    kind = DBR_CHAR if isinstance(value, str) else DBR_STRING
    assert house.caput(suffix, f"{value}", kind=kind) != ECA_NORMAL
    assert house.control.state().knobs == before


def test_a_refusal_goes_when_the_next_put_is_taken(house: House) -> None:
    house.pvput("ScheduleStatus", 7)
    assert "refused" in house.shows("Message")[0]

    house.pvput("ScheduleStatus", 503)

    assert "on: schedule.status = 503" in house.shows("Message")[0]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_is_only_a_text(house: House, text: str) -> None:
    assert house.caput("SchedulePILastName", text, kind=DBR_CHAR) == ECA_NORMAL

    assert house.knob("schedule.pi_last_name") == text
    assert house.shows("SchedulePILastName")[0] == text
    assert {**house.control.state().knobs, "schedule.pi_last_name": None} == house.control.state().defaults
    message = house.shows("Message")[0]
    assert not [letter for letter in message if unicodedata.category(letter) == "Cc"]
    assert len(message) < 300
    for suffix in ("MailRefuse", "MailOnly"):
        heard = house.pvput(suffix, text)
        assert heard or "@" in text, (suffix, text)
    assert Path("/tmp/owned").exists() is False


def test_puts_of_many_at_once_end_with_the_last_and_none_shows_what_was_before(house: House) -> None:
    house.ca("watch", f"{PREFIX}ScheduleLoseReply")
    for number in range(1, 21):
        assert house.caput("ScheduleLoseReply", f"{number}") == ECA_NORMAL
        assert house.shows("ScheduleLoseReply")[0] == number

    house.wait(lambda: house.shows("ScheduleLoseReply")[0] == 20)
    posted = [event[0] for event in house.ca("events", f"{PREFIX}ScheduleLoseReply", 21)]
    assert posted == sorted(posted)


def test_who_may_not_write_turns_nothing_and_writes_on_no_screen(house: House) -> None:
    closed = house.wire.gate

    class Nobody:
        def require(self, group: str, who: Any) -> None:
            from beamtime_ioc.errors import NotAllowedError

            raise NotAllowedError(f"{who} may not", advice="ask staff")

    def lock(gate: Any) -> Callable[[], None]:
        return lambda: setattr(house.wire.cell("SimScheduleDelay"), "gate", gate)

    house.wire.do(lock(Nobody()))
    try:
        heard = house.pvput("ScheduleDelay", 3.0)
    finally:
        house.wire.do(lock(closed))

    assert "may not" in heard
    assert house.knob("schedule.delay_s") == 0
    assert "none is on" in house.shows("Message")[0]


# -- a box that goes away ---------------------------------------------------------------------------


@dataclass
class Away:
    """A box in a process of its own, and its records; no clients."""

    process: "subprocess.Popen[bytes]"
    directory: Path
    wire: Wire
    training: Training

    def shows(self, suffix: str) -> tuple[Any, Severity, Status]:
        def look() -> tuple[Any, Severity, Status]:
            cell = self.wire.cell(f"Sim{suffix}")
            return cell.value, cell.reading.alarm.severity, cell.reading.alarm.status

        return self.wire.do(look)

    def start(self) -> None:
        words = [sys.executable, "-m", "beamtime_sim", "--dir", str(self.directory)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith(b"READY")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Away]:
    house = Away(None, tmp_path, None, None)  # type: ignore[arg-type]
    house.start()
    control = BoxControl(BoxSettings(url=f"http://127.0.0.1:{ports(tmp_path)['control']}/"), tmp_path)
    house.wire = Wire(shipped(training=True), prefix="99bm:Beamtime:", access=tmp_path / "access.acf")

    async def train() -> asyncio.Task[None]:
        house.training = Training(house.wire.board, control, period_s=PERIOD_S)
        house.training.put_s, house.training.lookout.slowest_s = 0.3, 0.2
        return asyncio.create_task(house.training.lookout.watch())

    task = house.wire.run(train())
    yield house
    house.wire.do(task.cancel)
    house.wire.stop()
    house.end()


def test_a_box_that_is_killed_is_told_with_what_starts_it_and_is_back_by_itself(away: Away) -> None:
    away.wire.wait_for_outside(lambda: away.shows("ScheduleDelay")[1] is Severity.NO_ALARM)
    with pva_context(away.wire.pva.port) as pva:
        pva.put(f"{PREFIX}ScheduleDelay", 4.0)
        away.end()
        away.wire.wait_for_outside(lambda: away.shows("ScheduleDelay")[1] is Severity.INVALID)

        message = away.shows("Message")[0]
        assert f"does not answer; start it with: beamtime sim --dir {away.directory}" in message
        for suffix in ("Message", "ScheduleDelay", "MailRefuse", "Requests", "Mails"):
            assert away.shows(suffix)[1:] == (Severity.INVALID, Status.COMM)
        assert away.shows("ScheduleDelay")[0] == 4.0
        began = time.monotonic()
        with pytest.raises(Exception, match="does not answer; start it with: beamtime sim --dir"):
            pva.put(f"{PREFIX}ScheduleDelay", 5.0)
        assert time.monotonic() - began < 2

        away.start()
        away.wire.wait_for_outside(lambda: away.shows("ScheduleDelay")[:2] == (0.0, Severity.NO_ALARM))
        assert away.shows("Message")[0].endswith("; none is on")
        pva.put(f"{PREFIX}ScheduleDelay", 6.0)
        assert away.shows("ScheduleDelay")[0] == 6.0


def test_a_box_that_hangs_holds_no_loop_and_every_put_is_answered_in_time(away: Away) -> None:
    away.wire.wait_for_outside(lambda: away.shows("ScheduleDelay")[1] is Severity.NO_ALARM)
    away.process.send_signal(signal.SIGSTOP)
    try:
        with pva_context(away.wire.pva.port) as pva, CClient(away.wire.ca.port) as ca:
            away.wire.wait_for_outside(lambda: away.shows("ScheduleDelay")[1] is Severity.INVALID)
            assert "does not answer; start it with" in away.shows("Message")[0]
            began = time.monotonic()
            for _ in range(3):
                with pytest.raises(Exception, match=r"within 0.3 s; what it took is shown"):
                    pva.put(f"{PREFIX}ScheduleDelay", 5.0)
            assert time.monotonic() - began < 3
            took = ca("gets_during_put", f"{PREFIX}Reset", f"{PREFIX}MailRefuse", 50)
            assert max(took) < 0.2
    finally:
        away.process.send_signal(signal.SIGCONT)
    away.wire.wait_for_outside(lambda: away.shows("ScheduleDelay")[1] is not Severity.INVALID)
    state = json.loads(json.dumps(away.training.box.state().knobs))
    away.wire.wait_for_outside(lambda: away.shows("ScheduleDelay")[0] == state["schedule.delay_s"])
