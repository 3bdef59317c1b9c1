"""From the layout and the records to screens: where each widget stands."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from beamtime_ioc.errors import RecordFileError
from beamtime_ioc.record import Record
from beamtime_ioc.records import ActionRow, RecordSet, db_dir
from beamtime_ioc.screens.actionblock import GAP, LINE, SMALL, action_block, part_widgets, screen_of
from beamtime_ioc.screens.fitting import reading, spoken, value_widget
from beamtime_ioc.screens.widgets import Band, Box, Grid, Link, Paint, Screen, Widget, Words

FILE_NAME = "screens.yaml"
MARGIN, LABEL = 10, 125
LAMPS_A_ROW, LINKS_A_ROW = 3, 8
EVERYTHING = "everything"
"""All groups of records."""

TOLD_BY = {
    "Actions": ", or type beamtime status",
    "Audit": ", or type beamtime audit",
    "Checklist": ", or type beamtime history show",
    "History": ", or type beamtime history",
}

Row = Mapping[str, Any]


def read_screens(records: RecordSet, path: Path | None = None, *, tables: bool = True) -> Sequence[Screen]:
    """The screens of these records.

    Parameters
    ----------
    tables
        Whether the program shows tables of PVAccess; else a line says where they are.

    Raises
    ------
    RecordFileError
        The layout cannot be read, or names what there is not.
    """
    path = path or db_dir() / FILE_NAME
    try:
        found = cast(Mapping[str, Row], yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise RecordFileError(path, 0, f"is no layout of screens: {error}") from error
    drawn = {name: content for name, content in found.items() if _is_for(records, content)}
    return [
        page.screen()
        for name, content in drawn.items()
        for page in _pages(records, path, name, {**content, "tables": tables, "drawn": drawn})
    ]


def _is_for(records: RecordSet, content: Row) -> bool:
    """A page that is `for` a group is left out where no record is of it."""
    group = content.get("for")
    return group is None or any(record.group == group for record in records.records.values())


def _pages(records: RecordSet, path: Path, name: str, content: Row) -> "Sequence[_Page]":
    """A page; for `each: action` one for each button."""
    if content.get("each") != "action":
        return [_Page(records, path, name, content)]
    return [_Page(records, path, screen_of(row), content, row) for row in records.actions()]


class _Page:
    """One screen while it is laid out, from top to bottom."""

    def __init__(
        self, records: RecordSet, path: Path, name: str, content: Row, action: ActionRow | None = None
    ) -> None:
        self.records, self.path, self.name, self.content = records, path, name, content
        self.action = action
        self.title = str(content["title"]) + (f": {spoken(action.button.suffix)}" if action else "")
        self.width, self.columns = int(content["width"]), int(content.get("columns", 1))
        self.widgets: list[Widget] = []
        self.y = self.bottom = 0
        self.left, self.right = MARGIN, self.width - MARGIN

    def screen(self) -> Screen:
        rows: Mapping[str, Callable[[Any], None]] = {
            "fields": self._fields,
            "actions": self._actions,
            "lamps": self._lamps,
            "group": self._group,
            "table": self._table,
            "links": self._links,
            "about": lambda _: self._about(),
        }
        self._title(self.title)
        for row in cast(Sequence[Row], self.content["rows"]):
            for word, what in row.items():
                if word not in rows:
                    raise self._wrong(f"{word} is no row; these are {', '.join(rows)}")
                rows[word](what)
        return Screen(
            name=self.name,
            title=self.title,
            width=self.width,
            height=max(self.y, self.bottom) + MARGIN,
            widgets=tuple(self.widgets),
        )

    def _wrong(self, text: str) -> RecordFileError:
        return RecordFileError(self.path, 0, f"{self.name}: {text}")

    def _record(self, suffix: str) -> Record | None:
        """The record; None if it may be missing and is."""
        name = self.records.prefix + suffix.removesuffix("?")
        if name in self.records.records:
            return self.records.records[name]
        if suffix.endswith("?"):
            return None
        raise self._wrong(f"there is no record {suffix}")

    def _matching(self, name: str) -> Sequence[Record]:
        """The record of this name, if it is there; for `*Service` all whose names end so."""
        if name.startswith("*"):
            return [one for one in self._others() if one.suffix.endswith(name[1:])]
        record = self._record(name)
        return [record] if record else []

    def _add(self, *widgets: Widget) -> None:
        self.widgets += widgets

    def _box(self, x: int, width: int, height: int = LINE) -> Box:
        return Box(x, self.y, width, height)

    # -- rows -------------------------------------------------------------------------------

    def _title(self, text: str) -> None:
        self._add(Band(box=Box(0, 0, self.width, 30), paint=Paint.TITLE))
        self._add(Words(box=Box(MARGIN, 4, self.width // 2 - MARGIN, 22), text=text, paint=Paint.WHITE))
        right = Box(self.width // 2, 5, self.width // 2 - MARGIN, 20)
        self._add(Words(box=right, text="$(P)$(R)", paint=Paint.WHITE, right=True))
        self.y = 30 + MARGIN

    def _fields(self, lines: Sequence[Any]) -> None:
        for line in self._spread(lines):
            side_by_side = cast(Sequence[Row], line if isinstance(line, list) else [line])
            width = (self.right - self.left + MARGIN) // len(side_by_side) - MARGIN
            if side_by_side[0].get("full"):
                self._full(side_by_side[0])
                continue
            shown = [
                self._field(one, self.left + at * (width + MARGIN), width)
                for at, one in enumerate(side_by_side)
            ]
            if any(shown):
                self.y += LINE * max(int(one.get("lines", 1)) for one in side_by_side) + GAP
        self.y += GAP

    def _spread(self, lines: Sequence[Any]) -> Iterator[Any]:
        """A field for each record that a `*...` stands for, labelled by what stands for the star."""
        for line in lines:
            name = "" if isinstance(line, list) else str(line["record"])
            if not name.startswith("*"):
                yield line
                continue
            for record in self._matching(name):
                yield {
                    **cast(Row, line),
                    "record": record.suffix,
                    "label": record.suffix.removesuffix(name[1:]),
                }

    def _full(self, field: Row) -> None:
        """A sentence over the whole width, coloured by its alarm."""
        record = self._record(str(field["record"]))
        if record is not None:
            lines = int(field.get("lines", 1))
            box = self._box(self.left, self.right - self.left, SMALL * lines)
            self._add(reading(record, box, alarm=True, lines=lines))
            self.y += SMALL * lines + GAP

    def _field(self, field: Row, x: int, width: int) -> bool:
        record = self._record(str(field["record"]))
        if record is None:
            return False
        label, lines = str(field.get("label", record.desc)), int(field.get("lines", 1))
        taken = LABEL + GAP if label else 0
        if label:
            self._add(Words(box=self._box(x, LABEL), text=label))
        self._add(value_widget(record, self._box(x + taken, width - taken, LINE * lines), lines=lines))
        return True

    def _lamps(self, names: Sequence[str]) -> None:
        """Three in a row, each with its name before it."""
        lamps = [record for name in names for record in self._matching(name)]
        width = (self.right - self.left + MARGIN) // LAMPS_A_ROW - MARGIN
        for at, record in enumerate(lamps):
            column = at % LAMPS_A_ROW
            if at and not column:
                self.y += LINE + GAP
            x = self.left + column * (width + MARGIN)
            words = spoken(record.suffix).removesuffix(" Service").removesuffix(" Ok")
            label = width * 2 // 5
            self._add(Words(box=self._box(x, label), text=words))
            self._add(reading(record, self._box(x + label, width - label), alarm=True))
        self.y += LINE + 2 * GAP

    def _group(self, name: str) -> None:
        """Records by their groups, in columns; all groups have their names above."""
        groups = list(dict.fromkeys(record.group for record in self._others() if record.group))
        items: list[Record | str] = []
        for group in groups if name == EVERYTHING else [name]:
            items += [group] if name == EVERYTHING else []
            items += [record for record in self._others() if record.group == group]
        top, width = self.y, (self.right - self.left + MARGIN) // self.columns - MARGIN
        height = -(-len(items) // self.columns)
        for column in range(self.columns):
            self.y = top
            for item in items[column * height : (column + 1) * height]:
                self._item(item, self.left + column * (width + MARGIN), width)
            self.bottom = max(self.bottom, self.y)
        self.y = self.bottom + GAP if items else self.y

    def _item(self, item: Record | str, x: int, width: int) -> None:
        """A record with its name, or the name of a group."""
        if isinstance(item, str):
            self._add(Words(box=self._box(x, width, SMALL), text=item.capitalize(), paint=Paint.TITLE))
            self.y += SMALL + GAP
            return
        label = min(max(width // 2, LABEL), 225)
        self._add(Words(box=self._box(x, label, SMALL), text=item.suffix))
        lines = min(item.lines[0], 3) if item.lines and self.columns == 1 else 1
        box = self._box(x + label + GAP, width - label - GAP, SMALL * lines)
        self._add(value_widget(item, box, lines=lines))
        self.y += SMALL * lines + GAP

    def _others(self) -> Iterator[Record]:
        """Records that stand beside no button."""
        rows = self.records.actions()
        beside = {id(record) for row in rows for record in (row.button, *row.parts.values())}
        return (one for one in self.records.records.values() if id(one) not in beside and one.view_of is None)

    def _table(self, table: Row) -> None:
        name, height = str(table["name"]), int(table["height"])
        may_be_missing, name = name.endswith("?"), name.removesuffix("?")
        if self.records.prefix + name not in {one.name for one in self.records.tables}:
            if may_be_missing:
                return
            raise self._wrong(f"there is no table {name}")
        self._add(Words(box=self._box(self.left, 115), text=spoken(name)))
        if not self.content["tables"]:
            text = f"no table in MEDM: open it in Phoebus{TOLD_BY.get(name, '')}"
            self._add(Words(box=self._box(self.left + 120, self.right - self.left - 120), text=text))
            self.y += LINE + GAP
            return
        self.y += LINE + GAP
        self._add(Grid(box=Box(self.left, self.y, self.right - self.left, height), channel=name))
        self.y += height + 2 * GAP

    def _links(self, named: Sequence[Row]) -> None:
        links = [one for one in named if self._is_drawn(str(one["screen"]))]
        height = LINE + 2 if len(links) <= LINKS_A_ROW else LINE  # smaller letters
        width = (self.right - self.left + GAP) // len(links) - GAP
        for at, link in enumerate(links):
            box = self._box(self.left + at * (width + GAP), width, height)
            self._add(Link(box=box, label=str(link["label"]), screen=str(link["screen"]).removesuffix("?")))
        self.y += height + GAP

    def _is_drawn(self, screen: str) -> bool:
        return not screen.endswith("?") or screen[:-1] in self.content["drawn"]

    # -- actions ----------------------------------------------------------------------------

    def _actions(self, which: Any) -> None:
        but = isinstance(which, dict)
        named: Sequence[str] = cast(Row, which)["but"] if but else which
        for suffix in () if named == "all" else named:
            self._record(suffix)  # a name that is none is said
        for row in self.records.actions():
            shown = named == "all" or (row.button.suffix in named) is not but
            if not shown:
                continue
            block = action_block(row, self.left, self.y, self.right - self.left)
            self._add(*block.widgets)
            self.y = block.bottom + GAP

    def _about(self) -> None:
        """Everything that stands beside one button."""
        if self.action is None:
            raise self._wrong("about is for a screen with each: action")
        for record in (self.action.button, *self.action.parts.values()):
            label = spoken(record.suffix.removeprefix(self.action.button.suffix)) or "Press"
            lines = record.lines[0] if record.lines else 1
            height = LINE if lines == 1 else SMALL * lines
            self._add(Words(box=self._box(self.left, LABEL), text=label))
            x = self.left + LABEL + GAP
            self._add(*part_widgets(self.action, record, Box(x, self.y, self.right - x, height), lines))
            self.y += height + GAP
