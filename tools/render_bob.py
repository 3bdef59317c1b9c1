"""Draw Phoebus' screens without Phoebus, against an IOC that serves: each widget as PyDM's or Qt's nearest.

    render_bob.py SCREENS PICTURES P R [NAME=VALUE ...]

EPICS_CA_ADDR_LIST and EPICS_PVA_ADDR_LIST say where the IOC is. No Phoebus: the files are read as XML.
Places, texts, values, tables and colours are seen; what Phoebus itself makes of them is not.
"""
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false

import os
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from picture import save_all

ALARM_FRAMES = "".join(
    f"*[alarmSeverity='{number}'] {{ border: 2px solid {ink}; }}"
    for number, ink in {1: "gold", 2: "red", 3: "magenta"}.items()
)
"""As Phoebus frames what is sensitive to alarms."""


def colour(widget: ET.Element, name: str, default: str) -> str:
    found = widget.find(f"{name}/color")
    if found is None:
        return default
    return f"rgb({found.get('red')}, {found.get('green')}, {found.get('blue')})"


def number(widget: ET.Element, name: str, default: int = 0) -> int:
    return int(widget.findtext(name, str(default)))


class Painter:
    """Makes the widgets of one file, with the macros filled in."""

    def __init__(self, macros: dict[str, str]) -> None:
        self.macros = macros
        self.channels: list[Any] = []

    def text(self, widget: ET.Element, name: str) -> str:
        return re.sub(r"\$\((\w+)\)", lambda m: self.macros.get(m[1], m[0]), widget.findtext(name, ""))

    def draw(self, path: Path) -> Any:
        from qtpy.QtWidgets import QFrame

        root = ET.parse(path).getroot()
        page = QFrame()
        page.resize(number(root, "width"), number(root, "height"))
        page.setStyleSheet(f"QFrame#page {{ background: {colour(root, 'background_color', 'white')}; }}")
        page.setObjectName("page")
        for widget in root.findall("widget"):
            made = self.make(widget, page)
            made.setGeometry(*(number(widget, side) for side in ("x", "y", "width", "height")))
            made.show()
            if widget.find("rules") is not None:
                self.hide(widget, made)
            if widget.get("type") in ("table", "progressbar") or widget.findtext("transparent") == "true":
                continue
            framed = widget.findtext("border_alarm_sensitive") == "true"
            font = widget.find("font/font")
            size = float(font.get("size", "12")) if font is not None else 12
            bold = "bold" if font is not None and font.get("style") == "BOLD" else "normal"
            ink = colour(widget, "foreground_color", "black")
            ground = colour(widget, "background_color", "transparent")
            inset = 0 if widget.get("type") == "label" else 3
            made.setStyleSheet(
                f"* {{ font-family: 'Liberation Sans'; font-size: {size}px; font-weight: {bold};"
                f" color: {ink}; background: {ground}; border: none; padding: 0 {inset}px; }}"
                + (ALARM_FRAMES if framed else "")
            )
        return page

    def hide(self, widget: ET.Element, made: Any) -> None:
        """The one rule that our screens have: seen while a record is not 0."""
        from pydm.widgets.channel import PyDMChannel

        rule = widget.find("rules/rule")
        assert rule is not None
        assert rule.find("exp[@bool_exp='pv0 == 0']") is not None, "no other rule is known here"
        channel = PyDMChannel(
            f"ca://{self.text(rule, 'pv_name')}", value_slot=lambda value: made.setVisible(value != 0)
        )
        made.setVisible(False)
        self.channels.append(channel)
        channel.connect()

    def make(self, widget: ET.Element, page: Any) -> Any:
        from pydm.widgets import PyDMEnumComboBox, PyDMLabel, PyDMLineEdit, PyDMScaleIndicator
        from qtpy.QtCore import Qt
        from qtpy.QtWidgets import QFrame, QLabel, QPushButton

        kind, channel = widget.get("type"), self.text(widget, "pv_name")
        if kind == "rectangle":
            made = QFrame(page)
            if widget.findtext("transparent") == "true":
                made.setStyleSheet(f"border: 2px solid {colour(widget, 'line_color', 'black')};")
            return made
        if kind == "action_button":
            return QPushButton(self.text(widget, "text"), page)
        if kind == "table":
            return table(channel.removeprefix("pva://"), page)
        if kind == "label":
            made = QLabel(self.text(widget, "text"), page)
            side = Qt.AlignRight if number(widget, "horizontal_alignment") == 2 else Qt.AlignLeft
            made.setAlignment(side | Qt.AlignVCenter)
            return made
        made = {
            "textupdate": PyDMLabel,
            "textentry": PyDMLineEdit,
            "combo": PyDMEnumComboBox,
            "progressbar": PyDMScaleIndicator,
        }[str(kind)](parent=page, init_channel=f"ca://{channel}")
        if widget.findtext("format") == "6":
            made.displayFormat = 1  # String
        if kind == "progressbar":
            made.showValue = made.showUnits = made.showLimits = made.showTicks = False
            made.barIndicator, made.limitsFromChannel = True, False
            made.userUpperLimit, made.userLowerLimit = 100, 0
            from qtpy.QtGui import QColor

            made.indicatorColor = QColor(*map(int, re.findall(r"\d+", colour(widget, "fill_color", ""))))
            made.backgroundColor = QColor("lightgray")
        if kind == "textupdate":
            up = Qt.AlignTop if widget.findtext("vertical_alignment") == "0" else Qt.AlignVCenter
            made.setAlignment(Qt.AlignLeft | up)
            made.setWordWrap(widget.findtext("wrap_words") == "true")
            made.alarmSensitiveBorder = widget.findtext("border_alarm_sensitive") == "true"
        return made


def table(name: str, page: Any) -> Any:
    """A table of PVAccess as it is now; a structure as its fields."""
    from p4p.client.thread import Context
    from qtpy.QtWidgets import QTableWidget, QTableWidgetItem

    with Context("pva") as context:
        found: Any = context.get(name, timeout=10)
    value = getattr(found, "raw", found)
    labels, columns = list(value["labels"]), [list(column) for column in value["value"].todict().values()]
    made = QTableWidget(len(columns[0]) if columns else 0, len(columns), page)
    made.setHorizontalHeaderLabels(labels)
    for at, column in enumerate(columns):
        for row, cell in enumerate(column):
            made.setItem(row, at, QTableWidgetItem(str(cell)))
    made.resizeColumnsToContents()
    return made


def main(screens: Path, pictures: Path, macros: dict[str, str]) -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("PYDM_EPICS_LIB", "pyepics")
    from pydm import PyDMApplication

    application = PyDMApplication(use_main_window=False)
    shown = {path.stem: Painter(macros).draw(path) for path in sorted(screens.glob("*.bob"))}
    for page in shown.values():
        page.show()

    save_all(application, shown, pictures)


if __name__ == "__main__":
    source, target, p, r, *rest = sys.argv[1:]
    main(Path(source), Path(target), {"P": p, "R": r, **dict(word.split("=", 1) for word in rest)})
