"""Mirrors against C IOCs: what they cannot hold, cannot take, when they die, and when others write there."""

import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from beamtime_ioc.client import Client
from box_house import until
from link_house import PREFIX, LinkHouse, link_house, rows, until_read

TOMOSCAN = [{"tomoscan": PREFIX}]


@pytest.fixture
def house(tmp_path: Path) -> Generator[LinkHouse]:
    with link_house(tmp_path) as made:
        yield made


@pytest.fixture
def dark_house(tmp_path: Path) -> Generator[LinkHouse]:
    """Its TomoScan has not been started."""
    with link_house(tmp_path, start=False) as made:
        yield made


def state(house: LinkHouse, target: str) -> str:
    return rows(house, "Mirrors")[PREFIX + target]["state"]


def named(client: Client, name: str) -> Client:
    """An experiment with a PI of this name."""
    client.write("UserLastName", name)
    return client


def test_each_way_in_which_a_target_can_be_wrong_has_its_sentence(house: LinkHouse) -> None:
    mirrors = [
        {
            "prefix": PREFIX,
            "records": {
                "ProposalTitle": "ShortTitle",
                "UserLastName": "Number",
                "UserBadge": "Choice",
                "UserName": "Closed",
                "UserEmail": "Locked",
                "UserInstitution": "NoSuchRecord",
                "ProposalNumber": "Spoiled",
            },
        }
    ]
    with house.serve(mirrors=mirrors) as client:
        until_read(client, "MirrorMessage", "no experiment is known yet: nothing is written")
        client.press("UpdateUserInfo", wait=True)

        until_read(client, "MirrorState", "Failed")
        until(lambda: state(house, "NoSuchRecord") == "Failed", "the missing record")
        until(lambda: "Waiting" not in [row["state"] for row in rows(house, "Mirrors").values()], "all tried")
        found = {row["target"].removeprefix(PREFIX): row for row in rows(house, "Mirrors").values()}

        title = client.read("ProposalTitle")
        assert (found["ShortTitle"]["state"], found["ShortTitle"]["found"]) == ("Cut", title[:10])
        assert found["ShortTitle"]["message"].startswith(f"cut to 10 bytes: '{title[:10]}'")
        assert house.tomoscan.text("ShortTitle") == title[:10]
        said = {name: row["message"] for name, row in found.items() if row["state"] == "Failed"}
        assert said["Number"].startswith("it holds a number (LONG), and ")
        assert said["Choice"].startswith("it has states, and no text can be written there")
        assert said["Closed"].startswith("refused to be written (Channel write request failed)")
        assert said["Locked"].startswith("is read-only for us, and shows 'as it was'")
        assert said["NoSuchRecord"].startswith("no record answers under this name, others of its IOC do")
        number = client.read("ProposalNumber")
        assert said["Spoiled"].startswith(f"shows 'spoiled' after '{number}' was written")
        assert len(said) == 6
        assert house.tomoscan.client("get", f"{PREFIX}Spoilings") == 1  # not again and again
        assert house.tomoscan.text("Closed") == house.tomoscan.text("Locked") == "as it was"
        message = client.read("MirrorMessage")
        assert f"{PREFIX}Locked: is read-only for us" in message
        assert message.endswith("and 3 more: see the table Mirrors")

        named(client, "4711")  # a number, which the record can hold
        until(lambda: state(house, "Number") == "Ok", "the number")
        assert house.tomoscan.client("get", f"{PREFIX}Number") == 4711


def test_a_name_is_cut_at_a_character_and_the_alarm_says_what_was_cut(house: LinkHouse) -> None:
    long = "Papadopoúlou-" + "ö" * 40
    with named(house.serve(mirrors=TOMOSCAN), long) as client:
        until_read(client, "MirrorState", "Cut")

        kept = long.encode()[:39].decode(errors="ignore")
        raw = bytes(house.tomoscan.client("get", f"{PREFIX}UserLastName.VAL$"))
        assert raw.rstrip(b"\0") == kept.encode()
        assert client.read("MirrorMessage").startswith(f"{PREFIX}UserLastName: cut to 38 bytes: '{kept}'")
        assert client.read("UserLastName") == long

        named(client, "Papadopoúlou")
        until_read(client, "MirrorState", "Ok")


def test_a_scan_ioc_that_comes_after_us_gets_the_names(dark_house: LinkHouse) -> None:
    with named(dark_house.serve(mirrors=TOMOSCAN), "Early") as client:
        until_read(client, "MirrorMessage", f"{PREFIX} does not answer; it is written when its IOC is back")
        assert client.read("MirrorState") == "Waiting"

        dark_house.tomoscan.start()

        until_read(client, "MirrorState", "Ok")
        assert dark_house.tomoscan.text("UserLastName") == "Early"


def test_a_scan_ioc_that_dies_while_it_is_written_gets_the_names_when_it_is_back(house: LinkHouse) -> None:
    with named(house.serve(mirrors=TOMOSCAN), "Before") as client:
        until_read(client, "MirrorState", "Ok")

        house.tomoscan.signal(signal.SIGSTOP)  # it takes the connection's bytes, and never answers
        named(client, "Between")
        client.press("CreateDirectories", wait=True)  # nobody here waits for it
        house.tomoscan.kill()

        until_read(client, "MirrorMessage", "does not answer")
        named(client, "After")
        house.tomoscan.start()
        until_read(client, "MirrorState", "Ok")
        assert house.tomoscan.text("UserLastName") == "After"


