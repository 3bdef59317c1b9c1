"""Letters to users: who gets which, and what has become of each."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from email.utils import parseaddr
from pathlib import Path

from beamtime_handlers.clients.smtp_mail.again import once_more
from beamtime_handlers.clients.smtp_mail.dryrun import DryRuns
from beamtime_handlers.clients.smtp_mail.message import message
from beamtime_handlers.clients.smtp_mail.recipients import choose
from beamtime_handlers.clients.smtp_mail.relay import Relay
from beamtime_handlers.clients.smtp_mail.samples import samples
from beamtime_handlers.clients.smtp_mail.settings import Settings
from beamtime_handlers.clients.smtp_mail.waiting import Presses, RefusedPassword, next_try, waiting
from beamtime_handlers.clients.smtp_mail.writing import Writing, another
from beamtime_ioc.errors import (
    BeamtimeError,
    DefinitelyRefusedError,
    NotVerifiedError,
    OutcomeUnknownError,
    ServiceError,
    StateError,
)
from beamtime_ioc.model import (
    GIVEN_UP,
    HAS_ENDED,
    MAY_BE_SENT,
    Address,
    Experiment,
    Json,
    Letter,
    Mailing,
    OutboxRow,
    Place,
    Waiting,
    mailbox,
)
from beamtime_ioc.ports import Context, Health


def build(settings: Settings, context: Context) -> "SmtpMail":
    """Make the client.

    Raises
    ------
    SiteFileError
        The letter's templates are missing or no templates.
    """
    if settings.mode != "off":
        Writing(settings, context)
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
    return SmtpMail(settings, context, relay)


class SmtpMail:
    """Writes one letter to each person; the row in the outbox, or in dry runs the file, is its only claim."""

    def __init__(self, settings: Settings, context: Context, relay: Relay) -> None:
        self.settings, self.relay, self._context = settings, relay, context
        self._site, self._outbox = context.site, context.outbox
        self._contact = parseaddr(settings.contact)[1]
        copies = settings.bcc if settings.mode == "live" else ()
        self._bcc = [address for text in copies if (address := Address.parse(text))]
        self._dry_runs = DryRuns(context.state / "dry-run", self.message)
        self._presses = Presses(settings.press_s)
        self._refused = RefusedPassword()

    @property
    def dry_run_directory(self) -> Path:
        return self._dry_runs.directory

    # -- port Mail --------------------------------------------------------------------------

    def compose(
        self,
        experiment: Experiment,
        places: Sequence[Place],
        run_id: str,
        *,
        only: Sequence[str] = (),
        again: str = "",
    ) -> Mailing:
        settings = self.settings
        if settings.mode == "off":
            return Mailing(letters=(), mode="off")
        who = choose(experiment.people, settings.allow, only)
        if len(who.chosen) > settings.limit:
            raise BeamtimeError(
                f"{len(who.chosen)} people would get a letter, and `mail.limit` is {settings.limit}",
                advice="see whether the schedule is right; if it is, raise `mail.limit` in the site file",
            )
        writing = Writing(settings, self._context)
        letters, left_out = writing.letters(experiment, who.chosen, places), list(who.left_out)
        if again:
            written = [(person, letter) for (person, _), letter in zip(who.chosen, letters, strict=True)]
            letters, unread = once_more(again, written, self._rows(letters))
            left_out += unread
        if settings.mode == "test":
            person = who.chosen[0][0] if who.chosen else experiment.pi
            tested = letters[:1] or writing.letters(experiment, [(person, self._contact)], places)
            letters = [self.as_test(letter, run_id) for letter in tested]
        return Mailing(
            letters=tuple(replace(letter, run_id=run_id) for letter in letters),
            left_out=tuple(left_out),
            mode=settings.mode,
            said=(*writing.said, *(f"a copy of each to {address.text}" for address in self._bcc)),
            warnings=writing.warnings,
        )

    def find(self, letter: Letter) -> Json:
        if self.settings.mode == "dry-run":
            return self._dry_runs.find(letter)
        return _standing(self._outbox.find(letter.key))

    def finder(self, letters: Sequence[Letter]) -> Callable[[Letter], Json]:
        if self.settings.mode == "dry-run":
            return self._dry_runs.find
        rows = self._rows(letters)
        return lambda letter: _standing(rows.get(letter.key))

    def _rows(self, letters: Sequence[Letter]) -> Mapping[str, OutboxRow]:
        return self._outbox.find_all([letter.key for letter in letters])

    def send(self, letter: Letter) -> None:
        mode, to = self.settings.mode, Address.parse(letter.to)
        content = self.message(letter, datetime.now(self._site.zone))
        if mode == "dry-run":
            self._dry_runs.write(letter, content)
            return
        # A run goes on after a restart with the letters it has written, but as the site file says now.
        if to is None or mode == "off" or (mode == "test" and letter.to != self._contact):
            raise BeamtimeError(
                f"no letter can go to {letter.to} now: `mail.mode` is {mode}",
                advice="if users shall be mailed, write `mode: live` into the site file, then press again",
            )
        self._outbox.claim(letter)
        try:
            self._presses.require_time(letter.run_id)
            bcc = [copy for copy in self._bcc if mailbox(copy.text) != mailbox(letter.to)]
            self._refused.require_another(letter.run_id)
            answer = self.relay.deliver(parseaddr(self.settings.sender)[1], to, content, bcc)
            self._refused.forget()
        except OutcomeUnknownError as error:
            self._outbox.settle(letter.key, "unsure", error.sentence)
            raise OutcomeUnknownError(error.sentence, advice=error.advice, claim=letter.key) from error
        except DefinitelyRefusedError as error:
            self._outbox.settle(letter.key, "refused", error.sentence)
            raise
        except ServiceError as error:  # it came to nothing before the text: it may be tried again
            self._put_off(letter, error.sentence)
            self._refused.note(error, letter.run_id)
            raise
        try:
            self._outbox.settle(letter.key, "accepted", answer)
        except StateError as error:
            raise OutcomeUnknownError(
                f"the relay took the letter to {letter.to}, but this is not written down: {error.sentence}",
                advice="do not write to them again",
                claim=letter.key,
            ) from error

    def sent(self, letter: Letter) -> Json:
        found = self.find(letter)
        if found is None:
            row = self._outbox.find(letter.key)
            state = "nothing" if row is None else f"{row.state}: {row.answer}"
            raise NotVerifiedError(f"letter to {letter.to}", wanted="accepted", found=state)
        return found

    def _put_off(self, letter: Letter, sentence: str) -> None:
        row = self._outbox.find(letter.key)
        tries = row.tries if row else 1
        due = next_try(self.settings, tries, datetime.now(self._site.zone))
        if due is None:
            sentence = f"{tries} tries came to nothing, the last: {sentence}"
        self._outbox.settle(letter.key, "undelivered" if due is None else "deferred", sentence, due=due)

    def waiting(self, *, at_once: bool = False) -> Waiting:
        now = datetime.now(self._site.zone)
        return waiting(self.settings, self._contact, self._outbox.waiting(), now, at_once=at_once)

    def put_off(self) -> Sequence[OutboxRow]:
        return [row for row, _ in self._outbox.waiting()]

    def give_up(self, row: OutboxRow, run_id: str) -> None:
        self._outbox.give_up(row.key, f"given up by a person; the last answer was: {row.answer}", run_id)

    def given_up(self, row: OutboxRow) -> Json:
        now = self._outbox.find(row.key)
        if now is None or now.state != GIVEN_UP:
            return None
        return {"to": now.to, "state": now.state, "at": now.at.isoformat()}

    def check(self) -> Health:
        began, mode = time.monotonic(), self.settings.mode
        if mode == "off":
            return Health(ok=True, sentence="mail is off")
        try:
            self.try_templates()
            if mode == "dry-run":
                sentence = f"dry run: letters are written to {self.dry_run_directory}, nobody is mailed"
                return Health(ok=True, sentence=sentence, latency_s=time.monotonic() - began)
            self._refused.require_another()
            latency_s = self.relay.look()
        except BeamtimeError as error:
            self._refused.note(error)
            return Health(ok=False, sentence=str(error), latency_s=time.monotonic() - began)
        for_whom = (
            "users get letters" if mode == "live" else f"test: only {self.settings.contact} gets letters"
        )
        return Health(ok=True, sentence=f"{self.relay} answers; {for_whom}", latency_s=latency_s)

    # -- the letters ------------------------------------------------------------------------

    def message(self, letter: Letter, at: datetime) -> bytes:
        """A letter as it goes over the wire."""
        sender = self.settings.sender or "mail.sender is not set <nobody@localhost.invalid>"
        return message(letter, sender=sender, contact=self.settings.contact, at=at)

    def try_templates(self) -> list[tuple[str, Letter]]:
        """Fill the templates for each invented experiment: what it is about, and the letter.

        Raises
        ------
        SiteFileError
            One cannot be filled; names the file and the line.
        """
        writing, at = Writing(self.settings, self._context), datetime.now(self._site.zone)
        found: list[tuple[str, Letter]] = []
        for about, experiment in samples(self._site, at):
            person = experiment.people[0]
            (letter,) = writing.letters(experiment, [(person, person.email)], self._site.places)
            self.message(letter, at)
            found.append((about, letter))
        return found

    def as_test(self, letter: Letter, run_id: str) -> Letter:
        """The letter as the contact gets it, another one in each run: it counts for nobody."""
        return replace(
            another(letter, "test", run_id),
            to=self._contact,
            name=parseaddr(self.settings.contact)[0] or "test",
            subject=f"[TEST] {letter.subject}",
        )


def _standing(row: OutboxRow | None) -> Json:
    """What a row says of its letter: it stands, or None: it may be sent."""
    if row is None or row.state in MAY_BE_SENT:
        return None
    if row.state in HAS_ENDED:
        return {"to": row.to, "state": row.state, "answer": row.answer, "at": row.at.isoformat()}
    begun = f"the letter to {row.to} was begun at {row.at:%Y-%m-%d %H:%M %Z}, its end is not known"
    advice = f"ask {row.to} whether it arrived, then answer with Resolve: it is not sent again by itself"
    raise OutcomeUnknownError(row.answer or begun, advice=advice, claim=row.key)
