"""A letter as it goes over the wire: plain text and HTML, in 7 bits."""

import hashlib
import re
from datetime import datetime
from email import policy
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

from beamtime_ioc.model import Address, Letter, one_line


def message(letter: Letter, *, sender: str, contact: str, at: datetime) -> bytes:
    """The message; the same letter at the same time gives the same bytes.

    Parameters
    ----------
    sender, contact
        `local@domain` or `Name <local@domain>`; an empty contact leaves Reply-To out.
    """
    to = Address.parse(letter.to)
    assert to is not None
    # With `cte_type` 8bit the relay would have to know 8BITMIME.
    rules = policy.SMTPUTF8 if to.needs_utf8 else policy.SMTP.clone(cte_type="7bit")
    mail = EmailMessage(policy=rules)
    mail["From"] = _header(sender)
    if contact:
        mail["Reply-To"] = _header(contact)
    mail["To"] = HeaderAddress(_plain(letter.name), to.local, to.domain)
    mail["Subject"] = _one_word_a_word(one_line(letter.subject))
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = letter.message_id
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(letter.text)
    if letter.html:
        mail.add_alternative(letter.html, subtype="html")
        mail.set_boundary(f"=_{hashlib.sha256(letter.key.encode()).hexdigest()[:32]}")
    return mail.as_bytes()


def _header(text: str) -> HeaderAddress:
    name, address = parseaddr(text)
    local, _, domain = address.rpartition("@")
    return HeaderAddress(_plain(name), local, domain)


def _plain(name: str) -> str:
    """A name without what has a meaning in an address: folding a quoted one has added recipients."""
    return one_line(_one_word_a_word(re.sub(r'[()<>@,:;\\"\[\]]', " ", name)), 100)


def _one_word_a_word(text: str) -> str:
    """Without the beginning of an encoded word, which `email` would decode: to a comma, or a line break."""
    return text.replace("=?", "= ?")
