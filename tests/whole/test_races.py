"""Two at once: who presses second is refused in words, and nothing of the first one's is lost or doubled."""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from beamtime_ioc.client import Client
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import RunState
from box_house import PREFIX, Box, Ioc, beamtime, refusal, running, until
from wire_house import pva_context

PUTS = 60


def at_once(ioc: Ioc, presses: Sequence[Callable[[Client], None]]) -> list[str]:
    """Each by a client of its own, all at the same moment; what each was told, empty if it was taken."""
    ready = threading.Barrier(len(presses))

    def press(body: Callable[[Client], None]) -> str:
        with ioc.client() as client:
            client.read("UserName")
            ready.wait(20)
            try:
                body(client)
            except BeamtimeError as error:
                return str(error)
            return ""

    with ThreadPoolExecutor(len(presses)) as pool:
        return list(pool.map(press, presses))


def ended(client: Client, button: str) -> RunState:
    return until(lambda: (state := client.view(button).state).ended and state, f"the end of {button}")


def runs(box: Box, action: str) -> int:
    told = beamtime("history", "--json", "--site", str(box.site)).stdout
    return sum(json.loads(line)["action"] == action for line in told.splitlines())


def test_who_changes_the_experiment_is_alone_whoever_presses_what_meanwhile(
    box: Box, ioc: Ioc, client: Client
) -> None:
    box.set(schedule__on_beam=1)
    client.press("UpdateUserInfo", wait=True)
    box.set(schedule__on_beam=2, schedule__delay_s=1.5, mail__delay_s=1)

    # Four clients press Handover, and one each of the others that change who it is, or work for whom it was.
    others = ("UseManual", "SelectExperiment", "EndBeamtime", "EmailUsers")
    client.write("ManualName", "Sneaky")
    client.write("ExperimentChoice", "300051")
    told = at_once(ioc, [lambda client: client.press("Handover")] * 4)
    running(client, "Handover")
    refused = [refusal(client, button) for button in others]
    handed_over = ended(client, "Handover")
    current = client.read("ExperimentKey")

    assert sorted(map(bool, told)) == [False, True, True, True]
    assert all("Handover runs since" in sentence for sentence in (*filter(None, told), *refused))
    assert handed_over is RunState.DONE
    assert current == "aps:400000002"
    assert runs(box, "handover") == 1
    assert box.recipients() == ["guest.2.a@example.edu", "guest.2.b@example.org"]
    assert len(box.directories()) == 2

    # A letter is under way: the beamtime is not closed, nor another one chosen, over its head.
    box.set(schedule__late_colleague=True, schedule__delay_s=0, mail__delay_s=3)
    client.press("UpdateUserInfo", wait=True)
    client.press("EmailUsers")
    running(client, "EmailUsers")
    refused = [refusal(client, button) for button in ("EndBeamtime", "SelectExperiment", "Handover")]
    assert ended(client, "EmailUsers") is RunState.DONE
    assert all("EmailUsers runs since" in sentence for sentence in refused)
    assert (client.read("ExperimentKey"), client.read("ExperimentOpen")) == ("aps:400000002", "Open")
    assert len(box.recipients()) == len(set(box.recipients())) == 3


def test_knobs_are_turned_while_the_box_dies_and_each_put_ends_truthfully(box: Box, ioc: Ioc) -> None:
    def put(number: int) -> str:
        try:
            pva.put(f"{PREFIX}SimScheduleDelay", 1 + number / 100, timeout=15)
        except Exception as error:  # noqa: BLE001 - p4p's own kind, for a sentence
            return str(error)
        return ""

    with pva_context(ioc.pva) as pva, ThreadPoolExecutor(4) as pool:
        puts = [pool.submit(put, number) for number in range(PUTS)]
        until(lambda: sum(one.done() for one in puts) > PUTS // 4, "the first puts")
        box.program.kill()
        told = [one.result(60) for one in puts]
        until(lambda: pva.get(f"{PREFIX}SimScheduleDelay").alarm.severity == 3, "the loss")
        box.program.start()
        until(lambda: pva.get(f"{PREFIX}SimScheduleDelay").alarm.severity == 0, "the box")
        shown = pva.get(f"{PREFIX}SimScheduleDelay").value
        lasting = put(200)
        turned = box.knobs()["schedule.delay_s"]

    assert "" in told
    assert any(told)
    assert all("start it" in sentence for sentence in told if sentence)  # what to do next
    assert shown == 0  # a box that has begun again has no fault on
    assert (lasting, turned) == ("", 3)
