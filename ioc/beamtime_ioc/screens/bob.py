"""A screen as Phoebus reads it: `.bob`, version 2."""

from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from beamtime_ioc.screens.widgets import (
    Band,
    Bar,
    Box,
    Choice,
    Entry,
    Glow,
    Grid,
    Link,
    Paint,
    Press,
    Reading,
    Screen,
    Widget,
    Words,
)

END = ".bob"
STRING = "6"
"""Phoebus' number of the format in which an array of characters is text."""


def write_bob(screen: Screen) -> str:
    """The file's text."""
    display = ET.Element("display", version="2.0.0")
    _add(display, name=screen.title, width=screen.width, height=screen.height)
    _colour(display, "background_color", Paint.GROUND)
    for number, widget in enumerate(screen.widgets):
        display.append(WRITERS[type(widget)](widget, number))
    ET.indent(display)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(display, encoding="unicode") + "\n"


def _widget(kind: str, number: int, box: Box, version: str = "2.0.0", **words: object) -> ET.Element:
    made = ET.Element("widget", type=kind, version=version)
    _add(made, name=f"{kind} {number}", x=box.x, y=box.y, width=box.width, height=box.height, **words)
    return made


def _add(parent: ET.Element, **words: object) -> None:
    for name, value in words.items():
        child = ET.SubElement(parent, name)
        child.text = str(value).lower() if isinstance(value, bool) else str(value)


def _colour(parent: ET.Element, name: str, paint: Paint) -> None:
    red, green, blue = paint.rgb
    ET.SubElement(ET.SubElement(parent, name), "color", red=f"{red}", green=f"{green}", blue=f"{blue}")


def _font(parent: ET.Element, box: Box, *, bold: bool = False, lines: int = 1) -> None:
    size = max(11.0, round(0.62 * box.height / lines, 1))
    style = "BOLD" if bold else "REGULAR"
    ET.SubElement(
        ET.SubElement(parent, "font"), "font", family="Liberation Sans", style=style, size=f"{size}"
    )


def _channel(name: str) -> str:
    return f"$(P)$(R){name}"


def _words(widget: Words, number: int) -> ET.Element:
    made = _widget("label", number, widget.box, text=widget.text, vertical_alignment=1)
    if widget.right:
        _add(made, horizontal_alignment=2)
    _font(made, widget.box, bold=widget.paint is Paint.WHITE)
    _colour(made, "foreground_color", widget.paint)
    return made


def _band(widget: Band, number: int) -> ET.Element:
    made = _widget("rectangle", number, widget.box, line_width=0)
    _colour(made, "background_color", widget.paint)
    return made


def _glow(widget: Glow, number: int) -> ET.Element:
    made = _widget("rectangle", number, widget.box, line_width=2, transparent=True)
    _colour(made, "line_color", widget.paint)
    rule = ET.SubElement(
        ET.SubElement(made, "rules"), "rule", name="at work", prop_id="visible", out_exp="false"
    )
    _add(ET.SubElement(rule, "exp", bool_exp="pv0 == 0"), value=False)
    _add(rule, pv_name=_channel(widget.channel))
    return made


def _reading(widget: Reading, number: int) -> ET.Element:
    made = _widget("textupdate", number, widget.box, pv_name=_channel(widget.channel))
    _add(made, wrap_words=widget.lines > 1, border_alarm_sensitive=widget.alarm)
    _add(made, vertical_alignment=1 if widget.lines == 1 else 0)
    if widget.text:
        _add(made, format=STRING)
    _font(made, widget.box, lines=widget.lines)
    _colour(made, "foreground_color", Paint.VALUE)
    _colour(made, "background_color", Paint.WELL)
    return made


def _entry(widget: Entry, number: int) -> ET.Element:
    made = _widget("textentry", number, widget.box, version="3.0.0", pv_name=_channel(widget.channel))
    if widget.text:
        _add(made, format=STRING)
    _font(made, widget.box)
    _colour(made, "background_color", Paint.ENTRY)
    return made


def _choice(widget: Choice, number: int) -> ET.Element:
    made = _widget("combo", number, widget.box, pv_name=_channel(widget.channel), items_from_pv=True)
    _font(made, widget.box)
    _colour(made, "background_color", Paint.ENTRY)
    return made


def _press(widget: Press, number: int) -> ET.Element:
    made = _widget("action_button", number, widget.box, version="3.0.0", pv_name=_channel(widget.channel))
    _add(made, text=widget.label)
    action = ET.SubElement(ET.SubElement(made, "actions"), "action", type="write_pv")
    _add(action, pv_name="$(pv_name)", value=widget.state, description=widget.label)
    if widget.question:
        _add(made, show_confirm_dialog=True, confirm_message=widget.question)
    _font(made, widget.box)
    _colour(made, "background_color", Paint.ENTRY)
    return made


def _bar(widget: Bar, number: int) -> ET.Element:
    made = _widget("progressbar", number, widget.box, pv_name=_channel(widget.channel))
    _add(made, limits_from_pv=False, minimum=0, maximum=100)
    _colour(made, "fill_color", Paint.BAR)
    return made


def _grid(widget: Grid, number: int) -> ET.Element:
    return _widget("table", number, widget.box, pv_name=f"pva://{_channel(widget.channel)}", editable=False)


def _link(widget: Link, number: int) -> ET.Element:
    made = _widget("action_button", number, widget.box, version="3.0.0", text=widget.label)
    action = ET.SubElement(ET.SubElement(made, "actions"), "action", type="open_display")
    _add(action, file=f"{widget.screen}{END}", target="window", description=widget.label)
    macros = ET.SubElement(action, "macros")
    for name, value in (("P", "$(P)"), ("R", "$(R)")):
        ET.SubElement(macros, name).text = value
    _font(made, widget.box)
    _colour(made, "foreground_color", Paint.WHITE)
    _colour(made, "background_color", Paint.TITLE)
    return made


WRITERS: Mapping[type[Widget], Callable[[Any, int], ET.Element]] = {
    Words: _words,
    Band: _band,
    Glow: _glow,
    Reading: _reading,
    Entry: _entry,
    Choice: _choice,
    Press: _press,
    Bar: _bar,
    Grid: _grid,
    Link: _link,
}
