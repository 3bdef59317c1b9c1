"""The box: one directory, its files, and the servers that run on it."""

import fcntl
import json
import os
import secrets
import smtplib
from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, date, datetime
from http import HTTPStatus
from http.client import HTTPConnection
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from beamtime_sim.control import ControlServer
from beamtime_sim.errands_server import ErrandsServer
from beamtime_sim.errors import BoxError, PortTakenError
from beamtime_sim.faults import HOSTS
from beamtime_sim.hosts_server import HostsServer
from beamtime_sim.knobs import Knobs
from beamtime_sim.mail_server import MailServer
from beamtime_sim.people import load_facility
from beamtime_sim.remote import ask
from beamtime_sim.schedule import Schedule
from beamtime_sim.schedule_server import ScheduleServer
from beamtime_sim.settings import Settings
from beamtime_sim.ssh_files import ssh_works
from beamtime_sim.web import HOST
from beamtime_sim.which_box import KEPT, LOCK

USER = "beamline-99bm"
MARKER = ".mounted"


class Box:
    """A facility in one directory.

    ``site.yaml`` and ``access.acf`` are written if absent and never touched again; ``sim.yaml`` keeps ports
    and anchor, ``credentials.txt`` the schedule's password, ``hosts/`` the keys, ``data/`` the places. What
    reached the services is in ``schedule/``, ``mail/`` and ``errands/``: a ``log.jsonl`` each.

    Parameters
    ----------
    anchor
        The day on which the first invented group is on beam; None keeps the box's own, today for a new one.
    local
        The places are directories of this computer; there are no hosts.
    """

    def __init__(self, directory: Path, anchor: date | None = None, *, local: bool = False) -> None:
        self.directory = directory
        self._anchor, self._local = anchor, local
        self._closing = ExitStack()
        self.notes: list[str] = []

    def start(self) -> None:
        """Write what is missing, start every server, and ask each of them once.

        Raises
        ------
        BoxError
            The directory cannot be used, another box runs on it, or a port is taken. Nothing is left running.
        """
        try:
            with ExitStack() as undo:
                self._start(undo)
                self._closing = undo.pop_all()
        except OSError as error:
            raise BoxError(f"{error.filename or self.directory}: {error.strerror or error}") from error

    def stop(self) -> None:
        """End every server and let go of the directory."""
        self._closing.close()

    def _start(self, undo: ExitStack) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        undo.callback(os.close, _lock(self.directory))
        settings = self._settings()
        credentials = _credentials(self.directory / "credentials.txt")
        for place in HOSTS:
            (self.directory / "data" / place).mkdir(parents=True, exist_ok=True)
        (self.directory / "data" / "ana1" / MARKER).touch()

        knobs = Knobs()
        ports = settings.ports
        shown = Schedule.around(settings.anchor)
        if not shown.answer(["run", "getCurrentRun"], datetime.now(UTC)).body:
            self.notes.append(
                f"nobody is on beam today, so far from {settings.anchor}; give another --anchor"
            )
        schedule = ScheduleServer(shown, credentials=credentials, port=ports["schedule"], knobs=knobs)
        mail = MailServer(self.directory / "mail", port=ports["mail"], knobs=knobs)
        errands = ErrandsServer(self.directory / "errands", port=ports["errands"], knobs=knobs)
        hosts = self._hosts(ports, knobs)
        control = ControlServer(knobs, schedule, mail, errands, hosts, port=ports["control"])
        servers = {"schedule": schedule, "mail": mail, "errands": errands, "hosts": hosts, "control": control}
        for name, server in servers.items():
            if server is not None:
                self._listen(name, server.start)
                undo.callback(server.stop)

        settings.write(self.directory / KEPT)
        self._write_if_absent("access.acf", _shipped("access.acf"))
        self._write_if_absent("site.yaml", self._site(ports, "local" if hosts is None else "ssh"))
        _check(schedule, mail, errands, control)
        schedule.log_to(self.directory / "schedule")

    def _settings(self) -> Settings:
        path = self.directory / KEPT
        if path.exists():
            settings = Settings.read(path)
            return settings if self._anchor is None else replace(settings, anchor=self._anchor)
        if (self.directory / "site.yaml").exists():
            self.notes.append(
                f"{self.directory / 'site.yaml'} was left as it is: "
                "it may not have the ports of the new sim.yaml"
            )
        return Settings.chosen(self._anchor or datetime.now(load_facility().timezone).date())

    def _hosts(self, ports: dict[str, int], knobs: Knobs) -> HostsServer | None:
        if self._local:
            return None
        if not ssh_works():
            self.notes.append(
                "there is no ssh client that works here, so the places are directories of this computer "
                "and the knobs of hosts do nothing; install openssh-client and begin a new box to have them"
            )
            return None
        if find_spec("asyncssh") is None:
            raise BoxError("the box needs asyncssh; install it with: pip install 'beamtime-ioc[sim]'")
        return HostsServer(self.directory / "hosts", ports={name: ports[name] for name in HOSTS}, knobs=knobs)

    def _site(self, ports: dict[str, int], places: str) -> str:
        tops = {f"{name}_top": json.dumps(str(self.directory.resolve() / "data" / name)) for name in HOSTS}
        told = Template(_shipped(f"places.{places}.yaml")).substitute(tops)
        return Template(_shipped("site.template.yaml")).substitute(ports, places=told.rstrip())

    def _listen(self, name: str, start: Callable[[], None]) -> None:
        try:
            start()
        except PortTakenError as error:
            raise BoxError(
                f"{error} ({name}, kept in {self.directory / KEPT}); end that process, "
                "or remove sim.yaml and site.yaml to choose new ports"
            ) from error

    def _write_if_absent(self, name: str, text: str) -> None:
        path = self.directory / name
        if not path.exists():
            half = path.with_suffix(".part")
            half.write_text(text, encoding="utf-8")
            half.rename(path)


def _shipped(name: str) -> str:
    return files("beamtime_sim").joinpath(name).read_text(encoding="utf-8")


def _lock(directory: Path) -> int:
    path = directory / LOCK
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 20).decode().strip()
        os.close(lock)
        raise BoxError(
            f"a box runs on {directory} already (process {owner}); use it, or end it first"
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _credentials(path: Path) -> tuple[str, str]:
    if not path.exists():
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{USER}|{secrets.token_urlsafe(12)}\n")
    user, bar, password = path.read_text(encoding="utf-8").strip().partition("|")
    if not (user and bar and password):
        raise BoxError(f"{path} must hold one line user|password; mend it, or remove it to get a new one")
    return user, password


def _check(
    schedule: ScheduleServer, mail: MailServer, errands: ErrandsServer, control: ControlServer
) -> None:
    """Ask every server once, then forget that anybody asked."""
    token = b64encode(":".join(schedule.credentials or ()).encode()).decode()
    with closing(HTTPConnection(HOST, schedule.port, timeout=5)) as connection:
        connection.request(
            "GET", schedule.url + "run/getCurrentRun", headers={"Authorization": f"Basic {token}"}
        )
        status = connection.getresponse().status
    if status != HTTPStatus.OK:
        raise BoxError(f"the box's own schedule answered {status}")
    with smtplib.SMTP(HOST, mail.port, timeout=5) as talk:
        talk.noop()
    with closing(HTTPConnection(HOST, errands.port, timeout=5)) as connection:
        connection.request("GET", "/")
        connection.getresponse().read()
    ask(control.port, "GET", "/")
    schedule.forget_requests()
    mail.forget_counts()
