"""The knobs, and the control HTTP that turns them."""

import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from beamtime_sim.control import ControlServer
from beamtime_sim.errands_server import ErrandsServer
from beamtime_sim.errors import KnobError, NobodyAnswersError
from beamtime_sim.knobs import Knobs, allowed_values
from beamtime_sim.mail_server import MailServer
from beamtime_sim.remote import ask
from beamtime_sim.schedule import Schedule
from beamtime_sim.schedule_server import ScheduleServer

DEFAULTS = Knobs().values()
PATIENCE_S = 10


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The three servers that belong together."""

    url: str
    port: int
    knobs: Knobs
    schedule: ScheduleServer
    mail: MailServer


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    knobs = Knobs()
    with (
        ScheduleServer(Schedule.around(date(2026, 11, 20)), knobs=knobs) as schedule,
        MailServer(tmp_path / "mail", knobs=knobs) as mail,
        ErrandsServer(tmp_path / "errands", knobs=knobs) as errands,
    ):
        control = ControlServer(knobs, schedule, mail, errands)
        control.start()
        url = f"http://127.0.0.1:{control.port}"
        yield Desk(url=url, port=control.port, knobs=knobs, schedule=schedule, mail=mail)
        control.stop()


BAD = [
    ("schedule.delay_s", -1),
    ("schedule.delay_s", "long"),
    ("schedule.delay_s", True),
    ("schedule.delay_s", float("nan")),
    ("schedule.delay_s", 601),
    ("schedule.status", 200),
    ("schedule.status", "503"),
    ("schedule.fail_times", -1),
    ("schedule.fail_times", 1.5),
    ("schedule.body", "nonsense"),
    ("schedule.body", ["html"]),
    ("schedule.hang", 1),
    ("schedule.pi_last_name", 5),
    ("mail.refuse", "nobody"),
    ("mail.refuse", [7]),
    ("mail.refuse", 7),
    ("mail.grey", {"*": "two"}),
    ("mail.grey", {"*": -1}),
    ("mail.grey", 3),
    ("mail.hang", "greeting"),
    ("mail.drop", "sometimes"),
    ("mail.delay_s", None.__class__),
    ("mail.only", ""),
    ("schedule.on_beam", 0),
    ("schedule.on_beam", True),
    ("schedule.on_beam", "the next one"),
    ("schedule.late_colleague", "yes"),
    ("schedule.clock_change", True),
    ("hosts.hang", "data"),
    ("hosts.refuse", "sometimes"),
    ("hosts.full", 1),
    ("hosts.only", "det2"),
    ("hosts.only", 7),
    ("hosts.lose_reply", True),
    ("schedule.lose_reply", -1),
    ("mail.lose_reply", "all"),
    ("errands.lose_reply", 0.5),
    ("errands.rate_bytes_per_s", 0),
    ("errands.rate_bytes_per_s", float("nan")),
    ("errands.delay_s", 601),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_refused_with_what_is_allowed(name: str, value: object) -> None:
    knobs = Knobs()

    with pytest.raises(KnobError) as caught:
        knobs.set(name, value)

    assert str(caught.value).startswith(f"{name} cannot be ")
    assert str(caught.value).endswith(f"allowed is {allowed_values()[name]}")
    assert knobs.values() == DEFAULTS


GOOD = [
    ("schedule.delay_s", 2, 2.0),
    ("schedule.status", 503, 503),
    ("schedule.fail_times", 0, 0),
    ("schedule.body", "truncated", "truncated"),
    ("schedule.hang", True, True),
    ("schedule.pi_last_name", "", ""),
    ("mail.refuse", "A@example.org, b@example.org", ("a@example.org", "b@example.org")),
    ("mail.refuse", [], ()),
    ("mail.grey", {"A@example.org": 3}, {"a@example.org": 3}),
    ("mail.grey", "*=2", {"*": 2}),
    ("mail.grey", "a@example.org", {"a@example.org": 1}),
    ("mail.hang", "data", "data"),
    ("mail.hang", True, "connect"),
    ("mail.hang", False, "never"),
    ("mail.hang", "never", "never"),
    ("mail.drop", "never", "never"),
    ("hosts.refuse", "never", "never"),
    ("hosts.hang", "never", "never"),
    ("schedule.clock_change", "never", "never"),
    ("mail.drop", "after-data", "after-data"),
    ("mail.only", ["a@example.org"], ("a@example.org",)),
    ("schedule.on_beam", 17, 17),
    ("schedule.late_colleague", True, True),
    ("schedule.clock_change", "last", "last"),
    ("hosts.hang", True, "connect"),
    ("hosts.hang", "command", "command"),
    ("hosts.refuse", True, "connect"),
    ("hosts.refuse", "key", "key"),
    ("hosts.only", "Det1, ana1", ("det1", "ana1")),
    ("hosts.only", ["*"], ("*",)),
    ("mail.lose_reply", 2, 2),
    ("errands.rate_bytes_per_s", 5, 5.0),
]


@pytest.mark.parametrize(("name", "value", "stands"), GOOD)
def test_a_good_value_stands_until_it_is_taken_back(name: str, value: object, stands: object) -> None:
    knobs = Knobs()

    knobs.set(name, value)
    turned = knobs.values()[name]
    knobs.set(name, None)

    assert turned == stands
    assert knobs.values() == DEFAULTS


@given(st.sampled_from(sorted(DEFAULTS)), st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
       lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))  # fmt: skip
def test_no_json_value_breaks_a_knob(name: str, value: object) -> None:
    knobs = Knobs()

    try:
        knobs.set(name, value)
    except KnobError:
        assert knobs.values() == DEFAULTS
    else:
        assert {key: knobs.values()[key] for key in DEFAULTS if key != name} == {
            key: DEFAULTS[key] for key in DEFAULTS if key != name
        }


def test_an_unknown_name_is_refused_with_all_names() -> None:
    with pytest.raises(KnobError, match=r"no knob 'mail\.refused'; the knobs are .*mail\.refuse, "):
        Knobs().set("mail.refused", "*")


def test_of_several_knobs_all_or_none_are_turned() -> None:
    knobs = Knobs()

    with pytest.raises(KnobError):
        knobs.set_all({"schedule.delay_s": 1, "mail.drop": "sometimes"})

    assert knobs.values() == DEFAULTS


# Over HTTP


def test_put_and_post_turn_knobs_and_delete_takes_all_back(desk: Desk) -> None:
    knobs = f"{desk.url}/knobs"

    put = requests.put(knobs, json={"mail.refuse": ["x@example.org"]}, timeout=PATIENCE_S)
    posted = requests.post(knobs, json={"schedule.body": "html", "schedule.delay_s": 0.1}, timeout=PATIENCE_S)

    assert put.json()["mail.refuse"] == ["x@example.org"]
    assert posted.json()["mail.refuse"] == ["x@example.org"]
    assert desk.knobs.schedule.body == "html"
    assert requests.delete(knobs, timeout=PATIENCE_S).status_code == 200
    assert desk.knobs.values() == DEFAULTS


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"mail.refuse": 7}', 'mail.refuse cannot be 7; allowed is a list of addresses, or "*" for all'),
        (b'{"nothing": 1}', "there is no knob 'nothing'; the knobs are schedule.delay_s"),
        (b"[]", "send a JSON object of knobs"),
        (b"not json", "send a JSON object of knobs"),
        (b"\xff", "send a JSON object of knobs"),
    ],
)
def test_a_bad_knob_is_a_400_with_a_sentence(desk: Desk, body: bytes, sentence: str) -> None:
    reply = requests.put(f"{desk.url}/knobs", data=body, timeout=PATIENCE_S)

    assert reply.status_code == 400
    assert sentence in reply.json()["error"]
    assert desk.knobs.values() == DEFAULTS


def test_the_front_page_shows_knobs_what_is_allowed_and_counters(desk: Desk) -> None:
    requests.get(desk.schedule.url + "run/getAllRuns", timeout=PATIENCE_S)
    requests.get(desk.schedule.url + "nothing", timeout=PATIENCE_S)
    with smtplib.SMTP("127.0.0.1", desk.mail.port, timeout=PATIENCE_S) as talk:
        talk.sendmail("beamline@example.org", ["zoe.mueller@example.edu"], b"Subject: hello\r\n\r\ntext")

    page: dict[str, Any] = requests.get(f"{desk.url}/", timeout=PATIENCE_S).json()

    assert page["knobs"].keys() == page["allowed"].keys() == DEFAULTS.keys()
    assert page["requests"] == 2
    assert page["mail_counts"] == {"connections": 1, "kept": 1, "refused": 0, "deferred": 0, "dropped": 0}
    assert [mail["subject"] for mail in page["mails"]] == ["hello"]
    assert page["errands"] == {"notes": 0, "copies": 0}
    assert page["hosts"] == {}


def test_mails_and_requests_are_listed(desk: Desk) -> None:
    requests.get(desk.schedule.url + "run/getRunByDateTime/2026-11-20T12:00:00%2B00:00", timeout=PATIENCE_S)
    with smtplib.SMTP("127.0.0.1", desk.mail.port, timeout=PATIENCE_S) as talk:
        text = b"Subject: hello\r\nMessage-ID: <1@example.org>\r\n\r\ntext"
        talk.sendmail("beamline@example.org", ["zoe.mueller@example.edu"], text)

    (seen,) = requests.get(f"{desk.url}/requests", timeout=PATIENCE_S).json()
    (mail,) = requests.get(f"{desk.url}/mails", timeout=PATIENCE_S).json()

    assert seen["path"] == "run/getRunByDateTime/2026-11-20T12:00:00+00:00"
    assert (seen["method"], seen["status"]) == ("GET", 200)
    assert (mail["to"], mail["subject"], mail["message_id"]) == (
        "zoe.mueller@example.edu",
        "hello",
        "<1@example.org>",
    )
    assert Path(mail["path"]).read_bytes().endswith(b"text\r\n")
    assert {"sender", "number", "received_at"} < mail.keys()


def test_any_other_path_names_those_there_are(desk: Desk) -> None:
    reply = requests.get(f"{desk.url}/nothing", timeout=PATIENCE_S)

    assert reply.status_code == 404
    assert "DELETE /knobs" in reply.json()["error"]


def test_a_hanging_schedule_does_not_hold_the_control(desk: Desk) -> None:
    desk.knobs.set("schedule.hang", True)
    with pytest.raises(requests.ReadTimeout):
        requests.get(desk.schedule.url + "run/getAllRuns", timeout=0.2)

    ask(desk.port, "DELETE", "/knobs")

    assert requests.get(desk.schedule.url + "run/getAllRuns", timeout=PATIENCE_S).status_code == 200


def test_ask_hands_on_the_boxs_sentence_or_says_that_nobody_answers(desk: Desk) -> None:
    with pytest.raises(KnobError, match="there is no knob 'nothing'"):
        ask(desk.port, "PUT", "/knobs", {"nothing": 1})
    with pytest.raises(NobodyAnswersError, match=f"no box answers on port {desk.mail.port}"):
        ask(desk.mail.port, "GET", "/")
