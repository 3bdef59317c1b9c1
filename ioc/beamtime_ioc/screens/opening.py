"""How a program is told which screens to open, with which macros."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from beamtime_ioc.config import read_site_file
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.frame import EpicsSettings
from beamtime_ioc.records import split_prefix
from beamtime_ioc.screens import adl, bob

MAIN = "beamtime"


def screens_dir(kind: str) -> Path:
    """The screens that come with the program: the checkout's, else the installed ones."""
    root = Path(__file__).resolve().parents[2]
    beside = root.parent / kind
    return beside if root.name == "ioc" and beside.is_dir() else Path(sys.prefix, "share/beamtime-ioc", kind)


def opening(
    kind: str, program: str, prefix: str, site: Path | None, directory: Path | None
) -> tuple[Sequence[str], Mapping[str, str]]:
    """The words that open the main screen, and what the environment says besides.

    Parameters
    ----------
    kind
        `medm` or `phoebus`.
    directory
        Of the screens; None for those that come with the program.

    Raises
    ------
    BeamtimeError
        The prefix is not known, or there are no screens.
    """
    frame = read_site_file(site).frame if site is not None else None
    prefix = prefix or (frame.prefix if frame is not None else "")
    if not prefix:
        raise BeamtimeError("the prefix is not known", advice="name it by --prefix or --site")
    p, r = split_prefix(prefix)
    where = (directory or screens_dir(kind)).resolve()
    main = where / f"{MAIN}{adl.END if kind == 'medm' else bob.END}"
    if not main.is_file():
        raise BeamtimeError(f"there is no screen {main}", advice="write it by beamtime export")
    network: Mapping[str, str] = _network(frame.epics) if frame is not None else {}
    if kind == "medm":
        path = os.pathsep.join(filter(None, [str(where), os.environ.get("EPICS_DISPLAY_PATH", "")]))
        return [program, "-x", "-macro", f"P={p},R={r}", str(main)], {**network, "EPICS_DISPLAY_PATH": path}
    query = urlencode({"P": p, "R": r}, quote_via=quote)
    return [program, "-resource", f"{main.as_uri()}?{query}"], network


def _network(epics: EpicsSettings) -> Mapping[str, str]:
    """Where the site's IOC is searched, as far as the environment does not say."""
    found: dict[str, str] = {}
    if epics.ca_port is not None:
        found["EPICS_CA_SERVER_PORT"] = f"{epics.ca_port}"
    if epics.pva_port is not None:
        found["EPICS_PVA_BROADCAST_PORT"] = f"{epics.pva_port}"
    for protocol in ("CA", "PVA") if epics.interfaces else ():
        found[f"EPICS_{protocol}_ADDR_LIST"] = " ".join(epics.interfaces)
        found[f"EPICS_{protocol}_AUTO_ADDR_LIST"] = "NO"
    return {name: value for name, value in found.items() if name not in os.environ}
