"""Looks a screen through for what an operator would stumble over."""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from beamtime_ioc.record import Record
from beamtime_ioc.records import RecordSet
from beamtime_ioc.recordtypes import Kind
from beamtime_ioc.screens.widgets import (
    CHARACTER,
    Band,
    Bar,
    Bound,
    Box,
    Choice,
    Entry,
    Glow,
    Grid,
    Link,
    Press,
    Reading,
    Screen,
    Widget,
    Words,
)
from beamtime_ioc.tablefile import TableKind

MENU_ARROW = 20
"""Pixels of a menu that are not its text."""
MACRO = re.compile(r"\$\((\w+)\)")


def lint(screens: Sequence[Screen], records: RecordSet) -> list[str]:
    """What is wrong, a sentence each; empty if all is well."""
    names = {screen.name for screen in screens}
    return [
        f"{screen.name}: {fault}"
        for screen in screens
        for fault in (*_places(screen), *_texts(screen), *_links(screen, names), *_channels(screen, records))
    ]


def _places(screen: Screen) -> Iterator[str]:
    for widget in screen.widgets:
        box = widget.box
        if box.x < 0 or box.y < 0 or box.right > screen.width or box.bottom > screen.height:
            yield f"{_name(widget)} stands outside the display"
        if box.width < 8 or box.height < 8:
            yield f"{_name(widget)} is too small to see"
    seen = [widget for widget in screen.widgets if not isinstance(widget, Band | Glow)]
    for one, other in combinations(seen, 2):
        if one.box.overlaps(other.box):
            yield f"{_name(one)} lies over {_name(other)}"


def _texts(screen: Screen) -> Iterator[str]:
    for widget in screen.widgets:
        text = widget.text if isinstance(widget, Words) else getattr(widget, "label", "")
        shown = MACRO.sub("99bm:Beamtime:"[: 14 if "$(P)" in text else 8], text.replace("$(R)", ""))
        if _width(shown, widget.box) > widget.box.width + 2:
            yield f"{text!r} does not fit into its {widget.box.width} pixels"


def _width(text: str, box: Box) -> float:
    """Of a text in pixels, in the font that MEDM takes for the height of a box."""
    return len(text) * CHARACTER * box.height


def _links(screen: Screen, names: set[str]) -> Iterator[str]:
    for widget in screen.widgets:
        if isinstance(widget, Link) and widget.screen not in names:
            yield f"{_name(widget)} opens {widget.screen}, which is no screen"


def _channels(screen: Screen, records: RecordSet) -> Iterator[str]:
    tables = {table.name: table for table in records.tables}
    for widget in _bound(screen):
        name = records.prefix + widget.channel
        if isinstance(widget, Grid):
            if name not in tables:
                yield f"there is no table {widget.channel}"
            elif tables[name].kind is not TableKind.TABLE:
                yield f"{widget.channel} is a structure, and no table"
        elif name not in records.records:
            yield f"there is no record {widget.channel}"
        elif fault := _misfit(widget, records.records[name]):
            yield fault


def _bound(screen: Screen) -> Iterator[Bound]:
    """What has a channel; of a text that is shown by its lines, each of them too."""
    for widget in screen.widgets:
        if isinstance(widget, Bound):
            yield widget
        if isinstance(widget, Reading) and widget.views:
            yield from widget.rows()


def _misfit(widget: Bound, record: Record) -> str:
    name, states = record.suffix, record.kind is Kind.STATES
    if isinstance(widget, Reading | Entry) and widget.text != (record.kind is Kind.TEXT):
        return f"{name} is {'' if record.kind is Kind.TEXT else 'no '}text, unlike on the screen"
    if isinstance(widget, Entry | Choice | Press) and not record.writable:
        return f"{name} is written by the IOC only: no control for it"
    if isinstance(widget, Choice) and not states:
        return f"{name} has no states: no menu for it"
    if isinstance(widget, Entry) and states:
        return f"{name} has states: a menu for it, no entry"
    if isinstance(widget, Press) and widget.state not in record.states:
        return f"{name} has no state {widget.state!r} to press"
    if isinstance(widget, Bar) and record.kind is not Kind.FLOAT:
        return f"{name} is no number: no bar for it"
    if isinstance(widget, Glow) and not states:
        return f"{name} has no states: nothing shines for it"
    if isinstance(widget, Reading | Choice) and states:
        room = widget.box.width - (MENU_ARROW if isinstance(widget, Choice) else 0)
        if long := [state for state in record.states if _width(state, widget.box) > room]:
            return f"{name}: its state {long[0]!r} does not fit into {room} pixels"
    if isinstance(widget, Reading) and not states and widget.box.width < _width("0000", widget.box):
        return f"{name}: no number fits into {widget.box.width} pixels"
    return ""


def _name(widget: Widget) -> str:
    what = getattr(widget, "channel", "") or getattr(widget, "text", "") or getattr(widget, "label", "")
    return f"{type(widget).__name__.lower()} {what!r}"
