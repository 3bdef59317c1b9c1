"""The address of a PostgreSQL database, as the site file has it at `database:`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, unquote, urlsplit

FILES = ("passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl")
OPTIONS = (*FILES, "sslmode")
FORM = "write postgresql://USER@HOST/DATABASE?passfile=/FILE, with :PORT behind HOST if it is not 5432"
HOST = re.compile(r"[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*")


@dataclass(frozen=True, kw_only=True)
class DatabaseUrl:
    """Where the database is, without a password.

    Parameters
    ----------
    text
        As it was written.
    host
        Empty: this computer, by PostgreSQL's own socket.
    user
        Empty: the account of the process.
    options
        Of libpq: the password file, and how the connection is encrypted.
    """

    text: str
    host: str
    port: int | None
    database: str
    user: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def parse(cls, text: str) -> "DatabaseUrl":
        """Take an address apart.

        Raises
        ------
        ValueError
            It is none that is taken. Nothing of the text is repeated: it may hold a password.
        """
        if not text.isprintable() or " " in text:
            raise ValueError(f"no blanks and no control characters; {FORM}")
        if text.startswith("sqlite"):
            raise ValueError("leave it out for SQLite: its file lies in the directory at state:")
        if not text.startswith("postgresql://"):
            raise ValueError(f"only postgresql:// is known; {FORM}")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise ValueError(FORM) from None
        account, at, place = parts.netloc.rpartition("@")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if ":" in account or {"password", "pass"} & {key.lower() for key in options}:
            raise ValueError(
                "no password here, since many read this file: name a file with ?passfile=/FILE (mode 0600, "
                "a line HOST:PORT:DATABASE:USER:PASSWORD), or use ~/.pgpass"
            )
        host = place.rpartition(":")[0] if port is not None else place
        user, database = unquote(account), unquote(parts.path[1:])
        if not HOST.fullmatch(host) or port == 0 or (not host and port is not None) or place.endswith(":"):
            raise ValueError(f"one host and its port; {FORM}")
        if parts.fragment or "#" in text or not WORD.fullmatch(database) or (at and not WORD.fullmatch(user)):
            raise ValueError(f"database and user consist of letters, digits and _ . @ + -; {FORM}")
        if not set(options) <= set(OPTIONS) or len(options) != parts.query.count("&") + bool(parts.query):
            raise ValueError(f"behind the ? stand {', '.join(OPTIONS)}, each once")
        for key in FILES:
            if key in options and not PurePosixPath(options[key]).is_absolute():
                raise ValueError(f"{key} is a path that begins with /")
        return cls(text=text, host=host, port=port, database=database, user=user, options=options)

    @property
    def name(self) -> str:
        """For sentences: neither user nor options."""
        port = f":{self.port}" if self.port is not None else ""
        return f"postgresql://{self.host}{port}/{self.database}"
