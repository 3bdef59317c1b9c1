"""A button with what stands beside it, as blocks of widgets."""

from collections.abc import Sequence
from dataclasses import dataclass

from beamtime_ioc.record import Record
from beamtime_ioc.records import ActionRow
from beamtime_ioc.screens.fitting import brief, press, reading, spoken, value_widget
from beamtime_ioc.screens.widgets import Band, Bar, Box, Choice, Entry, Glow, Link, Widget, Words

LINE, SMALL, TEXT, GAP, DETAILS = 20, 18, 15, 4, 64
NEXT = 40
"""Width of the word before the advice."""
QUESTION = "Is it armed for the right experiment?"


@dataclass(frozen=True)
class Block:
    """Widgets, and where they end."""

    widgets: Sequence[Widget]
    bottom: int


def screen_of(row: ActionRow) -> str:
    """The name of the screen that shows all of one action: `beamtime_begin_beamtime`."""
    return f"beamtime_{row.action.replace('-', '_')}"


def question_of(row: ActionRow) -> str:
    """Asked before a press that has to be armed, where the screen can ask."""
    return QUESTION if "arm" in row.parts else ""


def action_block(row: ActionRow, x: int, top: int, width: int) -> Block:
    """What can be done and how it stands; who pressed; what happened; what to do next."""
    y = top + GAP
    widgets = [*_controls(row, x, y)]
    y += LINE + GAP
    if "arm" in row.parts:
        widgets += _arming(row, x, y)
        y += LINE + GAP
    for word, indent in (("message", 0), ("advice", NEXT)):
        record = row.parts[word]
        lines = record.lines[0] if record.lines else 1
        if indent:
            widgets.append(Words(box=Box(x, y, indent - GAP, TEXT), text="Next"))
        widgets += brief(record, Box(x + indent, y, width - indent, TEXT * lines), lines=lines)
        y += TEXT * lines + 2
    details = Box(x + width - DETAILS, y, DETAILS, SMALL)
    who = (width - DETAILS) * 2 // 5
    widgets += [
        reading(row.parts["step"], Box(x, y, width - DETAILS - who - 2 * GAP, SMALL)),
        reading(row.parts["started-by"], Box(details.x - who - GAP, y, who, SMALL)),
        Link(box=details, label="Details", screen=screen_of(row)),
    ]
    y += SMALL + GAP
    around = Box(x - GAP, top, width + 2 * GAP, y - top)
    return Block([Band(box=around), Glow(box=around, channel=row.button.suffix), *widgets], y)


def _controls(row: ActionRow, x: int, y: int) -> Sequence[Widget]:
    def box(offset: int, wide: int) -> Box:
        return Box(x + offset, y, wide, LINE)

    parts, button = row.parts, row.button
    return [
        press(button, box(0, 170), spoken(button.suffix), question_of(row)),
        reading(parts["state"], box(175, 78), alarm=True),
        Bar(box=box(257, 40), channel=parts["percent"].suffix),
        reading(parts["percent"], box(301, 42)),
        press(parts["preview"], box(348, 72), "Preview"),
        press(parts["abort"], box(428, 56), "Abort"),
        *(_resolving(parts["resolve"], box(490, 190)) if "resolve" in parts else ()),
    ]


def _resolving(record: Record, box: Box) -> Sequence[Widget]:
    label = Box(box.x, box.y, 68, box.height)
    return [
        Words(box=label, text="Resolve"),
        Choice(box=Box(label.right, box.y, box.right - label.right, box.height), channel=record.suffix),
    ]


def _arming(row: ActionRow, x: int, y: int) -> Sequence[Widget]:
    arm = row.parts["arm"]
    widgets: list[Widget] = [
        Words(box=Box(x, y, 240, LINE), text="type its experiment to arm"),
        Entry(box=Box(x + 245, y, 320, LINE), channel=arm.suffix, text=True),
    ]
    if "armed" in row.parts:
        widgets.append(reading(row.parts["armed"], Box(x + 570, y, 110, LINE), alarm=True))
    return widgets


def part_widgets(row: ActionRow, record: Record, box: Box, lines: int) -> Sequence[Widget]:
    """One part on the screen of its action."""
    short = Box(box.x, box.y, 170, box.height)
    if record is row.button:
        return [press(record, short, spoken(record.suffix), question_of(row))]
    if record.action or any(f"beamtime:{word}" in record.info for word in ("preview", "abort")):
        return [press(record, short, record.states[1])]
    if record is row.parts["percent"]:
        bar = Bar(box=Box(box.x + 60, box.y, 200, box.height), channel=record.suffix)
        return [reading(record, Box(box.x, box.y, 55, box.height)), bar]
    if record.report:
        return [reading(record, box, alarm=record is row.parts["state"], lines=lines)]
    return [value_widget(record, box, lines=lines)]
