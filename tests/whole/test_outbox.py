"""Letters that a relay puts off, on a whole IOC: seen in the table, tried again by a button, never twice."""

from collections.abc import Generator
from typing import Any

import pytest

from beamtime_ioc.client import Client
from beamtime_ioc.model import RunState
from box_house import PREFIX, Box, Ioc, beamtime, until
from wire_house import PvaClient, pva_context

MINOR, MAJOR = 1, 2
BARELY_MS = 50
"""How late the event loop may be in 99 of 100 looks."""
PATIENT_S = 60
"""How long the IOC waits for a relay that a test lets hang until it has seen enough."""


@pytest.fixture
def pva(standing_ioc: Ioc) -> Generator[PvaClient, None, None]:
    with pva_context(standing_ioc.pva) as client:
        yield client


@pytest.fixture
def patient(box: Box) -> Generator[tuple[Box, Client], None, None]:
    """A box, and a client of an IOC that gives a relay up only long after the test."""
    box.edit_site(lambda site: site["mail"].update(timeout_s=PATIENT_S))
    started = Ioc.on(box).start()
    with started.client() as opened:
        yield box, opened
    assert started.stop() == 0


def letters(pva: PvaClient) -> dict[str, dict[str, Any]]:
    columns = pva.get(f"{PREFIX}Outbox").value.todict()
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {row["to"]: row for row in rows}


def ended(client: Client, button: str) -> RunState:
    return until(lambda: (state := client.view(button).state).ended and state, f"the end of {button}")


def test_what_was_put_off_is_shown_and_goes_with_deliver_outbox_even_after_a_second_put_off(
    standing: tuple[Box, Client], pva: PvaClient
) -> None:
    box, client = standing
    box.set(schedule__on_beam=1)
    client.press("UpdateUserInfo", wait=True)
    everybody = client.read("UserCount")
    box.set(mail__grey={"*": 2})

    client.press("EmailUsers")
    assert ended(client, "EmailUsers") is RunState.FAILED
    until(lambda: client.read("OutboxDeferred") == everybody, "the number of those that wait")
    waiting = letters(pva)
    alarm = pva.get(f"{PREFIX}Outbox").alarm
    client.press("DeliverOutbox", wait=True)
    early = client.read("DeliverOutboxMessage")
    client.call("DeliverOutbox", {"now": True})
    assert ended(client, "DeliverOutbox") is RunState.FAILED
    plan = client.call("DeliverOutbox", {"now": True}, preview=True)
    client.call("DeliverOutbox", {"now": True})
    until(lambda: client.read("OutboxDeferred") == 0, "the last of those that wait")
    assert ended(client, "DeliverOutbox") is RunState.DONE
    client.press("EmailUsers", wait=True)

    assert {row["state"] for row in waiting.values()} == {"deferred"}
    assert all(row["due"] > row["at"] and "451 4.7.1" in row["answer"] for row in waiting.values())
    assert (alarm.severity, alarm.message.partition(" ")[2]) == (
        MINOR,
        "were put off; DeliverOutbox tries them again",
    )
    assert early == f"no letter is to be sent now; {everybody} wait"
    assert plan.count("would make: letter to") == everybody
    assert {row["state"] for row in letters(pva).values()} == {"accepted"}
    assert {row["tries"] for row in letters(pva).values()} == {3}
    assert box.recipients() == sorted(waiting)
    listed = beamtime("mail", "outbox", "--site", str(box.site), "--only", "accepted")
    assert len(listed.stdout.splitlines()) == everybody + 1, listed.stderr


def test_a_letter_in_doubt_is_an_alarm_until_somebody_answers(
    standing: tuple[Box, Client], pva: PvaClient
) -> None:
    box, client = standing
    box.set(schedule__on_beam=2, mail__lose_reply=1)
    client.press("UpdateUserInfo", wait=True)

    client.press("EmailUsers")
    assert ended(client, "EmailUsers") is RunState.UNSURE
    until(lambda: client.read("OutboxUnsure") == 1, "the doubt")
    severity = pva.get(f"{PREFIX}Outbox").alarm.severity
    client.write("EmailUsersResolve", "it happened")

    assert severity == MAJOR
    until(lambda: client.read("OutboxUnsure") == 0, "the end of the doubt")
    until(lambda: pva.get(f"{PREFIX}Outbox").alarm.severity == 0, "the end of the alarm")
    assert not [row for row in letters(pva).values() if row["state"] != "accepted"]


def test_a_relay_that_hangs_delays_no_other_action_and_no_record(patient: tuple[Box, Client]) -> None:
    box, client = patient
    box.set(schedule__on_beam=3, mail__hang="connect")
    client.press("UpdateUserInfo", wait=True)
    client.press("EmailUsers")
    until(lambda: any(step.state == "running" for step in client.view("EmailUsers").steps), "a letter")

    client.press("CreateDirectories", wait=True)
    begun_and_ended = client.view("CreateDirectories")
    until(lambda: client.read("LOOP_LATENCY") < BARELY_MS, "a loop that nobody holds up")
    waits = client.view("EmailUsers")
    box.reset()

    assert begun_and_ended.state is RunState.DONE
    assert not waits.state.ended
    assert "made" not in [step.state for step in waits.steps]
    assert (
        ended(client, "EmailUsers") is RunState.PROBLEMS
    )  # the first letter; the others find the relay well
    client.press("EmailUsers", wait=True)
    until(lambda: client.read("OutboxDeferred") == 0, "no letter that waits")


def test_who_is_typed_into_the_record_alone_gets_a_letter_and_the_record_is_cleared(
    standing: tuple[Box, Client],
) -> None:
    box, client = standing
    box.set(schedule__on_beam=4)
    client.press("UpdateUserInfo", wait=True)
    address, before = client.read("UserEmail"), len(box.mails())

    client.write("EmailUsersOnly", f" {address.upper()}")
    client.press("EmailUsers", wait=True)
    until(lambda: client.read("EmailUsersOnly") == "", "an empty choice")

    assert [mail["to"] for mail in box.mails()[before:]] == [address]
    client.press("EmailUsers", wait=True)
    rest = [mail["to"] for mail in box.mails()[before + 1 :]]
    assert len(rest) == client.read("UserCount") - 1
    assert address not in rest
