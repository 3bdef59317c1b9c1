"""A Thursday at the beamline: a late colleague joins, and nobody else hears of it."""

from beamtime_ioc.client import Client
from beamtime_ioc.model import RunState
from box_house import PREFIX, Box, Ioc, until
from wire_house import PvaClient, pva_context

LATE = "nima.nachzuegler@example.edu"


def users(pva: PvaClient) -> list[str]:
    return list(pva.get(f"{PREFIX}Users").value.todict()["email"])


def plan_of_letters(client: Client) -> list[str]:
    client.press("EmailUsersPreview", wait=True)
    return client.read("EmailUsersPlan").splitlines()


def test_thursday(box: Box, ioc: Ioc) -> None:
    with ioc.client() as client, pva_context(ioc.pva) as pva:
        client.press("BeginBeamtime", wait=True)
        before, count = box.recipients(), client.read("UserCount")
        assert LATE not in users(pva)

        # She stands in the schedule now; that alone mails nobody and changes no record.
        box.set(schedule__late_colleague=True)
        counted = f"read: {len(before)} letters: 0 new, {len(before)} already mailed; 1 without address"
        assert counted in plan_of_letters(client)
        client.press("UpdateUserInfo", wait=True)
        until(lambda: LATE in users(pva), "her row in the table")
        until(lambda: client.read("UserCount") == count + 1, "one more in the count")

        # The plan says whom it would mail, and mails nobody.
        plan = plan_of_letters(client)
        assert [line for line in plan if line.startswith("would make")] == [
            line for line in plan if f"letter to {LATE}" in line
        ]
        assert len([line for line in plan if line.startswith("stands already: letter to ")]) == len(before)
        counted = f"read: {len(before) + 1} letters: 1 new, {len(before)} already mailed; 1 without address"
        assert counted in plan
        assert box.recipients() == before

        # Only the new one gets a letter, and pressed once more not even she.
        client.press("EmailUsers", wait=True)
        assert client.view("EmailUsers").state is RunState.DONE
        assert box.recipients() == sorted([*before, LATE])
        client.press("EmailUsers", wait=True)
        assert box.recipients() == sorted([*before, LATE])
        assert client.read("ExperimentName") == box.directories()[0].name
