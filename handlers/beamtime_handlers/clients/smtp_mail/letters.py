"""The words of a letter: a site's templates, or ours, filled by Jinja2."""

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar, cast
from urllib.parse import quote

import jinja2

from beamtime_handlers.clients.files import read_file
from beamtime_handlers.clients.smtp_mail.sandbox import Sandbox
from beamtime_ioc.errors import SiteFileError
from beamtime_ioc.model import Experiment, Person, Place, Site, one_line

LONGEST_SUBJECT = 300
LONGEST_BYTES = 1 << 20
T = TypeVar("T", Person, Experiment)


@dataclass(frozen=True, kw_only=True)
class LetterPlace:
    """A place as a template sees it."""

    name: str
    path: str


def default_letter() -> Path:
    """The letter that comes with the program: the checkout's, else the installed one."""
    source_root = Path(__file__).resolve().parents[3]
    beside = source_root.parent / "letters"
    installed = Path(sys.prefix) / "share" / "beamtime-ioc" / "letters"
    found = beside if source_root.name == "handlers" and beside.is_dir() else installed
    return found / "beamtime-begins"


def letter_fields(
    experiment: Experiment, places: Sequence[Place], site: Site, **texts: str
) -> dict[str, Any]:
    """What a template may say besides who reads it; no text in it has a line break or a control character.

    It is the same for all letters, and made once.

    Parameters
    ----------
    texts
        Of the site file, such as `contact` and `retention`.
    """
    people = tuple(_folded(one) for one in experiment.people)
    shown = replace(_folded(experiment), people=people)
    return {
        "experiment": shown,
        "pi": shown.pi,
        "places": [LetterPlace(name=p.name, path=str(p.path_for(experiment))) for p in places],
        "beamline": site.beamline,
        "start": experiment.start.astimezone(site.zone),
        "end": experiment.end.astimezone(site.zone),
        **texts,
    }


def reader_fields(person: Person) -> dict[str, Any]:
    """What a template may say of who reads it."""
    return {"person": _folded(person)}


def _folded(thing: T) -> T:
    texts = {field.name: getattr(thing, field.name) for field in fields(thing)}
    return replace(thing, **{name: one_line(text) for name, text in texts.items() if isinstance(text, str)})


@dataclass(frozen=True, kw_only=True)
class Words:
    """One letter, rendered."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, kw_only=True)
class LetterTemplate:
    """Three files beside each other: `NAME.subject`, `NAME.txt` and, if it is there, `NAME.html`."""

    subject: jinja2.Template
    text: jinja2.Template
    html: jinja2.Template | None
    name: str
    """What the letter is known by: other words under the same name make no other letter."""

    @classmethod
    def read(cls, path: Path | None) -> Self:
        """Read and compile; None takes the letter that comes with the program.

        Raises
        ------
        SiteFileError
            A file is missing, or no template.
        """
        found = path or default_letter()
        subject, text, html = (_source(found, ending) for ending in ("subject", "txt", "html"))
        for file, source in (subject, text):
            if source is None:
                raise SiteFileError(file, 0, "the file of the letter is missing")
        parts = (subject, text, html)
        environment = _environment({str(file): source for file, source in parts if source is not None})
        return cls(
            subject=_compiled(environment, subject[0]),
            text=_compiled(environment, text[0]),
            html=None if html[1] is None else _compiled(environment, html[0]),
            name=found.name,
        )

    def render(self, values: Mapping[str, Any]) -> Words:
        """Fill the templates.

        Raises
        ------
        SiteFileError
            An unknown field, or a template that cannot be filled; names the file and the line.
        """
        return Words(
            subject=one_line(_filled(self.subject, values), LONGEST_SUBJECT),
            text=_filled(self.text, values).strip() + "\n",
            html=_filled(self.html, values).strip() + "\n" if self.html else "",
        )


def line_template(setting: str, source: str) -> Callable[[Mapping[str, Any]], str]:
    """What fills a template that is one value of the site file, such as `mail.data_link`.

    Raises
    ------
    SiteFileError
        It is no template.
    """
    if not source:
        return lambda values: ""
    template = _compiled(_environment({setting: source}), Path(setting))
    return lambda values: one_line(_filled(template, values))


def _source(path: Path, ending: str) -> tuple[Path, str | None]:
    file = path.parent / f"{path.name}.{ending}"  # the name may hold dots: `with_suffix` would cut there
    try:
        content = read_file(file, LONGEST_BYTES)
        if len(content) > LONGEST_BYTES:
            raise SiteFileError(file, 0, f"the letter is longer than {LONGEST_BYTES >> 20} MB")
        return file, content.decode("utf-8")
    except FileNotFoundError:
        return file, None
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SiteFileError(file, 0, f"the letter cannot be read: {reason}") from error


def _environment(sources: Mapping[str, str]) -> jinja2.Environment:
    environment = Sandbox(
        undefined=jinja2.StrictUndefined,
        autoescape=_is_html,
        loader=jinja2.FunctionLoader(
            lambda name: (sources[name], name, lambda: True) if name in sources else None
        ),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"quoted": _quoted, "needed": _needed}  # pyright: ignore[reportUnknownMemberType]
    return environment


def _is_html(name: str | None) -> bool:
    return name is not None and name.endswith(".html")


def _quoted(text: object) -> str:
    """For a part of a web address: also slashes are written as %2F."""
    return quote(str(text), safe="")


def _needed(text: object, setting: str) -> object:
    """The text itself; a letter that cannot do without it is not written."""
    if not text:
        raise ValueError(f"it needs {setting}, which is empty")
    return text


def _compiled(environment: jinja2.Environment, file: Path) -> jinja2.Template:
    try:
        return environment.get_template(str(file))
    except jinja2.TemplateSyntaxError as error:
        raise SiteFileError(file, error.lineno, f"not a template: {error.message}") from error


def _filled(template: jinja2.Template, values: Mapping[str, Any]) -> str:
    try:
        return cast(Sandbox, template.environment).fill(template, values)
    except (
        jinja2.TemplateError,
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
    ) as error:
        name = template.filename or ""
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name
        ]
        text = f"the letter cannot be written: {error}; its fields are {', '.join(sorted(values))}"
        raise SiteFileError(name, (lines[-1] if lines else 0) or 0, text) from error
