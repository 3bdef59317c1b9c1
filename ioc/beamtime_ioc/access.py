"""Who may write: an access security file, as C IOCs have it, asked by both protocols alike.

A guard against mistakes, no authentication: the user is what the client says of itself. Only the peer's
address is not. Differences from a C IOC: reading is never denied, the level (ASL) of a record is not
compared, and NONE takes no right away since rules only add.
"""
# pyright: basic

import logging
import os
import re
import socket
import stat
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from beamtime_ioc.errors import AccessFileError, NotAllowedError
from beamtime_ioc.model import Who

log = logging.getLogger(__name__)

PERMISSIONS = ("NONE", "READ", "WRITE", "PUT", "RPC", "UNCACHED")
LONGEST_BYTES = 1_000_000
"""A second of work; what is longer was never meant."""
_IPV4 = re.compile(r"(\d{1,3}\.){3}\d{1,3}")
_TEXT_OR_COMMENT = re.compile(r'"(?:[^"\n\\]|\\.)*"|#[^\n]*')


class NobodyWrites:
    """The gate of a site without an access file: everybody reads, nobody writes."""

    def require(self, group: str, who: Who) -> None:
        """Refuse.

        Raises
        ------
        NotAllowedError
        """
        raise NotAllowedError(
            f"{who} may not write: this IOC has no access file",
            advice="name one in the site file (access: ...)",
        )

    def check_groups(self, groups: Iterable[str]) -> tuple[str, ...]:
        return ()


class AccessFile:
    """The rules of one access file.

    Host names are resolved once, to IPv4; subnets are not supported.

    Raises
    ------
    AccessFileError
        The file cannot be read, says nothing, is not in the language, or would let in whom nobody named.
    """

    def __init__(self, path: Path) -> None:
        from p4p.asLib import Engine  # a fifth of a second of imports, not needed without a file

        self.path = path
        text = _read(path)
        rules = _Rules(path, text)
        self.groups = rules.names["ASG"]
        addresses: dict[str, set[str]] = {}
        for host, groups in rules.hosts.items():
            for address in _resolve(host, path):
                addresses.setdefault(address, set()).update(groups)

        class ResolvedEngine(Engine):
            # Its own keeps one address of a name, and drops a name with a warning.
            def _resolve_hag(self, _hag: Any) -> dict[str, set[str]]:
                return addresses

        self._engine = ResolvedEngine(text)
        # The rules never change: another file is another gate.
        self._may_write = lru_cache(maxsize=1000)(self._ask_engine)

    def require(self, group: str, who: Who) -> None:
        """Let `who` write records of the group, by the peer's address and not by the host it claims.

        Raises
        ------
        NotAllowedError
        """
        if not self._may_write(group, who.user, who.peer, who.roles):
            raise NotAllowedError(
                f"{who} may not write records of the access group {group}",
                advice=f"{self.path.name} says who may",
            )

    def check_groups(self, groups: Iterable[str]) -> tuple[str, ...]:
        """Warn about access groups of records that the file does not have.

        Returns
        -------
        tuple
            Their names; the group DEFAULT decides for them, and without it nobody writes.
        """
        missing = tuple(sorted({group or "DEFAULT" for group in groups} - self.groups))
        for group in missing:
            rest = "DEFAULT decides" if "DEFAULT" in self.groups else "nobody may write its records"
            log.warning("%s: has no ASG(%s), which records name: %s", self.path, group, rest)
        return missing

    def _ask_engine(self, group: str, user: str, address: str, roles: tuple[str, ...]) -> bool:
        answer = _Answer()
        self._engine.create(answer, group, user, address, 1, list(roles))
        return answer.put


class _Answer:
    """Asked for once and dropped: the engine would forget the roles of one that stays."""

    name = "put"

    def __init__(self) -> None:
        self.put = False

    def access(self, *, put: bool, rpc: bool, uncached: bool, audit: bool) -> None:
        self.put = put


Gatekeeper = AccessFile | NobodyWrites


def load_gate(path: Path | None) -> Gatekeeper:
    """The gate that a site file names; without a file everybody reads and nobody writes.

    Raises
    ------
    AccessFileError
        The file cannot be used; with its line.
    """
    return NobodyWrites() if path is None else AccessFile(path)


