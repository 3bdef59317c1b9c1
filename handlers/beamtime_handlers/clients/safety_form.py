"""A safety form as the services of the APS give it: the fields that public code reads of an ESAF."""

from datetime import datetime
from zoneinfo import ZoneInfo

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from beamtime_handlers.clients.replies import Flag, Id, NotNone, Reply, Text, check, unforeseen
from beamtime_ioc.model import Person, SafetyForm, parse_time, sorted_people


class _Reply(Reply):
    model_config = ConfigDict(alias_generator=to_camel)


class _User(_Reply):
    badge: NotNone = ""
    badge_number: NotNone = ""
    first_name: Text = ""
    last_name: Text = ""
    email: NotNone = ""
    pi_flag: Flag = False


class _Form(_Reply):
    esaf_id: Id
    esaf_status: Text = ""
    experiment_start_date: NotNone = ""
    experiment_end_date: NotNone = ""
    experiment_users: list[_User] | None = None
    doi: NotNone = ""


def read_form(given: object, service: str, zone: ZoneInfo) -> SafetyForm:
    """Read one form out of a mapping, such as `esafId: 8800011, experimentUsers: [...]`.

    Parameters
    ----------
    zone
        Of its times, which carry none. Of an hour that comes twice, the whole is meant.

    Raises
    ------
    BadResponseError
    """
    form = check(_Form, given, service)
    return SafetyForm(
        number=form.esaf_id,
        people=sorted_people(_person(user) for user in form.experiment_users or ()),
        start=_time("experimentStartDate", form.experiment_start_date, zone, service, fold=0),
        end=_time("experimentEndDate", form.experiment_end_date, zone, service, fold=1),
        status=form.esaf_status,
        doi=form.doi,
    )


def _person(user: _User) -> Person:
    return Person(
        first_name=user.first_name,
        last_name=user.last_name,
        email=user.email,
        badge=user.badge or user.badge_number,
        is_pi=user.pi_flag,
    )


def _time(name: str, text: str, zone: ZoneInfo, service: str, *, fold: int) -> datetime | None:
    try:
        return parse_time(text, zone, fold=fold) if text else None
    except ValueError as error:
        raise unforeseen(service, f"{name}: {error}") from None
