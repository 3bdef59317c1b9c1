"""Tells systemd how the service is, by the protocol of sd_notify(3)."""

import logging
import os
import socket

from beamtime_ioc.model import one_line

log = logging.getLogger(__name__)


class Supervisor:
    """The service manager that started us, if one wants to be told.

    Attributes
    ----------
    watchdog_s
        It ends us when it hears nothing for so long; 0 if it does not watch.
    """

    def __init__(self) -> None:
        self._path = os.environ.get("NOTIFY_SOCKET", "")
        self._failed = False
        asked = os.environ.get("WATCHDOG_USEC", "")
        pid = os.environ.get("WATCHDOG_PID", "")
        meant = bool(self._path) and asked.isdecimal() and pid in ("", str(os.getpid()))
        self.watchdog_s = int(asked) / 1e6 if meant else 0.0
        self._ready, self._status, self._well = False, "", ""

    def ready(self, sentence: str) -> None:
        """The service has begun; the sentence is shown by `systemctl status`."""
        self._show("" if self._ready else "READY=1", sentence)
        self._ready, self._well = True, sentence

    def alive(self, trouble: str = "") -> None:
        """Wind up the watchdog; a trouble is shown until there is none."""
        self._show("WATCHDOG=1" if self.watchdog_s else "", trouble or self._well)

    def stopping(self) -> None:
        self._show("STOPPING=1", "ends: what is at work may end its step")

    def _show(self, word: str, sentence: str) -> None:
        status = f"STATUS={one_line(sentence, 200)}" if sentence != self._status else ""
        self._status = sentence
        if word or status:
            self.tell(*filter(None, (word, status)))

    def tell(self, *words: str) -> None:
        """Send lines such as `READY=1`; never waits, and never fails."""
        if not self._path:
            return
        # A name that begins with @ lies in no directory.
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as teller:
                teller.sendto("\n".join(words).encode(), address)
        except OSError as error:
            if not self._failed:
                log.warning("systemd cannot be told at %s: %s", self._path, error.strerror)
            self._failed = True
