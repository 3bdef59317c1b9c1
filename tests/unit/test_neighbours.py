"""What a site file may say of other IOCs, and the line of what it may not."""

from pathlib import Path

import pytest

from beamtime_ioc.config import read_site_file
from beamtime_ioc.equipment import load_site_records
from beamtime_ioc.errors import SiteFileError
from beamtime_ioc.registry import load_actions

FRAME = """\
prefix: "99bm:Beamtime:"
beamline: "99-BM-A,B"
timezone: America/Chicago
places: [{name: det1, top: /data}]
"""
LINE = FRAME.count("\n") + 1


def read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(FRAME + text, encoding="utf-8")
    load_site_records(read_site_file(path), load_actions())


@pytest.mark.parametrize(
    "text",
    [
        'mirrors: [{tomoscan: "99bm:TomoScan:"}]',
        'mirrors: [{prefix: "a:", records: {UserLastName: Surname}}, {records: {UserName: "b:First"}}]',
        'interlocks: [{pv: "99bm:TomoScan:StartScan", idle: [0, Done], why: a scan runs}]',
        'interlocks: [{pv: "a:State.RVAL", idle: [1.5, "Off"]}]',
        'consumers: [{area_detector: "99bm:HDF1:", place: det1, map: {"X:": /data}}]',
        'consumers: [{path: "a:Path", exists: "a:There", name: a, place: det1}]',
        "mirrors: []",
    ],
)
def test_what_is_meant_is_read(tmp_path: Path, text: str) -> None:
    read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('mirrors: [{tomoscan: "99bm:Beamtime:"}]', "is our own prefix; name that of another IOC"),
        ("mirrors: [{}]", "either tomoscan: alone, or records:"),
        ('mirrors: [{tomoscan: "a:", records: {UserName: b}}]', "either tomoscan: alone"),
        ('mirrors: [{tomoscan: "a:", prefix: "b:"}]', "either tomoscan: alone"),
        ('mirrors: [{tomo_scan: "a:"}]', "unknown key; allowed are tomoscan, prefix, records"),
        ('mirrors: [{tomoscan: "a b:"}]', "'a b:' is no name of a record"),
        ('mirrors: [{prefix: "a:", records: {UserName: ""}}]', "the name of the record there is missing"),
        (
            'mirrors: [{prefix: "a:", records: {Username: b}}]',
            "no identity record has this name; these are: ",
        ),
        ('mirrors: [{prefix: "a:", records: {EngineState: b}}]', "no identity record has this name"),
        ('interlocks: [{pv: "a:S", idle: []}]', "at least 1 item"),
        ('interlocks: [{pv: "a:S", idle: [Off]}]', 'put it in quotes, such as "Off"'),
        ('interlocks: [{pv: "", idle: [0]}]', "at least 1 character"),
        ("interlocks: [{idle: [0]}]", "pv: is missing"),
        ('interlocks: [{pv: "a:S\\nb", idle: [0]}]', "is no name of a record"),
        ('consumers: [{area_detector: "a:", place: det2}]', "there is no place 'det2'; these are: det1"),
        ("consumers: [{place: det1}]", "needs one of area_detector, tomoscan and path"),
        ('consumers: [{path: p, tomoscan: "a:", place: det1}]', "needs one of"),
        ('consumers: [{tomoscan: "a:", exists: e, place: det1}]', "exists: goes with path:"),
        ("consumers: [{path: p, place: det1, map: {data: /data}}]", "is no pair of full paths"),
        ("consumers: [{path: p, place: det1, map: {/data: data}}]", "is no pair of full paths"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SiteFileError) as caught:
        read(tmp_path, text)

    assert said in str(caught.value)
    assert caught.value.line == LINE
