"""One record: what its file says of it, read once."""

import dataclasses
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Literal

from beamtime_ioc.alarm import Severity
from beamtime_ioc.macros import Mark
from beamtime_ioc.recordtypes import (
    STATE_SEVERITIES,
    TEXT39_BYTES,
    TYPES,
    Kind,
    constant_text,
    first_number,
    number_of,
    state_names,
    whole_number,
)

BESIDE = ("preview", "abort", "arm", "resolve", "schedule")
"""Info tags of the buttons beside an action's own."""

PROGRAM = ("engine", "service", "services", "hosts", "checklist", "candidates", "outbox", "training")
"""What the program reports besides its actions: no action has one of these names."""


LINES = re.compile(r"([1-9]|[1-3][0-9])x([2-9][0-9]|1[0-9][0-9])")
"""What `info(beamtime:lines, ...)` holds: `4x80` are up to 4 lines of up to 80 characters."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a wrapped text, counted from 1."""

    number: int
    count: int
    width: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One record as a file declares it, or a short view on one.

    Parameters
    ----------
    suffix
        The name without the site's prefix.
    type
        As written: `bo`, `waveform`; what `.RTYP` shows.
    fields, info
        As in the file, macros expanded.
    mark
        Where it is declared.
    view_of
        The text of which this read-only `stringin` shows the first 39 bytes, or this `waveform` one line.
    line
        Which line of that text.
    """

    name: str
    suffix: str
    type: str
    kind: Kind
    fields: Mapping[str, str]
    info: Mapping[str, str]
    aliases: tuple[str, ...] = ()
    mark: Mark = dataclasses.field(compare=False)
    view_of: str | None = None
    line: Line | None = None

    @property
    def desc(self) -> str:
        return self.fields.get("DESC", "")

    @cached_property
    def asg(self) -> str:
        """Access group; `DEFAULT` when the file names none."""
        return self.fields.get("ASG") or "DEFAULT"

    @property
    def egu(self) -> str:
        return self.fields.get("EGU", "")

    @cached_property
    def nelm(self) -> int:
        """Bytes of a text, 39 of a string; 1 of everything else."""
        if self.kind is Kind.TEXT:
            return whole_number(self.fields["NELM"])
        return TEXT39_BYTES if self.kind is Kind.STRING else 1

    def number(self, field: str) -> float:
        """What the file says, such as `DRVH`; EPICS' zero where it says nothing."""
        return number_of(self.fields.get(field) or "0")

    @cached_property
    def states(self) -> tuple[str, ...]:
        """Labels in the order of their index; empty for other kinds."""
        return state_names(self.fields) if self.kind is Kind.STATES else ()

    @cached_property
    def severities(self) -> tuple[str, ...]:
        """Alarm severity of each state, in the order of `states`."""
        names = STATE_SEVERITIES if self.type.startswith("mbb") else ("ZSV", "OSV")
        quiet = Severity.NO_ALARM.name
        return tuple(self.fields.get(name) or quiet for name, _ in zip(names, self.states, strict=False))

    @property
    def initial(self) -> str | int | float:
        """The value before anybody wrote: a text, the index of a state, or a number."""
        match self.kind:
            case Kind.TEXT | Kind.STRING:
                return constant_text(self.fields.get("INP", "")) or self.fields.get("VAL", "")
            case Kind.STATES | Kind.INTEGER:
                return int(first_number(self.fields))
            case Kind.FLOAT:
                return first_number(self.fields)

    @property
    def action(self) -> str | None:
        """The action that this button starts."""
        return self.info.get("beamtime:action")

    @property
    def field(self) -> str | None:
        """The field of the experiment that this record shows, such as `pi.last_name`."""
        return self.info.get("beamtime:field")

    @property
    def argument(self) -> tuple[str, str] | None:
        """The action, and which of its arguments is typed here."""
        action, dot, name = self.info.get("beamtime:argument", "").partition(".")
        return (action, name) if dot else None

    @property
    def report(self) -> tuple[str, str] | None:
        """What the IOC writes here: the action, or `engine`, and a word such as `percent`."""
        head, dot, word = self.info.get("beamtime:report", "").partition(".")
        return (head, word) if dot else None

    @property
    def knob(self) -> str | None:
        """The knob of a box that is turned here, such as `schedule.delay_s`."""
        return self.info.get("beamtime:knob")

    @property
    def told_later(self) -> bool:
        """Whether its value is not known before the program has looked: of itself, or of a box."""
        return self.knob is not None or (self.report is not None and self.report[0] in PROGRAM)

    @property
    def beside(self) -> tuple[str, str] | None:
        """The action that this record stands beside, and its word there, such as `percent` or `abort`."""
        for word in BESIDE:
            if action := self.info.get(f"beamtime:{word}"):
                return action, word
        return self.report if self.report and self.report[0] not in PROGRAM else None

    @property
    def completion(self) -> Literal["finished", "accepted"]:
        """When a put with callback is answered."""
        return "accepted" if self.info.get("beamtime:completion") == "accepted" else "finished"

    @property
    def text39(self) -> str | None:
        """The short view's name, as it replaces what stands behind the last colon."""
        return self.info.get("beamtime:text39")

    @property
    def lines(self) -> tuple[int, int] | None:
        """How many lines of how many characters stand beside a text, for screens that do not wrap."""
        found = LINES.fullmatch(self.info.get("beamtime:lines", ""))
        return (int(found[1]), int(found[2])) if found else None

    @property
    def group(self) -> str | None:
        """Section of the documentation and the screens."""
        return self.info.get("beamtime:group")

    @cached_property
    def writable(self) -> bool:
        """May clients write, if the access file lets them?"""
        return TYPES[self.type].output and self.report is None and self.view_of is None
