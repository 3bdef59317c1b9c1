"""Tables and structures over PVAccess, as pvxs clients see them."""

import queue
import time
from dataclasses import replace
from typing import Any

import pytest
from p4p.client.thread import RemoteError
from p4p.nt import NTURI, NTTable

from beamtime_ioc.alarm import QUIET, UNDEFINED, Alarm, Severity, Status
from beamtime_ioc.board import Row, StructureCell
from wire_house import PREFIX, PvaClient, Wire, pva_context

CATS, CATTERY = f"{PREFIX}Cats", f"{PREFIX}Cattery"
TOM: Row = ("Tom", 1, 4, 2**40, 4.5)
ZOE: Row = ("Zoë 🐈", 0, 3, -1, 3.25)


def fill(wire: Wire, *rows: Row, alarm: Alarm | None = None) -> None:
    wire.do(lambda: wire.board.tables[CATS].set(rows, alarm))


def columns(value: Any) -> dict[str, list[Any]]:
    return {name: list(column) for name, column in value.value.items()}


def test_a_table_is_a_normative_table_with_labels_columns_description_time_and_alarm(
    wire: Wire, pva: PvaClient
) -> None:
    before = time.time()
    fill(wire, TOM, ZOE, alarm=Alarm(Severity.MINOR, Status.STATE, "a cat is missing"))

    found = pva.get(CATS)

    assert found.getID() == "epics:nt/NTTable:1.0"
    assert list(found.labels) == ["Name", "Asleep", "Legs", "Hairs", "Weight [kg]"]
    assert columns(found) == {
        "name": ["Tom", "Zoë 🐈"],
        "asleep": [True, False],
        "legs": [4, 3],
        "hairs": [2**40, -1],
        "weight": [4.5, 3.25],
    }
    types = dict(found.value.type().items())
    assert types == {"name": "as", "asleep": "a?", "legs": "ai", "hairs": "al", "weight": "ad"}
    assert found.descriptor == "Cats on the floor"
    assert (found.alarm.severity, found.alarm.message) == (1, "a cat is missing")
    assert before - 1 <= found.timeStamp.secondsPastEpoch <= time.time()


def test_a_client_with_wrappers_gets_rows(wire: Wire) -> None:
    fill(wire, TOM, ZOE)

    with pva_context(wire.pva.port, plain=False) as client:
        rows = NTTable.unwrap(client.get(CATS))

    assert [(row["name"], row["weight"]) for row in rows] == [("Tom", 4.5), ("Zoë 🐈", 3.25)]


def test_a_monitor_gets_every_new_table_also_an_empty_one(wire: Wire, pva: PvaClient) -> None:
    posts: queue.Queue[Any] = queue.Queue()
    subscription = pva.monitor(CATS, posts.put)
    lengths = [len(posts.get(timeout=10).value.name)]

    for rows in ((TOM,), (TOM, ZOE), ()):
        fill(wire, *rows)
        lengths.append(len(posts.get(timeout=10).value.name))
    subscription.close()

    assert lengths == [0, 1, 2, 0]


def test_rows_above_the_size_of_the_table_are_left_out(wire: Wire, pva: PvaClient) -> None:
    fill(wire, TOM, ZOE, TOM, ZOE)

    assert columns(pva.get(CATS))["name"] == ["Tom", "Zoë 🐈", "Tom"]


def test_a_put_to_a_table_is_refused_in_words(wire: Wire, pva: PvaClient) -> None:
    fill(wire, TOM)

    with pytest.raises(RemoteError, match="Cats is written by the IOC only; read it"):
        pva.put(CATS, {"value.name": ["Rex"]}, timeout=5)
    with pytest.raises(RemoteError, match="Cats takes no RPC"):
        pva.rpc(CATS, NTURI([]).wrap(CATS, ()), timeout=5)

    assert columns(pva.get(CATS))["name"] == ["Tom"]


def test_a_text_that_is_no_unicode_is_shown_all_the_same(wire: Wire, pva: PvaClient) -> None:
    fill(wire, ("a\udcffb", 0, 1, 1, 1.0))

    assert columns(pva.get(CATS))["name"] == ["a?b"]


# -- structures -------------------------------------------------------------------------------------------

HOUSE = {"street": "Straße 1", "open": 1, "rooms": 7, "colour": "not shown"}
LIVE_THERE = [
    {"name": "Tom", "weight": 4.5, "tame": 1},
    {"name": "x" * 300, "weight": 3.25, "tame": 0},
    {"name": "too much", "weight": 1.0, "tame": 0},
]


def test_a_structure_has_its_fields_its_lists_alarm_and_time(wire: Wire, pva: PvaClient) -> None:
    before = time.time()
    alarm = Alarm(Severity.MINOR, Status.STATE, "a cat is missing")
    wire.do(lambda: wire.board.structures[CATTERY].fill([{**HOUSE, "cats": LIVE_THERE}], alarm))

    found = pva.get(CATTERY)

    assert found.getID() == "beamtime:Cattery/1.0"
    assert (found.street, found.open, found.rooms) == ("Straße 1", True, 7)
    assert [(cat.name, cat.weight, cat.tame) for cat in found.cats] == [
        ("Tom", 4.5, True),
        ("x" * 300, 3.25, False),
    ]
    assert (found.alarm.severity, found.alarm.message) == (1, "a cat is missing")
    assert before - 1 <= found.timeStamp.secondsPastEpoch <= time.time()


def test_a_structure_of_which_nothing_is_known_is_empty_and_undefined(wire: Wire, pva: PvaClient) -> None:
    wire.do(lambda: wire.board.structures[CATTERY].fill([{**HOUSE, "cats": LIVE_THERE}], QUIET))
    wire.do(lambda: wire.board.structures[CATTERY].fill([], UNDEFINED))

    found = pva.get(CATTERY)

    assert (found.street, found.rooms, list(found.cats)) == ("", 0, [])
    assert (found.alarm.severity, found.alarm.status) == (3, 17)


def test_a_put_to_a_structure_is_refused_in_words(wire: Wire, pva: PvaClient) -> None:
    with pytest.raises(RemoteError, match="Cattery is written by the IOC only; read it"):
        pva.put(CATTERY, {"street": "here"}, timeout=5)


def test_rows_by_the_thousand_are_shown(wire: Wire, pva: PvaClient) -> None:
    many = [{"name": f"{number} é", "weight": 1.0, "tame": 0} for number in range(5000)]
    cell = wire.board.structures[CATTERY]
    whole = replace(cell.table, rows=5000)
    wire.do(lambda: cell.set(StructureCell.arranged(whole, [{**HOUSE, "cats": many}])))

    found = pva.get(CATTERY)

    assert [cat.name for cat in found.cats][::1000] == ["0 é", "1000 é", "2000 é", "3000 é", "4000 é"]