def test_a_target_that_does_not_answer_a_write_is_an_alarm_and_is_tried_again(house: LinkHouse) -> None:
    with named(house.serve(mirrors=TOMOSCAN), "Before") as client:
        until_read(client, "MirrorState", "Ok")

        house.tomoscan.signal(signal.SIGSTOP)
        named(client, "Between")

        until_read(client, "MirrorMessage", "UserLastName: did not answer within 10 s; look at its IOC")
        assert client.read("MirrorState") == "Failed"
        house.tomoscan.signal(signal.SIGCONT)
        named(client, "After")
        until_read(client, "MirrorState", "Ok")
        assert house.tomoscan.text("UserLastName") == "After"


def test_what_somebody_else_writes_is_put_right_once_and_then_left_with_an_alarm(house: LinkHouse) -> None:
    with named(house.serve(mirrors=TOMOSCAN), "Ours") as client:
        until_read(client, "MirrorState", "Ok")

        house.tomoscan.put("UserLastName", "Theirs")

        until_read(client, "MirrorMessage", "was changed elsewhere to 'Theirs', and written again")
        assert client.read("MirrorState") == "Changed"
        assert house.tomoscan.text("UserLastName") == "Ours"

        house.tomoscan.put("UserLastName", "Theirs again")
        until_read(client, "MirrorMessage", "changed elsewhere to 'Theirs again' once more; left so")
        assert house.tomoscan.text("UserLastName") == "Theirs again"

        named(client, "Next")  # another experiment is written in any case, and the alarm is over
        until_read(client, "MirrorState", "Ok")
        assert house.tomoscan.text("UserLastName") == "Next"


def test_what_stands_there_already_is_not_written_again(house: LinkHouse) -> None:
    client = named(house.serve(mirrors=TOMOSCAN), "Same")
    with client:
        until_read(client, "MirrorState", "Ok")
        assert house.tomoscan.client("get", f"{PREFIX}Writes") == 1
        assert house.started[-1].stop() == 0

    with house.serve(mirrors=TOMOSCAN) as again:  # the row of the state database is mirrored at once
        until_read(again, "MirrorState", "Ok")
        assert house.tomoscan.client("get", f"{PREFIX}Writes") == 1
        named(again, "Other")
        until(lambda: house.tomoscan.text("UserLastName") == "Other", "the other name")
        assert house.tomoscan.client("get", f"{PREFIX}Writes") == 2


def test_a_record_that_comes_back_with_another_type_is_mirrored_in_that(
    house: LinkHouse, tmp_path: Path
) -> None:
    long = "Papadopoúlou-" + "ö" * 40
    with named(
        house.serve(mirrors=[{"prefix": PREFIX, "records": {"UserLastName": "Surname"}}]), long
    ) as client:
        until_read(client, "MirrorState", "Waiting")
        house.tomoscan.kill()
        for kind, wanted in (
            ("stringout, {}", "Cut"),
            ('waveform, {field(FTVL, "CHAR") field(NELM, "100")}', "Ok"),
        ):
            name, _, fields = kind.partition(", ")
            house.tomoscan.db = tmp_path / f"{name}.db"
            house.tomoscan.db.write_text(f'record({name}, "$(P)Surname") {fields}')

            house.tomoscan.start()

            until_read(client, "MirrorState", wanted)
            if wanted == "Ok":
                raw = bytes(house.tomoscan.client("get", f"{PREFIX}Surname"))
                assert raw.rstrip(b"\0") == long.encode()
            house.tomoscan.kill()
            until_read(client, "MirrorState", "Waiting")


def test_three_iocs_follow_and_one_that_is_dead_costs_one_alarm(tmp_path: Path) -> None:
    with link_house(tmp_path, tomoscans=3) as house:
        prefixes = [one.prefix for one in house.tomoscans]
        with named(house.serve(mirrors=[{"tomoscan": one} for one in prefixes]), "All") as client:
            until_read(client, "MirrorState", "Ok")
            assert [one.text("UserLastName") for one in house.tomoscans] == ["All"] * 3

            house.tomoscans[1].kill()
            until_read(client, "MirrorState", "Waiting")
            named(client, "Two")

            until(lambda: house.tomoscans[0].text("UserLastName") == "Two", "the first")
            until(lambda: house.tomoscans[2].text("UserLastName") == "Two", "the last")
            assert client.read("MirrorMessage").splitlines() == [
                f"{prefixes[1]} does not answer; it is written when its IOC is back: "
                "start it, or look at its host"
            ]


def test_the_ioc_ends_within_a_second_while_its_neighbours_hang(house: LinkHouse) -> None:
    mirrors = [*TOMOSCAN, {"tomoscan": "99bm:Nobody:"}]
    with named(house.serve(mirrors=mirrors), "Before") as client:
        until(lambda: house.tomoscan.text("UserLastName") == "Before", "the name")
        house.tomoscan.signal(signal.SIGSTOP)
        named(client, "Between")
    program = house.started[-1].program

    program.child.send_signal(signal.SIGTERM)

    assert program.child.wait(1) == 0
