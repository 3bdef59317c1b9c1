"""What the libraries below PVAccess say, in our own log, and seldom: anybody can make them say it."""
# pyright: basic

import atexit
import ctypes
import logging
import re
from typing import Any

from setuptools_dso import find_dso

from beamtime_ioc.faces.seldom import Seldom
from beamtime_ioc.model import one_line

log = logging.getLogger(__name__)

PERIOD_S = 60.0
WORDS_LENGTH = 200
# 2026-11-26T11:31:08.250512672 ERR pvxs.tcp.io Client 127.0.0.2:48330 Gets invalid IOID 100 state=0
_LINE = re.compile(r"\S+ (WARN|ERR|CRIT) (pvxs\.\S+) (.*)")
_LISTENER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)


class LibraryLog:
    """Takes EPICS' errlog, to which pvxs writes a line, or a stack and a dump of bytes, for each nonsense."""

    def __init__(self) -> None:
        self._seldom = Seldom(log)
        self._library: Any = None
        # Kept: the library calls it as long as it is on its list.
        self._listener = _LISTENER(self._hear)

    def take(self) -> None:
        """Let nothing reach stderr by another way any more; for the rest of the process."""
        if self._library is not None:
            return
        # `epicscorelibs.path.get_lib` would look through all modules for who calls it: a tenth of a start.
        self._library = ctypes.CDLL(find_dso("epicscorelibs.lib.Com", package="epicscorelibs"))
        self._library.errlogAddListener(self._listener, None)
        self._library.eltc(0)
        atexit.register(self._leave)

    def _leave(self) -> None:
        """Before Python ends: its thread must not call what is gone."""
        self._library.errlogRemoveListeners(self._listener, None)
        self._library.eltc(1)

    def _hear(self, _: Any, message: bytes) -> None:
        """Called in a thread of the library."""
        try:
            found = _LINE.match(message.decode(errors="replace").strip())
            if found is None:  # a line of a stack or of a dump
                return
            words = one_line(found[3], WORDS_LENGTH)
            kind = re.sub(r"\S*[\d\[]\S*", "", words)  # without addresses, ports and numbers
            self._seldom.warning(f"{found[2]} {kind}", PERIOD_S, f"{found[2]}: {words}")
        except Exception:  # it must not go back into the library
            log.exception("a line of PVAccess' libraries is lost")


LIBRARY_LOG = LibraryLog()
