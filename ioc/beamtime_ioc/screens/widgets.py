"""What can stand on a screen, in words that are MEDM's and Phoebus' alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

CHARACTER = 0.46
"""Mean width of a character beside the height of its widget, which is what MEDM scales fonts by."""


class Paint(Enum):
    """Colours of MEDM's map, by their place in it, with what they are."""

    TEXT = (14, "000000")
    GROUND = (4, "bbbbbb")
    BAND = (3, "c8c8c8")
    WELL = (2, "dadada")
    ENTRY = (51, "73dfff")
    TITLE = (53, "2a63e4")
    VALUE = (54, "0a00b8")
    WHITE = (0, "ffffff")
    BAR = (63, "289315")
    GOOD = (15, "00d800")
    GLOW = (33, "e19015")

    @property
    def index(self) -> int:
        return self.value[0]

    @property
    def rgb(self) -> tuple[int, int, int]:
        word = self.value[1]
        return int(word[:2], 16), int(word[2:4], 16), int(word[4:], 16)


@dataclass(frozen=True)
class Box:
    """A place in pixels, from the upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    def overlaps(self, other: "Box") -> bool:
        across = self.x < other.right and other.x < self.right
        return across and self.y < other.bottom and other.y < self.bottom


@dataclass(frozen=True, kw_only=True)
class Widget:
    """Something in its box."""

    box: Box


@dataclass(frozen=True, kw_only=True)
class Words(Widget):
    """A fixed text."""

    text: str
    paint: Paint = Paint.TEXT
    right: bool = False


@dataclass(frozen=True, kw_only=True)
class Band(Widget):
    """A filled rectangle behind others."""

    paint: Paint = Paint.BAND


@dataclass(frozen=True, kw_only=True)
class Bound(Widget):
    """What shows or sets a record.

    Parameters
    ----------
    channel
        The record's name behind `$(P)$(R)`.
    """

    channel: str


@dataclass(frozen=True, kw_only=True)
class Reading(Bound):
    """A value.

    Parameters
    ----------
    alarm
        Coloured by the record's severity, on a dark ground.
    text
        A CHAR waveform, which a screen must be told to read as text.
    lines
        More than one where a text may be wrapped.
    views
        Its lines stand in records of their own, `...Line1` and on, for a screen that wraps nothing.
    """

    alarm: bool = False
    text: bool = False
    lines: int = 1
    views: bool = False

    def rows(self) -> "Sequence[Reading]":
        """Line by line, one under the other; only the first where there are no views."""
        height = self.box.height // self.lines
        first = replace(self, lines=1, views=False, box=replace(self.box, height=height))
        if not self.views:
            return [first]
        return [
            replace(
                first,
                channel=f"{self.channel}Line{at + 1}",
                box=replace(first.box, y=self.box.y + at * height),
            )
            for at in range(self.lines)
        ]


@dataclass(frozen=True, kw_only=True)
class Entry(Bound):
    """A value to type in."""

    text: bool = False


@dataclass(frozen=True, kw_only=True)
class Choice(Bound):
    """One of a record's states, from a menu."""


@dataclass(frozen=True, kw_only=True)
class Press(Bound):
    """A button that writes one state.

    Parameters
    ----------
    question
        Asked before, where the screen can.
    """

    label: str
    state: str
    question: str = ""


@dataclass(frozen=True, kw_only=True)
class Glow(Bound):
    """A frame that is seen while a record is not 0."""

    paint: Paint = Paint.GLOW


@dataclass(frozen=True, kw_only=True)
class Bar(Bound):
    """How far, 0 to 100."""


@dataclass(frozen=True, kw_only=True)
class Grid(Bound):
    """A table of PVAccess, which MEDM cannot show."""


@dataclass(frozen=True, kw_only=True)
class Link(Widget):
    """Opens another screen; P and R go along."""

    label: str
    screen: str


@dataclass(frozen=True, kw_only=True)
class Screen:
    """A screen, without knowing whose.

    Parameters
    ----------
    name
        Of its file, without the end.
    """

    name: str
    title: str
    width: int
    height: int
    widgets: tuple[Widget, ...] = field(default_factory=tuple)