def _read(path: Path) -> str:
    try:
        # A pipe would let whoever opens it wait for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise AccessFileError(path, 0, "is no file; put a file there")
            raw = file.read(LONGEST_BYTES + 1)
        if len(raw) > LONGEST_BYTES:
            raise AccessFileError(path, 0, f"has more than {LONGEST_BYTES // 1_000_000} MB")
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise AccessFileError(path, 0, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AccessFileError(path, 0, "is no text; save it as UTF-8") from error
    # The parser reads a comment up to its line end only.
    return text + "\n"


def _resolve(host: str, path: Path) -> Iterator[str]:
    if _IPV4.fullmatch(host):
        yield host
        return
    if "/" in host:
        log.error("%s: %s in a HAG lets nobody in: subnets are not supported, list the hosts", path, host)
        return
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        log.error("%s: host %s in a HAG lets nobody in: it cannot be resolved (%s)", path, host, error)
        return
    for *_, address in found:
        yield str(address[0])


class _Rules:
    """The file's syntax tree, looked through before anything is believed.

    Attributes
    ----------
    names
        Names that are defined, by `UAG`, `HAG` and `ASG`.
    hosts
        Groups by host name or address.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        # Quoted words and comments keep their length: lines stay where they are.
        self.bare = _TEXT_OR_COMMENT.sub(lambda found: " " * len(found[0]), text)
        if not self.bare.strip():
            raise AccessFileError(path, 0, "says nothing; without rules nobody could tell who may write")
        self.names: dict[str, set[str]] = {"UAG": set(), "HAG": set(), "ASG": set()}
        self.hosts: dict[str, set[str]] = {}
        tree = self._parse()
        for kind, name, members in tree:
            if name in self.names[kind]:
                raise self._error(
                    f"{kind}({name}) is defined twice", rf"{kind}\s*\(\s*\"?{re.escape(name)}\b", last=True
                )
            self.names[kind].add(name)
            if not members:
                raise self._error(f"{kind}({name}) is empty", rf"{kind}\s*\(\s*\"?{re.escape(name)}\b")
            if kind == "HAG":
                for host in members:
                    self.hosts.setdefault(host, set()).add(name)
        for kind, name, members in tree:
            if kind == "ASG":
                for item in members:
                    self._check(name, item)

    def _parse(self) -> list[tuple[str, str, list[Any]]]:
        from p4p.asLib.yacc import ACFError, parse

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                return parse(self.text)
        except ACFError as error:
            raise self._syntax_error(str(error)) from error
        except UserWarning as error:
            raise self._error(str(error), r"RULE\s*\([^)]*,[^)]*,\s*(?!TRAPWRITE|NOTRAPWRITE)\w") from error
        except ValueError as error:  # Python makes no number of so many digits
            raise self._error("a level has thousands of digits; it is 0 or 1", r"\d{1000}") from error
        except AttributeError as error:  # what the parser does at the end of the text
            raise AccessFileError(
                self.path, self.text.count("\n"), "ends too early; a bracket is open"
            ) from error

    def _syntax_error(self, words: str) -> AccessFileError:
        if found := re.search(r"on line (\d+) at or before '(.*)'", words):
            return AccessFileError(
                self.path,
                int(found[1]),
                f"is wrong at or before {found[2]!r}; addresses, and words like HAGEN, need quotes",
            )
        found = re.search(r"Illegal char (.*) at (\d+)", words)
        line, what = (int(found[2]) - 1, found[1]) if found else (0, words)
        return AccessFileError(self.path, line, f"has {what}, which means nothing here")

    def _check(self, group: str, item: tuple[Any, ...]) -> None:
        if item[0] == "INP":
            raise self._error(
                f"ASG({group}) reads a PV by INP{item[1]}: not supported, it grants while the PV is away",
                rf"INP{item[1]}",
            )
        _, level, permission, _trap, conditions = item
        if level not in (0, 1):
            raise self._error(f"RULE({level}, ...): the level is 0 or 1", rf"RULE\s*\(\s*{level}\b")
        if permission not in PERMISSIONS:
            raise self._error(
                f"RULE({level}, {permission}) is no right; these are: {', '.join(PERMISSIONS)}",
                re.escape(permission),
            )
        for kind, wanted in conditions or ():
            if kind == "CALC":
                raise self._error(
                    f"ASG({group}) has CALC: not supported, it would be run as a program", "CALC"
                )
            for name in wanted:
                if name not in self.names[kind]:
                    raise self._error(
                        f"ASG({group}) names {kind}({name}), which is not defined",
                        rf"{kind}\s*\([^)]*{re.escape(name)}",
                    )

    def _error(self, words: str, pattern: str, *, last: bool = False) -> AccessFileError:
        uncommented = re.sub(r"#[^\n]*", "", self.text)
        places = [found.start() for found in re.finditer(pattern, uncommented)]
        line = uncommented.count("\n", 0, places[-1 if last else 0]) + 1 if places else 0
        return AccessFileError(self.path, line, words)
