"""What keeps a place from taking an experiment's directory, in the same words for every kind of place."""

import errno
import os
import pwd
from pathlib import PurePosixPath

from beamtime_ioc.errors import PlaceError
from beamtime_ioc.model import Place

STATES = {
    errno.EACCES: "DENIED",
    errno.EPERM: "DENIED",
    errno.EROFS: "DENIED",
    errno.ENOSPC: "NO_SPACE",
    errno.EDQUOT: "NO_SPACE",
    errno.ENAMETOOLONG: "BAD_NAME",
    errno.ENOTDIR: "NOT_A_DIRECTORY",
    errno.ELOOP: "NOT_A_DIRECTORY",
}
WORDS = {os.strerror(number).lower(): number for number in (*STATES, errno.ENOENT)}
"""What programs say of an error in the locale C."""


def user_name(number: int | None = None) -> str:
    """Name of a user of this computer, by default of this process."""
    number = os.geteuid() if number is None else number
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def where(place: Place, path: PurePosixPath) -> str:
    """Place, host and path, as every sentence begins."""
    return f"{place.name}: {place.host}:{path}" if place.host else f"{place.name}: {path}"


def computer(place: Place) -> str:
    return f"host {place.host}" if place.host else "this computer"


def trouble(
    place: Place, path: PurePosixPath, number: int | None, reason: str, user: str | None = None
) -> PlaceError:
    """What the operating system said, with the place, the path and what to do next.

    Parameters
    ----------
    number
        An `errno`.
    user
        Who tried; by default whom this process runs as.
    """
    state = STATES.get(number or 0, "UNREACHABLE")
    advice = {
        "DENIED": f"let user {user or user_name()} write there, then press again",
        "NO_SPACE": "make space, then press again",
        "BAD_NAME": f"make `path` of place {place.name} shorter in the site file, and start the IOC again",
        "NOT_A_DIRECTORY": "look what it is and move it away, then press again",
        "UNREACHABLE": "see whether the disk is there, then press again",
    }[state]
    return PlaceError(state, f"{where(place, path)} cannot be used: {reason}", advice=advice)


def os_trouble(place: Place, path: PurePosixPath, error: OSError) -> PlaceError:
    return trouble(place, path, error.errno, (error.strerror or type(error).__name__).lower())


def said_trouble(place: Place, path: PurePosixPath, words: str, user: str) -> PlaceError:
    """What a program said on another host."""
    return trouble(place, path, WORDS.get(words.lower()), words.lower() or "no reason was said", user)


def no_top(place: Place) -> PlaceError:
    return PlaceError(
        "NO_TOPDIR",
        f"{place.name}: the top directory {_top(place)} does not exist",
        advice=f"mount it, or mend `top` of place {place.name} in the site file and start the IOC again; "
        "then press again",
    )


def top_is_no_directory(place: Place) -> PlaceError:
    return PlaceError(
        "NOT_A_DIRECTORY",
        f"{place.name}: the top directory {_top(place)} is no directory",
        advice=f"mend `top` of place {place.name} in the site file, and start the IOC again",
    )


def _top(place: Place) -> str:
    return f"{place.host}:{place.top}" if place.host else str(place.top)


def not_mounted(place: Place) -> PlaceError:
    return PlaceError(
        "NOT_MOUNTED",
        f"{where(place, place.top / place.marker)} is missing, so the disk is not mounted",
        advice="mount it, then press again",
    )


def no_mount_point(place: Place) -> PlaceError:
    return PlaceError(
        "NOT_MOUNTED",
        f"{where(place, place.top)} is no mount point, so the disk is not mounted",
        advice=f"mount it, or leave out `mount` of place {place.name} in the site file and start the IOC "
        "again; then press again",
    )


def no_group(place: Place) -> PlaceError:
    return PlaceError(
        "DENIED",
        f"{place.name}: there is no group {place.group} on {computer(place)}",
        advice=f"make the group, or mend `group` of place {place.name} in the site file; then press again",
    )


def no_acl_tools(place: Place) -> PlaceError:
    return PlaceError(
        "DENIED",
        f"{place.name}: {computer(place)} has no setfacl and getfacl",
        advice=f"install the package acl there, or leave out `acl` of place {place.name} in the site file "
        "and start the IOC again; then press again",
    )


def acl_refused(place: Place, path: PurePosixPath, words: str) -> PlaceError:
    return PlaceError(
        "DENIED",
        f"{where(place, path)} does not take the access list {', '.join(place.acl)}: {words}",
        advice=f"see whether its disk has such lists, or mend `acl` of place {place.name} in the site file "
        "and start the IOC again; then press again",
    )


def in_the_way(place: Place, path: PurePosixPath, what: str) -> PlaceError:
    return PlaceError(
        "NOT_A_DIRECTORY",
        f"{where(place, path)} is {what}, not a directory",
        advice="look what it is and move it away, then press again",
    )


def vanished(place: Place, path: PurePosixPath) -> PlaceError:
    return PlaceError(
        "UNREACHABLE",
        f"{where(place, path)} vanished while it was made",
        advice="find out who removes it, then press again",
    )
