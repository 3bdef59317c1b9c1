"""A thousand recipients: a preview of EmailUsers, beside a loop that only fills the same templates."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
from effort import Effort
from jinja2.sandbox import ImmutableSandboxedEnvironment
from postgres import MISSING, postgres
from servers import PREFIX, House
from table import Group, Line, ratio_of
from timing import timed

from beamtime_handlers.clients.smtp_mail import Settings, SmtpMail, build
from beamtime_handlers.clients.smtp_mail.letters import default_letter, letter_fields, reader_fields
from beamtime_handlers.email_users import email_users
from beamtime_ioc.engine.engine import Order
from beamtime_ioc.engine.plan import plan
from beamtime_ioc.engine.workshop import Workshop
from beamtime_ioc.model import Experiment, Person, Place, Site, Who
from beamtime_ioc.ports import Context
from beamtime_ioc.store import Store
from beamtime_ioc.stored_outbox import StoredOutbox

PEOPLE, MAILED = 1000, 500
ZONE = ZoneInfo("America/Chicago")
PLACES = (Place(name="det1", top=PurePosixPath("/local/data")),)
SITE = Site(prefix=PREFIX, beamline="99-BM", zone=ZONE, places=PLACES)
BEGIN = datetime(2026, 11, 20, 8, tzinfo=ZONE)
LINK = "https://data.example.org/{{ experiment.name | quoted }}"


def mails(house: House, effort: Effort) -> Group:
    """Plans on SQLite and on PostgreSQL, and the loop, in turns."""
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="mail-", dir=house.directory))
        planned = {"SQLite": _planner(stack, place / "sqlite", "")}
        server = stack.enter_context(postgres())
        if server is not None:
            planned["PostgreSQL"] = _planner(stack, place / "postgresql", server.database().url)
        loop = _loop()
        took: dict[str, list[float]] = {name: [] for name in (*planned, "loop")}
        for turn in range(effort.rounds + 1):
            for name, act in {**planned, "loop": loop}.items():
                seconds = timed(act)
                if turn:
                    took[name].append(seconds)
    lines = [_line(name, took) for name in planned]
    remark = (
        f"{MAILED} of the {PEOPLE:,} have their letter. Peer: a loop that fills the three templates of the "
        f"letter {PEOPLE:,} times in Jinja2's sandbox, and does nothing else."
    )
    return Group(name="Letters", lines=lines, remark=remark if server else f"{remark} {MISSING}")


def _line(name: str, took: Mapping[str, list[float]]) -> Line:
    seconds = median(took[name])
    return Line(
        what=f"{name}: preview of {PEOPLE:,} letters",
        ours=f"{seconds:.2f} s",
        peer=f"loop {median(took['loop']):.2f} s",
        ratio=ratio_of(took[name], took["loop"]),
        goal="<= 1 s",
        measured=seconds,
    )


def _planner(stack: ExitStack, directory: Path, database: str) -> Callable[[], None]:
    """What previews EmailUsers on a state where some have had their letter."""
    store = Store(directory, PREFIX, database=database)
    stack.callback(store.close)
    outbox = StoredOutbox(store)
    mail = _mail(directory, outbox)
    experiment = _experiment()
    for letter in mail.compose(experiment, PLACES, "earlier").letters[:MAILED]:
        outbox.claim(letter)
        outbox.settle(letter.key, "accepted", "250 2.0.0 kept")
    workshop = Workshop(actions={"email-users": email_users}, services={"mail": mail}, site=SITE)
    order = Order(
        id="preview",
        action="email-users",
        resource="mail",
        who=Who(via="local"),
        experiment=experiment,
        arguments={},
    )
    counted = f"{PEOPLE} letters: {PEOPLE - MAILED} new, {MAILED} already mailed"

    def act() -> None:
        text = plan(order, workshop)
        assert counted in text, text[:500]

    return act


def _mail(directory: Path, outbox: StoredOutbox) -> SmtpMail:
    settings = Settings(
        mode="live", relay="localhost", sender="bm99@example.org", limit=PEOPLE, data_link=LINK
    )
    return build(settings, Context(site=SITE, directory=directory, state=directory, outbox=outbox))


def _experiment() -> Experiment:
    people = tuple(
        Person(first_name=f"P{n}", last_name="Ünal", email=f"p{n}@example.org", is_pi=not n)
        for n in range(PEOPLE)
    )
    return Experiment(
        key="bench:1",
        name="2026-11-Unal-9100001",
        start=BEGIN,
        end=BEGIN + timedelta(days=3),
        proposal="9100001",
        title="Foam under load",
        beamline="99-BM",
        people=people,
    )


def _loop() -> Callable[[], None]:
    """Jinja2 alone, as its documentation uses it."""
    letter = default_letter()
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        autoescape=lambda name: bool(name) and str(name).endswith(".html"),
        loader=jinja2.FileSystemLoader(letter.parent),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates = [environment.get_template(f"{letter.name}.{ending}") for ending in ("subject", "txt", "html")]
    experiment = _experiment()
    texts = {"data_link": "https://data.example.org/1", "slides_link": "", "slides_date": "", "retention": ""}
    common: dict[str, Any] = letter_fields(experiment, PLACES, SITE, sender="", contact="", **texts)

    def act() -> None:
        for person in experiment.people:
            values = {**common, **reader_fields(person)}
            for template in templates:
                template.render(values)

    return act
