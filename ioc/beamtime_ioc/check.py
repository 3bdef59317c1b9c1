"""A look at everything a site names, before it is served."""

import os
from collections.abc import Iterator
from pathlib import Path

from beamtime_ioc.access import load_gate
from beamtime_ioc.app import build_services, load_site_records
from beamtime_ioc.config import read_site_file
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import Letter
from beamtime_ioc.ports import OutboxRow
from beamtime_ioc.registry import load_actions


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
    site, services = build_services(file, NoOutbox())
    yield _state(file.resolve(file.frame.state))
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


class NoOutbox:
    """For clients that are built to be looked at: nothing was sent, and nothing can be."""

    def find(self, key: str) -> OutboxRow | None:
        return None

    def claim(self, letter: Letter) -> None:
        raise BeamtimeError("a check sends no letters")

    def settle(self, key: str, state: str, answer: str) -> None:
        raise BeamtimeError("a check sends no letters")


def _state(directory: Path) -> tuple[bool, str]:
    nearest = directory
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if os.access(nearest, os.W_OK | os.X_OK):
        return True, f"state directory {directory}"
    return False, f"state directory {directory} cannot be written; make it writable for this user"
