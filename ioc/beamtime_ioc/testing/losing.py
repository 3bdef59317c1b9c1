"""Replies that are lost after the work was done."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CALL = re.compile(rb"([A-Z]+ \S+) HTTP/1\.[01]\r\n")


@dataclass(frozen=True, kw_only=True)
class Loss:
    """One reply that is lost; exactly one of the three kinds.

    Parameters
    ----------
    title
        Of the effect or `once` whose `make` does its work and then fails.
    call
        Which HTTP call of the run, counted from 1; 0: none.
    lose
        Called just before that call goes out: tells its service to lose the reply.
    recipient
        Of the mail whose reply is lost.
    """

    words: str
    title: str = ""
    call: int = 0
    lose: Callable[[], None] | None = None
    recipient: str = ""


def watch_http(ports: frozenset[int], loss: Loss | None) -> list[tuple[int, str]]:
    """List the HTTP calls of this process to these ports as they go out, and lose the reply of one."""
    calls: list[tuple[int, str]] = []

    def on_event(event: str, args: tuple[Any, ...]) -> None:
        if event != "http.client.send" or not isinstance(args[1], bytes):
            return
        port, found = int(args[0].port), CALL.match(args[1])
        if port in ports and found is not None:
            calls.append((port, found[1].decode("ascii", "replace")))
            if loss is not None and loss.lose is not None and loss.call == len(calls):
                loss.lose()

    sys.addaudithook(on_event)
    return calls
