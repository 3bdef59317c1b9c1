"""Letters to users: who gets which, and what has become of each."""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from email import message_from_bytes
from email.utils import parseaddr, parsedate_to_datetime
from pathlib import Path

from beamtime_handlers.clients.smtp_mail.letters import LetterTemplate, letter_fields, render_line
from beamtime_handlers.clients.smtp_mail.message import message
from beamtime_handlers.clients.smtp_mail.recipients import Address, choose
from beamtime_handlers.clients.smtp_mail.relay import Relay
from beamtime_handlers.clients.smtp_mail.settings import Settings
from beamtime_ioc.errors import (
    BeamtimeError,
    DefinitelyRefusedError,
    NotVerifiedError,
    OutcomeUnknownError,
    ServiceError,
    StateError,
)
from beamtime_ioc.model import Experiment, Json, Letter, Person, Place
from beamtime_ioc.ports import Context, Health, Mailing


def build(settings: Settings, context: Context) -> "SmtpMail":
    """Make the client.

    Raises
    ------
    SiteFileError
        The letter's templates are missing or no templates.
    """
    template = settings.template and context.directory / settings.template
    if settings.mode != "off":
        LetterTemplate.read(template)
    relay = Relay(
        host=settings.relay,
        port=settings.relay_port,
        connection=settings.connection,
        user=settings.user,
        password_file=settings.password_file and context.directory / settings.password_file,
        ca_file=settings.ca_file and context.directory / settings.ca_file,
        hello=settings.hello,
        timeout_s=settings.timeout_s,
        deadline_s=settings.deadline_s,
    )
    return SmtpMail(settings, context, template, relay)


