"""Section `mail` of the site file."""

from email.utils import parseaddr
from pathlib import Path
from typing import Literal, Self

import pydantic
from pydantic import Field

from beamtime_handlers.clients.smtp_mail.relay import PORTS, Connection
from beamtime_ioc.model import Address


class Settings(pydantic.BaseModel):
    """Where letters go, how, and to whom; without a mode nobody is mailed."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    backend: Literal["smtp"] = Field(default="smtp", description="Letters by SMTP.")
    mode: Literal["off", "dry-run", "test", "live"] = Field(
        default="dry-run",
        description="off: no letters. dry-run: files in the state directory, nobody is mailed. "
        "test: one letter, to `contact`. live: the users are mailed; writing this IS the consent.",
    )
    connection: Connection = Field(
        default="relay",
        description="relay: plain, without login. starttls: TLS after a greeting. tls: TLS at once.",
    )
    relay: str = Field(default="", description="Host name of the mail relay.")
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of the relay; by default 25 (relay), 587 (starttls), 465 (tls).",
    )
    user: str = Field(default="", description="Login at the relay; needs starttls or tls.")
    password_file: Path | None = Field(
        default=None, description="File that holds the password alone, with mode 0600."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates to trust besides those of the system, as PEM."
    )
    hello: str = Field(
        default="", description="Own name told to the relay; by default that of this computer."
    )
    sender: str = Field(default="", description="From: `name@example.org` or `Beamline <name@example.org>`.")
    contact: str = Field(default="", description="Reply-To, and who gets the letter in mode test.")
    domain: str = Field(default="", description="Domain of the Message-ID; by default that of `sender`.")
    allow: tuple[str, ...] = Field(
        default=(), description="Domains, with those below them, that may be mailed; empty: all."
    )
    bcc: tuple[str, ...] = Field(
        default=(),
        max_length=10,
        description="Addresses that get a copy of each letter in mode live, and are not named in it.",
    )
    limit: int = Field(
        default=40, ge=1, le=10_000, description="With more recipients than this nothing is sent."
    )
    timeout_s: float = Field(
        default=10, gt=0, le=600, description="How long each answer of the relay may take, in s."
    )
    deadline_s: float = Field(
        default=60, gt=0, le=3600, description="How long one letter may take in all, in s."
    )
    press_s: float = Field(
        default=600,
        gt=0,
        le=86400,
        description="How long one press goes on to begin letters, in s; those after that are put off.",
    )
    template: Path | None = Field(
        default=None,
        description="Own letter, as `directory/name`: the files name.subject, name.txt and, if there, "
        "name.html. By default the letter that comes with the program.",
    )
    data_link: str = Field(
        default="",
        description="Address where users find their data, as a template: "
        "`https://data.example.org/{{ experiment.name | quoted }}`.",
    )
    slides_link: str = Field(
        default="", description="Address of the beamtime's slides, as a template like that of `data_link`."
    )
    slides_history: Path | None = Field(
        default=None,
        description="File in which TomoLog keeps the addresses of slides, `.tomolog` in its home; read if "
        "`slides_link` is empty.",
    )
    retry_min: float = Field(
        default=5,
        gt=0,
        le=1440,
        description="When a letter that was put off may be tried again by deliver-outbox, in min; twice as "
        "long after each try, up to 4 h.",
    )
    tries: int = Field(
        default=12, ge=1, le=100, description="After so many tries a letter that is put off is undelivered."
    )
    retention: str = Field(default="", description="One sentence on how long data are kept.")

    @pydantic.field_validator("mode", mode="before")
    @classmethod
    def _off_is_a_word(cls, mode: object) -> object:
        return "off" if mode is False else mode  # YAML reads a bare `off` as false

    @pydantic.field_validator("sender", "contact")
    @classmethod
    def _one_address(cls, text: str) -> str:
        address = parseaddr(text)[1]
        if text and (Address.parse(address) is None or not address.isascii() or "\n" in text):
            raise ValueError(
                f"{text!r} is not an address such as name@example.org or Beamline <name@example.org>"
            )
        return text

    @pydantic.field_validator("bcc")
    @classmethod
    def _plain_addresses(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            address = Address.parse(text)
            if address is None or not address.text.isascii() or "\n" in text:
                raise ValueError(f"{text!r} is not an address such as name@example.org")
        return tuple({text.lower(): text for text in texts}.values())

    @pydantic.field_validator("relay")
    @classmethod
    def _host_name(cls, text: str) -> str:
        is_name = text.isascii() and all(0 < len(label) < 64 for label in text.split("."))
        if text and (not is_name or any(c.isspace() or c in "/@" for c in text)):
            raise ValueError(f"{text!r} is not the name of a computer")
        return text

    @pydantic.field_validator("allow")
    @classmethod
    def _domains(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        allowed: list[str] = []
        for domain in domains:
            address = Address.parse(f"name@{domain.lstrip('@.')}")
            if address is None:
                raise ValueError(f"{domain!r} is not a domain such as example.org")
            allowed.append(address.domain.lower())
        return tuple(allowed)

    @pydantic.field_validator("domain")
    @classmethod
    def _domain(cls, domain: str) -> str:
        if domain and (not domain.isascii() or Address.parse(f"name@{domain}") is None):
            raise ValueError(f"{domain!r} is not a domain such as example.org")
        return domain

    @pydantic.field_validator("user")
    @classmethod
    def _ascii_user(cls, user: str) -> str:
        if not user.isascii():
            raise ValueError(f"{user!r} has letters other than ASCII, which cannot be sent as a login")
        return user

    @pydantic.model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.mode in ("test", "live"):
            for name in ("relay", "sender", *(["contact"] if self.mode == "test" else [])):
                if not getattr(self, name):
                    raise ValueError(f"mode {self.mode} needs `{name}`")
        if self.user and self.connection == "relay":
            raise ValueError(
                "a login needs connection starttls or tls, or the password could be read on its way"
            )
        if self.user and self.password_file is None:
            raise ValueError("`user` needs `password_file`")
        return self

    @property
    def relay_port(self) -> int:
        return self.port or PORTS[self.connection]

    @property
    def message_domain(self) -> str:
        return self.domain or parseaddr(self.sender)[1].rpartition("@")[2] or "beamtime.invalid"
