"""E-mail addresses, as people have them."""

import re
import unicodedata
from dataclasses import dataclass

import idna

# What may stand in an address without quotes; quoted local parts are not used by people.
LOCAL = re.compile(r"[^\s\x00-\x1f\x7f@<>()\[\],;:\\\"]{1,64}")
LABEL = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?", re.ASCII)
LONGEST_DOMAIN = 253


@dataclass(frozen=True, kw_only=True)
class Address:
    """An address of the form `local@domain`."""

    local: str
    domain: str
    """In ASCII letters: what stands in a message and in the talk with a relay."""

    @property
    def text(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def needs_utf8(self) -> bool:
        """Whether a relay must know SMTPUTF8 for it."""
        return not self.local.isascii()

    @classmethod
    def parse(cls, text: str) -> "Address | None":
        """Read one address; None if it is not of the usual form."""
        local, at, domain = text.strip().rpartition("@")
        if not at or not LOCAL.fullmatch(local) or local.startswith(".") or local.endswith("."):
            return None
        if "=?" in local:  # begins an encoded word: in a header it could be read as somebody else's address
            return None
        in_ascii = None if ".." in local else _in_ascii(domain)
        return None if in_ascii is None else cls(local=local, domain=in_ascii)


def _in_ascii(domain: str) -> str | None:
    """A domain as it travels; None if there can be none of this name.

    By IDNA 2008, as browsers do it (UTS 46, non-transitional). Python's own codec is that of 2003, to which
    `straße` is `strasse`: the domain of somebody else.
    """
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii") if domain.isprintable() else ""
        except idna.IDNAError:
            return None
    whole = len(domain) <= LONGEST_DOMAIN and all(map(LABEL.fullmatch, domain.split(".")))
    return domain if whole else None


def mailbox(text: str) -> str:
    """What one mailbox is known by, however its address is written: in small letters, the domain in ASCII."""
    address = Address.parse(text)
    known = text.strip() if address is None else address.text
    return unicodedata.normalize("NFC", known.lower())


def typed_address(text: str) -> str:
    """What somebody has typed as an address; empty is none.

    Raises
    ------
    ValueError
        It is no address.
    """
    text = text.strip()
    if text and (not text.isprintable() or Address.parse(text) is None):
        raise ValueError(f"{text[:60]!r} is no e-mail address; write it as name@example.org")
    return text
