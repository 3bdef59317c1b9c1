"""DMagic's letters, turned into templates of ours.

What DMagic reads (xray-imaging/DMagic, `dmagic/message.py`): a file whose first character is `<` is HTML,
with `%%DATA_LINK%%` and `%%SLIDES_LINK%%` in it; in any other file each line that begins with `Data link:`
is replaced.
"""

import re
from dataclasses import dataclass
from html.parser import HTMLParser

NEEDED = '{{ data_link | needed("mail.data_link") }}'
NO_SLIDES = "(no beamtime log slides found for this proposal)"
SLIDES = f'{{{{ slides_link or "{NO_SLIDES}" }}}}'
SUBJECT = "Important information for experiment {{ experiment.name }}"

_MARK = re.compile(r"%%([A-Z][A-Z0-9_]*)%%")
_KNOWN = ("DATA_LINK", "SLIDES_LINK")
_BRACE = re.compile(r"\{(?=[{%#]|\Z)")
_DATA_LINE = re.compile(r"^Data link:.*$", re.MULTILINE)
_HIDDEN = ("style", "script", "title")
_BLOCKS = ("p", "div", "ul", "ol", "table", "tr", "hr", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A letter's files.

    Parameters
    ----------
    html
        Empty for a letter of plain text.
    strange
        Marks of the form `%%WORD%%` that DMagic does not fill: they were left as they are.
    """

    text: str
    html: str
    strange: tuple[str, ...]


def convert(source: str) -> Converted:
    """Turn one file into a template in text and, if it is HTML, in HTML.

    Filled, the templates give the same words as DMagic would, with today's links in them; what looks like a
    mark of Jinja2 in the file comes out as it stands.
    """
    source = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    strange = tuple(dict.fromkeys(m[0] for m in _MARK.finditer(source) if m[1] not in _KNOWN))
    if not source.lstrip().startswith("<"):
        lined = _DATA_LINE.sub("Data link: %%DATA_LINK%%", source)
        return Converted(text=_filled(lined, html=False), html="", strange=strange)
    plain = _Plain()
    plain.feed(source)
    plain.close()
    return Converted(text=_filled(plain.text, html=False), html=_filled(source, html=True), strange=strange)


def _filled(source: str, *, html: bool) -> str:
    """The source with our fields at DMagic's marks, and nothing else that Jinja2 would read."""
    parts: list[str] = []
    last = 0
    for mark in _MARK.finditer(source):
        if mark[1] in _KNOWN:
            parts.append(_literal(source[last : mark.start()]))
            parts.append(_field(mark[1], as_link=html and not _in_tag(source, mark.start())))
            last = mark.end()
    return "".join([*parts, _literal(source[last:])])


def _literal(text: str) -> str:
    return _BRACE.sub('{{ "{" }}', text)


def _in_tag(source: str, at: int) -> bool:
    return source.rfind("<", 0, at) > source.rfind(">", 0, at)


def _field(word: str, *, as_link: bool) -> str:
    if word == "DATA_LINK":
        return f'<a href="{NEEDED}">{{{{ data_link }}}}</a>' if as_link else NEEDED
    if not as_link:
        return SLIDES
    link = '<a href="{{ slides_link }}">{{ slides_link }}</a>'
    # With the plus no white space around a mark is taken away.
    return f"{{%+ if slides_link +%}}{link}{{%+ else +%}}{NO_SLIDES}{{%+ endif +%}}"


class _Plain(HTMLParser):
    """HTML as plain text: paragraphs, items with a dash, addresses of links behind their words."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._hidden = 0
        self._links: list[tuple[str, int]] = []

    @property
    def text(self) -> str:
        lines = (re.sub(r"[^\S\n]+", " ", line).strip() for line in "".join(self._parts).split("\n"))
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag == "li":
            self._parts.append("\n- ")
        elif tag == "br":
            self._parts.append("\n")
        elif tag in _BLOCKS:
            self._parts.append("\n\n")
        elif tag == "td":
            self._parts.append(" ")
        elif tag == "a":
            self._links.append((dict(attrs).get("href") or "", len(self._parts)))

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _BLOCKS:
            self._parts.append("\n\n")
        elif tag == "a" and self._links:
            address, begin = self._links.pop()
            words = "".join(self._parts[begin:]).strip()
            if address and address.removeprefix("mailto:") != words:
                self._parts.append(f" ({address.removeprefix('mailto:')})")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._parts.append(re.sub(r"\s+", " ", data))
