"""``beamtime mail``: see the letters, try the relay, look into the outbox, take DMagic's letters over.

Exit codes: 0 done; 1 the relay did not take it; 2 a file or an option is wrong, in one line on stderr.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from beamtime_ioc.cli_options import (
    BAD_END,
    BAD_INPUT,
    SiteOption,
    StateOption,
    fail,
    require_text,
    state_of,
)
from beamtime_ioc.errors import BeamtimeError, LineError, SiteFileError
from beamtime_ioc.model import Letter, OutboxRow, Site
from beamtime_ioc.ports import Context

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from beamtime_handlers.clients.smtp_mail.mail import SmtpMail

app = typer.Typer(
    help="The letters to users: see them, try the relay, look into the outbox, take DMagic's over.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)

STATES = ("sending", "accepted", "refused", "deferred", "undelivered", "unsure", "given up")
HEADINGS = ("At", "To", "State", "Tries", "Experiment", "Answer")

Template = Annotated[
    Path | None,
    typer.Option("--template", help="Letter to take instead of that of the site file: DIRECTORY/NAME."),
]


@app.command()
def render(
    site: SiteOption = None,
    template: Template = None,
    html: Annotated[bool, typer.Option("--html", help="Show the HTML instead of the text.")] = False,
) -> None:
    """Fill the letter for invented experiments, and show the first; nobody is mailed.

    Among them are names in other scripts, quotes, marks of HTML, an empty title. Without --site it is the
    letter that comes with the program. Exit code 2: it cannot be filled; file and line are named.
    """
    changes: dict[str, object] = {"mode": "dry-run"}
    if template is not None:
        changes["template"] = str(template.resolve())
    letters = _mail(site, changes, _Unrecorded()).try_templates()
    first = letters[0][1]
    if html and not first.html:
        fail("this letter has no HTML", BAD_INPUT)
    typer.echo(f"Subject: {first.subject}\n")
    typer.echo(first.html if html else first.text)
    for about, _ in letters:
        typer.echo(f"ok    {about}")


@app.command("send-test")
def send_test(site: SiteOption = None) -> None:
    """Send the letter for an invented experiment to `mail.contact`, whatever `mail.mode` is.

    It is marked [TEST], and not kept in the outbox. Exit code 1: the relay did not take it.
    """
    if site is None:
        fail("name the site file by --site (or BEAMTIME_SITE)", BAD_INPUT)
    outbox = _Unrecorded()
    mail = _mail(site, {"mode": "test"}, outbox)
    letter = mail.as_test(mail.try_templates()[0][1], f"test at {datetime.now(UTC).isoformat()}")
    try:
        mail.send(letter)
    except LineError:
        raise
    except BeamtimeError as error:
        fail(str(error), BAD_END)
    typer.echo(f"{letter.to}: {outbox.answer}")


@app.command()
def outbox(
    site: SiteOption = None,
    state: StateOption = None,
    only: Annotated[str, typer.Option("--only", help=f"Only those that are {', '.join(STATES)}.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many of the newest.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the letters and what became of each, newest first; reads only, also while the IOC runs.

    Times are UTC. Exit code 2: no state database there.
    """
    from beamtime_ioc.journal import reading
    from beamtime_ioc.stored_outbox import letters_of_any_version

    if only not in ("", *STATES):
        fail(f"--only {only!a:.40}: no state of a letter; these are {', '.join(STATES)}", BAD_INPUT)
    directory, database = state_of(site, state)
    with reading(directory, database) as journal, journal.engine.connect() as db:
        rows = letters_of_any_version(db, limit, state=only)
    if as_json:
        for row in rows:
            typer.echo(json.dumps(_fields(row), ensure_ascii=False))
    elif rows:
        typer.echo(_table([HEADINGS, *map(_cells, rows)]))


