"""A look at everything a site names, before it is served."""

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from beamtime_ioc.access import load_gate
from beamtime_ioc.boxcontrol import BoxControl
from beamtime_ioc.config import read_site_file
from beamtime_ioc.database import address_of, ask_version, postgres_engine, postgres_trouble
from beamtime_ioc.equipment import build_services, load_site_records
from beamtime_ioc.errors import BeamtimeError, StateError
from beamtime_ioc.faces.listening import choose_interfaces, is_ours
from beamtime_ioc.model import Letter, OutboxRow
from beamtime_ioc.mounts import network_mount
from beamtime_ioc.registry import load_actions
from beamtime_ioc.store import FILE_NAME, LEAST_FREE_BYTES
from beamtime_ioc.tables import FORMAT, about


def check_site(path: Path) -> Iterator[tuple[bool, str]]:
    """Whether it is well, and a sentence, for each thing looked at.

    Raises
    ------
    BeamtimeError
        The site file, a record file or the access file is wrong: there is nothing to look at.
    """
    file = read_site_file(path)
    records = load_site_records(file, load_actions())
    yield True, f"{path}: {len(records.records)} records on prefix {file.frame.prefix}"
    if file.frame.access is None:
        yield True, "no access file: everybody reads, nobody can press"
    else:
        load_gate(file.resolve(file.frame.access))
        yield True, f"access file {file.frame.access}"
    yield from _interfaces(file.frame.epics.interfaces)
    site, services = build_services(file, NoOutbox())
    yield _state(file.resolve(file.frame.state), file.frame.database, file.frame.prefix)
    if file.frame.database:
        yield _database(file.frame.database, file.resolve(file.frame.state), file.frame.prefix)
    if site.open_steps:
        steps = "; ".join(f"{action} at {step!r}" for action, step in sorted(site.open_steps))
        yield True, f"without the schedule these go on: {steps}"
    if not site.places:
        yield False, "no places: CreateDirectories has nothing to do; add places: to the site file"
    for section in ("schedule", "hosts", "mail"):
        if section not in services:
            yield False, f"no section {section}: in the site file; actions that need it will fail"
    for section, service in services.items():
        try:
            health = service.check()
        except BeamtimeError as error:
            yield False, f"{section}: {error}"
        else:
            yield health.ok, f"{section}: {health.sentence} ({health.latency_s:.2f} s)"
    if file.frame.sim is not None:
        yield _box(BoxControl(file.frame.sim, file.directory))


def _box(box: BoxControl) -> tuple[bool, str]:
    try:
        box.state()
    except BeamtimeError as error:
        return False, f"sim: {error}"
    return True, f"sim: training: faults by the box at {box.url}; a beamline has no sim: in its site file"


def _interfaces(configured: Sequence[str]) -> Iterator[tuple[bool, str]]:
    foreign: dict[str, None] = {}
    for variable in ("EPICS_CAS_INTF_ADDR_LIST", "EPICS_PVAS_INTF_ADDR_LIST"):
        setting = variable if os.environ.get(variable, "").strip() else "epics.interfaces"
        for address in choose_interfaces(variable, configured):
            if not is_ours(address):
                foreign[f"{setting}: {address} is no address of this computer; see `ip address`"] = None
    for sentence in foreign:
        yield False, sentence


class NoOutbox:
    """For clients that are built to be looked at: nothing was sent, and nothing can be."""

    def find(self, key: str) -> OutboxRow | None:
        return None

    def find_all(self, keys: Collection[str]) -> Mapping[str, OutboxRow]:
        return {}

    def claim(self, letter: Letter) -> None:
        raise BeamtimeError("a check sends no letters")

    def settle(self, key: str, state: str, answer: str, *, due: datetime | None = None) -> None:
        raise BeamtimeError("a check sends no letters")

    def give_up(self, key: str, answer: str, run_id: str) -> None:
        raise BeamtimeError("a check gives no letter up")

    def waiting(self) -> Sequence[tuple[OutboxRow, Letter | None]]:
        return ()


def _state(directory: Path, database: str, prefix: str) -> tuple[bool, str]:
    mount = None if database else network_mount(directory)
    if mount is not None:
        return (
            False,
            f"state directory {directory} lies on a network file system ({mount.kind}): see database:",
        )
    nearest = directory
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not os.access(nearest, os.W_OK | os.X_OK):
        return False, f"state directory {directory} cannot be written; make it writable for this user"
    if not database:
        disk = os.statvfs(nearest)
        if disk.f_bavail * disk.f_frsize < LEAST_FREE_BYTES:
            room = LEAST_FREE_BYTES // 1_000_000
            return False, f"state directory {directory}: its disk is full; make {room} MB of room"
        if (directory / FILE_NAME).exists():
            try:
                _refuse_foreign(directory, "", prefix)
            except BeamtimeError as error:
                return False, f"state directory {directory}: {error}"
    return True, f"state directory {directory}"


def _database(text: str, directory: Path, prefix: str) -> tuple[bool, str]:
    url = address_of(text)
    try:
        version = ask_version(url)
        try:
            _refuse_foreign(directory, text, prefix)
        except StateError as error:
            return False, f"state database {url.name}: {error}"
        return True, f"state database {url.name}: PostgreSQL {version} answers"
    except BeamtimeError as error:
        return False, str(error)


def _refuse_foreign(directory: Path, database: str, prefix: str) -> None:
    """Read what a state says of itself; the IOC refuses at its start what is refused here.

    Raises
    ------
    StateError
        It is of another site or of a newer version, or cannot be read.
    """
    engine = _engine(directory / FILE_NAME, database)
    try:
        with engine.connect() as db:
            if not sa.inspect(db).has_table(about.name):
                return  # nothing was kept there yet
            found = {row.key: row.value for row in db.execute(sa.select(about))}
    except SQLAlchemyError as error:
        if database:
            raise postgres_trouble(address_of(database).name, error) from error
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise StateError(
            f"{FILE_NAME} cannot be read: {reason}", advice="see it as the user of the IOC"
        ) from error
    finally:
        engine.dispose()
    owner, written = found.get("prefix", prefix), found.get("format", "")
    if owner != prefix:
        place = "database" if database else "state directory"
        raise StateError(
            f"it belongs to {owner}, not to {prefix}", advice=f"give this site a {place} of its own"
        )
    if written.isdecimal() and int(written) > FORMAT:
        raise StateError(
            f"it was written by a newer version: format {written}, known is {FORMAT}",
            advice="install that version again",
        )


def _engine(path: Path, database: str) -> sa.Engine:
    if database:
        url = address_of(database)
        return postgres_engine(url, "beamtime check").execution_options(postgresql_readonly=True)
    # Whoever opens an SQLite file that has no log beside it makes one, unless it is said not to change.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    uri = f"file:{quote(str(path))}?{how}"
    return sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), hide_parameters=True)
