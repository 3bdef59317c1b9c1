"""The records in the forms that other programs read: a flat `.db`, a `.req`, a reference page."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from beamtime_ioc.config import read_site_file
from beamtime_ioc.dbfile import Declaration, Text, render_db
from beamtime_ioc.equipment import load_site_records
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.frame import Frame
from beamtime_ioc.record import Record
from beamtime_ioc.recordpage import reference_page
from beamtime_ioc.records import RecordSet, load_records, shipped
from beamtime_ioc.registry import SERVICES, load_actions
from beamtime_ioc.screens import adl, bob
from beamtime_ioc.screens.layout import read_screens
from beamtime_ioc.screens.lint import lint
from beamtime_ioc.screens.opening import MAIN
from beamtime_ioc.sitepage import site_page

SCREEN_FILES = {"medm": adl.END, "phoebus": bob.END}

ANY_PREFIX = "P:R:"
"""The files that are written say `$(P)$(R)`: without a site, any prefix will do."""


def write_all(directory: Path, site: Path | None, *, only_screens: bool = False) -> list[Path]:
    """Write every form into a directory; with a site file, that site's own records are in them.

    Raises
    ------
    BeamtimeError
        The site file or a record file is wrong, or the directory cannot be written.
    """
    texts = forms(site, only_screens=only_screens)
    paths = [directory / name for name in texts]
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[f"{path.relative_to(directory)}"], encoding="utf-8")
    except OSError as error:
        raise BeamtimeError(
            f"{error.filename or directory} cannot be written: {error.strerror}",
            advice="name another directory",
        ) from error
    return paths


def differing(directory: Path, site: Path | None, *, only_screens: bool = False) -> list[str]:
    """What stands in a directory and is not as it would be written now; screens that are missing or too many.

    Raises
    ------
    BeamtimeError
        As of `write_all`.
    """
    faults: list[str] = []
    texts = forms(site, only_screens=only_screens)
    for name, text in texts.items():
        path = directory / name
        if path.is_file():
            if path.read_text(encoding="utf-8", errors="replace") != text:
                faults.append(f"{path} differs from the records; write it by beamtime export")
        elif "/" in name:
            faults.append(f"{path} is missing; write it by beamtime export")
    for kind, end in SCREEN_FILES.items():
        for path in sorted(directory.glob(f"{kind}/{MAIN}*{end}")):
            if f"{kind}/{path.name}" not in texts:
                faults.append(f"{path} is no screen of these records; remove it")
    return faults


def forms(site: Path | None, *, only_screens: bool = False) -> Mapping[str, str]:
    """The text of every file that is written, by its name in the directory.

    Raises
    ------
    BeamtimeError
        The site file, a record file or the layout of the screens is wrong.
    """
    records = _records(site)
    screens, without_tables = read_screens(records), read_screens(records, tables=False)
    if faults := [*lint(screens, records), *lint(without_tables, records)]:
        raise BeamtimeError(f"the screens are wrong: {'; '.join(faults)}", advice="mend the layout")
    drawn = {
        **{f"medm/{screen.name}{adl.END}": adl.write_adl(screen) for screen in without_tables},
        **{f"phoebus/{screen.name}{bob.END}": bob.write_bob(screen) for screen in screens},
    }
    if only_screens:
        return drawn
    told = records if site is not None else load_records(shipped(training=True), prefix=ANY_PREFIX)
    return {
        "beamtime.db": flat_db(records),
        "beamtime_settings.req": request_file(records),
        "records.md": reference_page(told),
        "site-file.md": site_page(Frame, installed_sections()),
        **drawn,
    }


def _records(site: Path | None) -> RecordSet:
    if site is None:
        return load_records(shipped(), prefix=ANY_PREFIX)
    return load_site_records(read_site_file(site), load_actions())


def installed_sections() -> Mapping[str, type[Any]]:
    """What checks each service's section of a site file, by section and backend: `schedule.aps`."""
    return {point.name: point.load().Settings for point in entry_points(group=SERVICES)}


def flat_db(records: RecordSet) -> str:
    """One file for a C IOC, with the macros P and R.

    The short views are left out: here and there they are made from their tag.
    """
    declarations = [_declaration(record) for record in records.records.values() if record.view_of is None]
    return "# Written by `beamtime export`.\n\n" + render_db(declarations, prefix=records.prefix)


def _declaration(record: Record) -> Declaration:
    def text(value: str) -> Text:
        return Text(value=value, mark=record.mark)

    return Declaration(
        type=record.type,
        name=record.name,
        mark=record.mark,
        fields={name: text(value) for name, value in record.fields.items()},
        info={name: text(value) for name, value in record.info.items()},
        aliases=tuple(text(alias) for alias in record.aliases),
    )


def request_file(records: RecordSet) -> str:
    """One `.req`: what autosave saves, and behind `#controlPV` what TomoScan reads besides.

    Saved is what the record's `info(autosaveFields, ...)` names. Names stand without `.VAL`, as TomoScan
    takes them for its keys.
    """
    # TomoScan takes any line with its mark in it for a PV, so that this comment must not hold it.
    lines = ["# Written by `beamtime export`."]
    for record in records.records.values():
        if record.line is not None:
            continue
        name = _macro_name(record, records.prefix)
        fields = record.info.get("autosaveFields", "").split()
        lines += [name if field == "VAL" else f"{name}.{field}" for field in fields]
        if not fields:
            lines.append(f"#controlPV {name}")
    return "\n".join(lines) + "\n"


def _macro_name(record: Record, prefix: str) -> str:
    return f"$(P)$(R){record.suffix}" if record.name == prefix + record.suffix else record.name
