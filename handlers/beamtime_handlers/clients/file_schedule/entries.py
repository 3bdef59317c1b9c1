"""What stands in a schedule file, whatever its format: entries, each with its line."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, time
from zoneinfo import ZoneInfo

from beamtime_handlers.clients.replies import not_none
from beamtime_ioc.model import KEY, Beamtime, Cycle, Person, one_line, parse_time, people_of

SOURCE = "file"
COLUMNS = ("id", "proposal_id", "title", "start", "end", "safety_form_id", "cycle", "beamline")
PERSON = ("first", "last", "email", "external_id", "institution", "role")
NO_SUCH_ROLE = "role is pi, or nothing"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How the site reads its file.

    Parameters
    ----------
    source
        What stands before the id in the key of an experiment.
    local
        Whether a time without a zone is one of `zone`.
    day_begins
        When a whole-day entry begins and ends; None: there may be none.
    """

    beamline: str
    zone: ZoneInfo
    source: str = SOURCE
    local: bool = False
    day_begins: time | None = None


@dataclass(frozen=True)
class Word:
    """A text and its line."""

    text: str
    line: int


class EntryError(ValueError):
    """One entry is wrong; the others may be good."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line, self.text = line, text

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


class FileError(ValueError):
    """The whole file is of no use."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}" if line else text)


@dataclass
class Contents:
    """What was read.

    Attributes
    ----------
    others
        How many entries are of other beamlines.
    """

    beamtimes: list[Beamtime] = field(default_factory=list[Beamtime])
    cycles: list[Cycle] | None = None
    bad: list[EntryError] = field(default_factory=list[EntryError])
    others: int = 0
    _proposals: dict[str, str] = field(default_factory=dict[str, str])
    """By id, of those that were taken: a long file has thousands."""

    @contextmanager
    def entry(self) -> Generator[None]:
        """One entry: a fault in it is noted, and the next one may be good."""
        try:
            yield
        except EntryError as error:
            self.bad.append(error)

    def take(self, beamtime: Beamtime, line: int, rules: Rules) -> None:
        """Add one.

        Raises
        ------
        EntryError
            The same id stands for another proposal above.
        """
        if beamtime.beamline and _plain(beamtime.beamline) != _plain(rules.beamline):
            self.others += 1
            return
        above = self._proposals.setdefault(beamtime.id, beamtime.proposal)
        if above != beamtime.proposal:
            raise EntryError(
                line, f"id {beamtime.id} stands above for proposal {above or 'without a number'}"
            )
        self.beamtimes.append(replace(beamtime, beamline=rules.beamline))


def make_beamtime(
    words: Mapping[str, Word],
    people: Iterable[Person],
    line: int,
    rules: Rules,
    times: tuple[datetime, datetime] | None = None,
) -> Beamtime:
    """One entry as a beamtime.

    Parameters
    ----------
    words
        By the names of `COLUMNS`; what is not there is empty.
    times
        Start and end, where they are no texts.

    Raises
    ------
    EntryError
        With the line of what is wrong.
    """
    texts = {name: one_line(words[name].text) if name in words else "" for name in COLUMNS}
    if not texts["id"]:
        raise EntryError(line, "has no id")
    if not KEY.fullmatch(f"{rules.source}:{texts['id']}"):
        shown = texts["id"][:40]
        raise EntryError(
            line, f"id {shown!r} could not be chosen; write letters, digits and ._:@+=~- , at most 190"
        )
    start, end = times or (_time(words, "start", line, rules), _time(words, "end", line, rules))
    if end <= start:
        raise EntryError(words["end"].line if "end" in words else line, "end does not lie behind start")
    return Beamtime(
        source=rules.source,
        id=texts["id"],
        start=start,
        end=end,
        proposal=texts["proposal_id"],
        title=texts["title"],
        esaf=texts["safety_form_id"],
        cycle=texts["cycle"],
        beamline=texts["beamline"],
        people=people_of(people),
    )


def make_person(words: Mapping[str, Word], line: int) -> Person:
    """One person; `words` by the names of `PERSON`."""
    texts = {name: one_line(words[name].text) if name in words else "" for name in PERSON}
    role = texts["role"].lower()
    if role not in ("", "pi"):
        raise EntryError(words["role"].line if "role" in words else line, NO_SUCH_ROLE)
    return Person(
        first_name=texts["first"],
        last_name=texts["last"],
        email=not_none(texts["email"]),
        institution=texts["institution"],
        badge=texts["external_id"],
        is_pi=role == "pi",
    )


def make_cycle(words: Mapping[str, Word], line: int, rules: Rules) -> Cycle:
    """One run cycle: `name`, `start`, `end`."""
    name = one_line(words["name"].text) if "name" in words else ""
    if not name:
        raise EntryError(line, "has no name")
    start, end = _time(words, "start", line, rules), _time(words, "end", line, rules)
    if end <= start:
        raise EntryError(line, "end does not lie behind start")
    return Cycle(name=name, start=start, end=end)


def _time(words: Mapping[str, Word], name: str, line: int, rules: Rules) -> datetime:
    word = words.get(name)
    if word is None or not word.text.strip():
        raise EntryError(line, f"has no {name}")
    try:
        return parse_time(word.text, rules.zone if rules.local else None)
    except ValueError as error:
        raise EntryError(word.line, f"{name} {error}") from error


def unknown(names: Iterable[str], allowed: Sequence[str]) -> str:
    """Words for keys that there are not; empty if all are known."""
    strange = [name for name in names if name not in allowed]
    return f"unknown key {one_line(strange[0], 40)!r}; allowed are {', '.join(allowed)}" if strange else ""


def _plain(beamline: str) -> str:
    return beamline.upper().replace(" ", "")
