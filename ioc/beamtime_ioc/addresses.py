"""E-mail addresses, as people have them."""

import re
from dataclasses import dataclass

# What may stand in an address without quotes; quoted local parts are not used by people.
LOCAL = re.compile(r"[^\s\x00-\x1f\x7f@<>()\[\],;:\\\"]{1,64}")
LABEL = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?")


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
        if ".." in local or not all(LABEL.fullmatch(label) for label in domain.split(".")):
            return None
        try:
            return cls(local=local, domain=domain.encode("idna").decode("ascii"))
        except UnicodeError:
            return None


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