class SmtpMail:
    """Writes one letter to each person; the row in the outbox, or in dry runs the file, is its only claim."""

    def __init__(self, settings: Settings, context: Context, template: Path | None, relay: Relay) -> None:
        self.settings, self.relay, self._template = settings, relay, template
        self._site, self._outbox = context.site, context.outbox
        self.dry_run_directory = context.state / "dry-run"

    # -- port Mail --------------------------------------------------------------------------

    def compose(self, experiment: Experiment, places: Sequence[Place], run_id: str) -> Mailing:
        settings = self.settings
        if settings.mode == "off":
            return Mailing(letters=(), mode="off")
        who = choose(experiment.people, settings.allow)
        if len(who.chosen) > settings.limit:
            raise BeamtimeError(
                f"{len(who.chosen)} people would get a letter, and `mail.limit` is {settings.limit}",
                advice="see whether the schedule is right; if it is, raise `mail.limit` in the site file",
            )
        template = LetterTemplate.read(self._template)
        letters = [self._letter(template, experiment, one, to, places) for one, to in who.chosen]
        if settings.mode == "test":
            person = who.chosen[0][0] if who.chosen else experiment.pi
            letter = self._letter(template, experiment, person, parseaddr(settings.contact)[1], places)
            letters = [self._as_test(letter, run_id)]
        return Mailing(letters=tuple(letters), left_out=who.left_out, mode=settings.mode)

    def find(self, letter: Letter) -> Json:
        if self.settings.mode == "dry-run":
            return self._written(letter)
        row = self._outbox.find(letter.key)
        if row is None or row.state in ("refused", "deferred"):
            return None
        if row.state == "accepted":
            return {"to": row.to, "state": row.state, "answer": row.answer, "at": row.at.isoformat()}
        begun = f"the letter to {row.to} was begun at {row.at:%Y-%m-%d %H:%M %Z}, its end is not known"
        advice = f"ask {row.to} whether it arrived; if not, write to them yourself: it is not sent again"
        raise OutcomeUnknownError(row.answer or begun, advice=advice)

    def send(self, letter: Letter) -> None:
        content = self._message(letter, datetime.now(self._site.zone))
        if self.settings.mode == "dry-run":
            self._write(letter, content)
            return
        to = Address.parse(letter.to)
        if self.settings.mode == "off" or to is None:
            raise BeamtimeError(
                f"no letter can go to {letter.to} now", advice="see `mail.mode` in the site file"
            )
        self._outbox.claim(letter)
        try:
            answer = self.relay.deliver(parseaddr(self.settings.sender)[1], to, content)
        except OutcomeUnknownError as error:
            self._outbox.settle(letter.key, "unsure", error.sentence)
            raise
        except DefinitelyRefusedError as error:
            self._outbox.settle(letter.key, "refused", error.sentence)
            raise
        except ServiceError as error:  # it came to nothing before the text: it may be tried again
            self._outbox.settle(letter.key, "deferred", error.sentence)
            raise
        try:
            self._outbox.settle(letter.key, "accepted", answer)
        except StateError as error:
            raise OutcomeUnknownError(
                f"the relay took the letter to {letter.to}, but this is not written down: {error.sentence}",
                advice="do not write to them again",
            ) from error

    def sent(self, letter: Letter) -> Json:
        found = self.find(letter)
        if found is None:
            row = self._outbox.find(letter.key)
            state = "nothing" if row is None else f"{row.state}: {row.answer}"
            raise NotVerifiedError(f"letter to {letter.to}", wanted="accepted", found=state)
        return found

    def check(self) -> Health:
        began, mode = time.monotonic(), self.settings.mode
        if mode == "off":
            return Health(ok=True, sentence="mail is off")
        try:
            self._try_templates()
            if mode == "dry-run":
                sentence = f"dry run: letters are written to {self.dry_run_directory}, nobody is mailed"
                return Health(ok=True, sentence=sentence, latency_s=time.monotonic() - began)
            latency_s = self.relay.look()
        except BeamtimeError as error:
            return Health(ok=False, sentence=str(error), latency_s=time.monotonic() - began)
        for_whom = (
            "users get letters" if mode == "live" else f"test: only {self.settings.contact} gets letters"
        )
        return Health(ok=True, sentence=f"{self.relay} answers; {for_whom}", latency_s=latency_s)

    # -- the letters ------------------------------------------------------------------------

    def _letter(
        self,
        template: LetterTemplate,
        experiment: Experiment,
        person: Person,
        to: str,
        places: Sequence[Place],
    ) -> Letter:
        settings = self.settings
        values = letter_fields(
            experiment,
            person,
            places,
            self._site,
            sender=parseaddr(settings.sender)[1],
            contact=parseaddr(settings.contact)[1],
            retention=settings.retention,
        )
        values["data_link"] = render_line("mail.data_link", settings.data_link, values)
        words = template.render(values)
        letter = Letter(
            key=_digest(experiment.key, template.version, to.lower()),
            to=to,
            name=person.full_name,
            subject=words.subject,
            text=words.text,
            html=words.html,
        )
        return replace(letter, message_id=self._message_id(letter.key))

    def _as_test(self, letter: Letter, run_id: str) -> Letter:
        key = _digest("test", run_id, letter.key)
        name = parseaddr(self.settings.contact)[0] or "test"
        subject = f"[TEST] {letter.subject}"
        return replace(letter, key=key, name=name, subject=subject, message_id=self._message_id(key))

    def _message_id(self, key: str) -> str:
        return f"<{key}@{self.settings.message_domain}>"

    def _message(self, letter: Letter, at: datetime) -> bytes:
        sender = self.settings.sender or "mail.sender is not set <nobody@localhost.invalid>"
        return message(letter, sender=sender, contact=self.settings.contact, at=at)

    def _try_templates(self) -> None:
        """Fill the templates once, for an invented person."""
        now = datetime.now(self._site.zone)
        person = Person(first_name="Zoë", last_name="<O'Brien>", email="zoe@example.org", is_pi=True)
        experiment = Experiment(key="check:1", name="check", start=now, end=now, people=(person,))
        self._letter(LetterTemplate.read(self._template), experiment, person, person.email, self._site.places)

    # -- dry runs ---------------------------------------------------------------------------

    def _file(self, letter: Letter) -> Path:
        return self.dry_run_directory / f"{letter.message_id.strip('<>')}.eml"

    def _written(self, letter: Letter) -> Json:
        """The file of a letter, if it says what the letter says now."""
        file = self._file(letter)
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _no_dry_run(file, error) from error
        date = message_from_bytes(content)["Date"]
        if date is None or content != self._message(letter, parsedate_to_datetime(date)):
            return None
        return {"to": letter.to, "state": "written", "file": str(file)}

    def _write(self, letter: Letter, content: bytes) -> None:
        file = self._file(letter)
        part = file.with_name(f"{file.name}.part")
        try:
            self.dry_run_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(
                os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb"
            ) as half:
                half.write(content)
            part.replace(file)
        except OSError as error:
            raise _no_dry_run(file, error) from error


def _no_dry_run(file: Path, error: OSError) -> BeamtimeError:
    reason = error.strerror or type(error).__name__
    return BeamtimeError(f"{file} cannot be used: {reason.lower()}", advice="mend that, then press again")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
