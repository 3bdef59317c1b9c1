"""Which settings are saved, and how they come back: at the start, without hooks and without the gate."""

import dataclasses
import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from beamtime_ioc import savefile
from beamtime_ioc.board import Board, Cell
from beamtime_ioc.errors import BadValueError
from beamtime_ioc.model import one_line
from beamtime_ioc.record import Record
from beamtime_ioc.recordtypes import Kind
from beamtime_ioc.savefile import Content, Entry
from beamtime_ioc.values import Value, check, cut

log = logging.getLogger(__name__)

FILE_NAME = "beamtime_settings.sav"
"""Beside the exported `beamtime_settings.req`."""

DESC_BYTES = 40


class Autosave:
    """The settings of a site: records with `info(autosaveFields, ...)`, of which VAL and DESC are honoured.

    What is not writable for clients has no setting: its VAL is left alone.

    Attributes
    ----------
    path
        The `.sav`; its `.savB` stands beside it.
    """

    def __init__(self, board: Board, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self.values: dict[str, Cell] = {}
        self.descriptions: dict[str, Cell] = {}
        for cell in board.cells.values():
            fields = cell.record.info.get("autosaveFields", "").split()
            if "VAL" in fields and cell.record.writable:
                self.values[cell.name] = cell
            if "DESC" in fields:
                self.descriptions[f"{cell.name}.DESC"] = cell
        self._aliases = board.aliases

    def restore(self) -> str:
        """Set what was saved; to be called before anybody is served.

        Returns
        -------
        str
            What could not be restored, in a sentence; empty if all is well.
        """
        entries, trouble = self._read()
        skipped: list[str] = []
        for entry in entries:
            try:
                self._restore(entry)
            except BadValueError as error:
                skipped.append(entry.name)
                log.warning("%s, line %d: skipped: %s", self.path, entry.line, one_line(f"{error}", 300))
        if entries:
            log.info("%d of %d saved settings restored", len(entries) - len(skipped), len(entries))
        if skipped:
            names = one_line(", ".join(skipped[:3]) + (", ..." if len(skipped) > 3 else ""), 300)
            skips = f"{len(skipped)} of {len(entries)} saved values were skipped ({names}); see the log"
            trouble = f"{trouble}; {skips}" if trouble else skips
        return trouble

    def snapshot(self) -> Mapping[str, Value]:
        """What is to be saved, as it stands now; to be called in the event loop."""
        found: dict[str, Value] = {name: cell.value for name, cell in self.values.items()}
        return found | {name: cell.record.desc for name, cell in self.descriptions.items()}

    def write(self, values: Mapping[str, Value]) -> None:
        """Put them on the disk. Blocks; raises OSError."""
        savefile.write(self.path, savefile.render(values, datetime.now().astimezone()))

    def _read(self) -> tuple[list[Entry], str]:
        """What the first readable file says, and what is wrong with those before it."""
        wrong: list[str] = []
        for path in (self.path, self.path.with_suffix(".savB")):
            try:
                entries = savefile.read(path)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else f"{error}"
                wrong.append(f"{path} cannot be used: {reason}")
                continue
            if entries is None:
                continue
            if path != self.path:
                wrong = wrong or [f"{self.path} is missing"]
                return entries, self._warn(f"{wrong[0]}; the settings are those of {path.name}, look at them")
            return entries, ""
        if not wrong:
            return [], ""  # the first start
        advice = (
            "the settings are those of the .db files; set them again, or put a good file there and restart"
        )
        return [], self._warn(f"{'; '.join(wrong)}; {advice}")

    @staticmethod
    def _warn(sentence: str) -> str:
        log.warning("autosave: %s", sentence)
        return sentence

    def _restore(self, entry: Entry) -> None:
        name, dot, field = entry.name.removesuffix("$").partition(".")
        full = self._aliases.get(name, name)
        if field == "DESC" and (cell := self.descriptions.get(f"{full}.DESC")):
            text = entry.content if isinstance(entry.content, str) else "".join(entry.content)
            fields = {**cell.record.fields, "DESC": cut(text, DESC_BYTES)}
            cell.record = dataclasses.replace(cell.record, fields=fields)
        elif field in ("", "VAL") and (cell := self.values.get(full)):
            cell.set(saved_value(cell.record, entry.content))
        else:
            raise BadValueError(f"{name}{dot}{field} is no setting of this site", advice="leave it out")


def saved_value(record: Record, content: Content) -> Value:
    """The value that a file says, as the record may hold it.

    Raises
    ------
    BadValueError
        It does not fit: no such state, out of range, too long, an array for one number.
    """
    if record.kind is Kind.TEXT and isinstance(content, tuple):
        return check(record, _text(record, content))
    if isinstance(content, tuple):
        if len(content) != 1:
            raise BadValueError(f"{record.name} holds one value, not {len(content)}", advice="set it again")
        content = content[0]
    if record.kind is Kind.STATES:
        # Menus are saved as numbers: a label that looks like one must not be taken for it.
        is_number = content.isascii() and content.isdigit() and len(content) < 10  # no longer one is a state
        return check(record, int(content) if is_number else content)
    return check(record, content)


def _text(record: Record, numbers: tuple[str, ...]) -> str:
    """C autosave writes a CHAR waveform as its bytes; some of them are negative there."""
    try:
        raw = bytes(int(number) & 255 for number in numbers)
    except ValueError:
        raise BadValueError(
            f"{record.name}: its elements are no bytes of a text", advice="set it again"
        ) from None
    raw = raw.split(b"\0")[0]
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
