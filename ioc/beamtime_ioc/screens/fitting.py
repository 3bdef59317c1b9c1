"""Which widget fits a record."""

from collections.abc import Sequence
from dataclasses import replace

from beamtime_ioc.identity import EDITABLE
from beamtime_ioc.record import Record
from beamtime_ioc.recordtypes import Kind
from beamtime_ioc.screens.widgets import Bound, Box, Choice, Entry, Press, Reading

MENU_WIDTH = 160
AT_REST = "Done"
"""Of what goes back by itself after a press."""


def value_widget(record: Record, box: Box, *, lines: int = 1) -> Bound:
    """A menu for what has states, a button for what is asked, an entry for what is typed, or the value."""
    ask = record.info.get("beamtime:ask")
    typed = record.field is None or record.field in EDITABLE
    if not record.writable or not typed or ask == "resolve":
        return reading(record, box, alarm=means_alarm(record), lines=lines)
    narrow = Box(box.x, box.y, min(box.width, MENU_WIDTH), box.height)
    if ask and record.states[:1] == (AT_REST,):
        return press(record, narrow, record.states[1])
    if record.kind is Kind.STATES:
        return Choice(box=narrow, channel=record.suffix)
    return Entry(
        box=Box(box.x, box.y, box.width, box.height // lines), channel=record.suffix, text=is_text(record)
    )


def means_alarm(record: Record) -> bool:
    """Has one of its states, or the numbers beyond its limits, a severity; or does its file say so?"""
    if record.info.get("beamtime:alarm") == "yes":
        return True
    if record.kind is Kind.STATES:
        return any(severity != "NO_ALARM" for severity in record.severities)
    return any(name in record.fields for name in ("HSV", "HHSV", "LSV", "LLSV"))


def is_text(record: Record) -> bool:
    return record.kind is Kind.TEXT


def reading(record: Record, box: Box, *, alarm: bool = False, lines: int = 1) -> Reading:
    """Its value, line by line where the record has its lines beside it."""
    views = record.lines is not None and 1 < lines <= record.lines[0]
    return Reading(
        box=box, channel=record.suffix, alarm=alarm, text=is_text(record), lines=lines, views=views
    )


def brief(record: Record, box: Box, *, alarm: bool = False, lines: int = 1) -> Sequence[Reading]:
    """The beginning of a text, in whole lines on every screen."""
    views = record.lines is not None and lines <= record.lines[0]
    return replace(reading(record, box, alarm=alarm, lines=lines), views=views).rows()


def press(record: Record, box: Box, label: str, question: str = "") -> Press:
    return Press(box=box, channel=record.suffix, label=label, state=record.states[1], question=question)


def spoken(name: str) -> str:
    """`CreateDirectories` as words: `Create Directories`."""
    return "".join(
        f" {c}" if c.isupper() and at and not name[at - 1].isupper() else c for at, c in enumerate(name)
    )