@app.command("import-dmagic")
def import_dmagic(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="DMagic's letter.", show_default=False)],
    letter: Annotated[
        Path, typer.Argument(metavar="DIRECTORY/NAME", help="Where ours is written.", show_default=False)
    ],
    subject: Annotated[
        str, typer.Option("--subject", help="Subject, as a template.", show_default=False)
    ] = "",
) -> None:
    """Turn a letter of DMagic into one of ours: NAME.subject, NAME.txt and, from HTML, NAME.html.

    %%DATA_LINK%%, %%SLIDES_LINK%% and lines that begin with "Data link:" become our fields. FILE stays as it
    is, and nothing is overwritten. Exit code 2: a file is wrong, or stands already.
    """
    from beamtime_handlers.clients.smtp_mail.dmagic import SUBJECT, convert

    require_text(subject)
    source = _read(file)
    if not source.removeprefix("\ufeff").strip():
        fail(f"{file} is empty; name a letter of DMagic", BAD_INPUT)
    converted = convert(source)
    parts = {"subject": f"{subject or SUBJECT}\n", "txt": converted.text, "html": converted.html}
    written = {letter.parent / f"{letter.name}.{ending}": text for ending, text in parts.items() if text}
    for path in written:
        if path.exists():
            fail(f"{path} stands already; write another name, or move it away", BAD_INPUT)
    for path, text in written.items():
        _write(path, text)
    changes: dict[str, object] = {"mode": "dry-run", "template": str(letter.resolve())}
    try:
        _mail(None, {**changes, "data_link": "https://data.example.org"}, _Unrecorded()).try_templates()
    except BeamtimeError:  # what cannot be filled is not left in the way of the next try
        for path in written:
            path.unlink()
        raise
    typer.echo("\n".join(map(str, written)))
    for mark in converted.strange:
        typer.echo(f"{mark} is nothing that DMagic fills: it was left as it is", err=True)
    # From the site file's directory a relative path would be another one.
    typer.echo(
        f"\nwrite into the site file, below mail:\n  template: {letter.absolute()}\n  data_link: https://..."
    )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SiteFileError(file, 0, f"cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise SiteFileError(file, 0, "is no UTF-8 text") from error


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as new:
            new.write(text)
    except OSError as error:
        raise SiteFileError(path, 0, f"cannot be written: {error.strerror}") from error


class _Unrecorded:
    """An outbox for letters that count for nobody."""

    def __init__(self) -> None:
        self.answer = ""

    def find(self, key: str) -> OutboxRow | None:
        return None

    def find_all(self, keys: "Collection[str]") -> "Mapping[str, OutboxRow]":
        return {}

    def claim(self, letter: Letter) -> None:
        """Nothing is kept."""

    def settle(self, key: str, state: str, answer: str, *, due: datetime | None = None) -> None:
        self.answer = answer

    def give_up(self, key: str, answer: str, run_id: str) -> None:
        """Nothing is kept."""

    def waiting(self) -> "Sequence[tuple[OutboxRow, Letter | None]]":
        return ()


def _mail(site: Path | None, changes: dict[str, object], outbox: _Unrecorded) -> "SmtpMail":
    """The client of a site file, some of whose settings are others; without a file an invented one."""
    from beamtime_handlers.clients.smtp_mail.mail import build
    from beamtime_handlers.clients.smtp_mail.settings import Settings
    from beamtime_ioc.config import read_site_file

    if site is None:
        invented = Site(prefix="99bm:", beamline="99-BM", zone=ZoneInfo("UTC"))
        context = Context(site=invented, directory=Path(), state=Path(), outbox=outbox)
        return build(Settings.model_validate(changes), context)
    file = read_site_file(site)
    if file.sections.get("mail", {}).get("backend") != "smtp":
        fail(f"{site} has no section mail: with backend: smtp", BAD_INPUT)
    file = replace(file, sections={**file.sections, "mail": {**file.sections["mail"], **changes}})
    context = Context(
        site=file.site(), directory=file.directory, state=file.resolve(file.frame.state), outbox=outbox
    )
    return build(file.section("mail", Settings), context)


def _fields(row: OutboxRow) -> dict[str, object]:
    return {
        "at": row.at.isoformat(),
        "to": row.to,
        "state": row.state,
        "answer": row.answer,
        "tries": row.tries,
        "due": row.due.isoformat() if row.due else "",
        "experiment": row.experiment,
        "subject": row.subject,
        "run": row.run_id,
        "key": row.key,
    }


def _cells(row: OutboxRow) -> tuple[str, ...]:
    at = f"{row.at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    return at, row.to, row.state, str(row.tries), row.experiment or "-", row.answer


def _table(rows: "Sequence[Sequence[str]]") -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
