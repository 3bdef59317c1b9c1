"""The letters of one mailing: the site's templates, read once and filled for each person."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from email.utils import parseaddr

from beamtime_handlers.clients.smtp_mail.letters import (
    LetterTemplate,
    letter_fields,
    line_template,
    reader_fields,
)
from beamtime_handlers.clients.smtp_mail.settings import Settings
from beamtime_handlers.clients.smtp_mail.slides import Slides, slides_of
from beamtime_ioc.model import Experiment, Letter, Person, Place, mailbox
from beamtime_ioc.ports import Context


class Writing:
    """Writes the letters of a mailing.

    Attributes
    ----------
    said, warnings
        As of `Mailing`, of the letters that were written last.

    Raises
    ------
    SiteFileError
        A template is missing, or is none.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self.settings, self._site = settings, context.site
        self._template = LetterTemplate.read(settings.template and context.directory / settings.template)
        self._data_link = line_template("mail.data_link", settings.data_link)
        self._slides_link = line_template("mail.slides_link", settings.slides_link)
        self._slides_history = settings.slides_history and context.directory / settings.slides_history
        self.said: tuple[str, ...] = ()
        self.warnings: tuple[tuple[str, str], ...] = ()

    def letters(
        self, experiment: Experiment, readers: Sequence[tuple[Person, str]], places: Sequence[Place]
    ) -> list[Letter]:
        """One letter for each reader, a person with an address.

        Raises
        ------
        SiteFileError
            A template cannot be filled; names the file and the line.
        """
        settings = self.settings
        slides = self._slides(experiment)
        common = letter_fields(
            experiment,
            places,
            self._site,
            sender=parseaddr(settings.sender)[1],
            contact=parseaddr(settings.contact)[1],
            retention=settings.retention,
            slides_date=slides.day,
        )
        self.said, letters, domain = (), list[Letter](), settings.message_domain
        self.warnings = (("link to slides", slides.warning),) if slides.warning else ()
        for person, to in readers:
            values = {**common, **reader_fields(person)}
            values["data_link"] = self._data_link(values)
            values["slides_link"] = self._slides_link(values) or slides.link
            words = self._template.render(values)
            key = digest(experiment.key, self._template.name, mailbox(to))
            letters.append(
                Letter(
                    key=key,
                    to=to,
                    name=person.full_name,
                    subject=words.subject,
                    text=words.text,
                    html=words.html,
                    message_id=f"<{key}@{domain}>",
                    experiment=experiment.name,
                )
            )
            self.said = self.said or _said(values["data_link"], values["slides_link"], slides.day)
        return letters

    def _slides(self, experiment: Experiment) -> Slides:
        if self.settings.slides_link or self._slides_history is None:
            return Slides()
        return slides_of(self._slides_history, experiment.proposal)


def _said(data_link: str, slides_link: str, day: str) -> tuple[str, ...]:
    of = f" of {day}" if day else ""
    said = (
        data_link and f"link to the data: {data_link}",
        slides_link and f"link to the slides{of}: {slides_link}",
    )
    return tuple(filter(None, said))


def another(letter: Letter, *parts: str) -> Letter:
    """The same words as another letter: the same parts, the same other one.

    Its Message-ID is its own, too: relays and mail boxes drop what they have seen.
    """
    key, domain = digest(*parts, letter.key), letter.message_id.rpartition("@")[2]
    return replace(letter, key=key, message_id=f"<{key}@{domain}")


def digest(*parts: str) -> str:
    """What a letter is known by: the same parts, the same letter."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
