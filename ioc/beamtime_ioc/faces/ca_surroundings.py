"""What a Channel Access server lends to the connection and the session of each client."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from beamtime_ioc.faces.ca_channels import Channels
from beamtime_ioc.faces.seldom import Seldom


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What all clients of a server have in common.

    Parameters
    ----------
    message_limit_bytes
        What is longer was never meant.
    tcp_port
        Where clients are served, which the server knows only when it listens.
    keep
        Runs something that does not end with the client who asked for it.
    """

    loop: asyncio.AbstractEventLoop
    channels: Channels
    seldom: Seldom
    message_limit_bytes: int
    tcp_port: Callable[[], int]
    keep: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
