"""What a step goes on with where the site file lets it, while the schedule cannot be asked."""

from datetime import datetime, timedelta

from beamtime_ioc.chosen import by_choice
from beamtime_ioc.errors import BeamtimeError, NoScheduleError, ScheduleStaleError, ServiceError, StateError
from beamtime_ioc.kept_schedule import clock_of, earlier_answer, earlier_schedule, since
from beamtime_ioc.model import Beamtime, Experiment, Site
from beamtime_ioc.ports import Identity, Schedule

WHO_IS_ON_BEAM, WHO_COMES, THE_CHOSEN = "who is on beam", "who comes", "the chosen experiment"
"""The steps that ask the schedule, as the site file names them.

Of UpdateUserInfo, Handover and SelectExperiment.
"""

AWAY = (ServiceError, ScheduleStaleError)
"""The schedule cannot be asked. That it names nobody, or several, is an answer."""


def why_away(error: ServiceError | ScheduleStaleError) -> str:
    """Why the schedule cannot be asked, without what it said earlier."""
    cause = error.__cause__ if isinstance(error, ScheduleStaleError) else error
    return cause.sentence if isinstance(cause, ServiceError) else error.sentence


def go_on_without(schedule: Schedule, current: Experiment | None, moment: datetime, reason: str) -> str:
    """Why a step may go on with the current experiment while the schedule cannot be asked.

    It may if the experiment is open and on beam by its own dates, and no kept answer names another.

    Parameters
    ----------
    reason
        Why the schedule cannot be asked.

    Returns
    -------
    str
        One sentence for the screen.

    Raises
    ------
    NoScheduleError
        There is no experiment to go on with.
    """
    begin = f"{reason}{since(schedule, moment)}"
    earlier = earlier_answer(schedule, moment)
    if current is None:
        raise _nothing(begin, "there is no current experiment")
    name = f"{current.key} ({current.name})"
    if not current.open:
        raise _nothing(begin, f"{name} is closed")
    if not current.start - timedelta(minutes=schedule.early_min) <= moment < current.end:
        raise _nothing(
            begin,
            f"{name} is not on beam by its own dates, {clock_of(current.start, moment)} "
            f"to {clock_of(current.end, moment)}",
        )
    if earlier is None:
        return f"{begin}; no earlier answer is kept; it goes on with {name}, not checked"
    if earlier.found is None or earlier.found.key != current.key:
        raise _nothing(begin, f"{earlier.sentence}, and the records {name}")
    at = clock_of(earlier.at, moment)
    return f"{begin}; it goes on with {name}, which the schedule of {at} names too"


def named_earlier(schedule: Schedule, moment: datetime, reason: str) -> tuple[Beamtime, str]:
    """Whom an earlier answer has on beam at a moment, for a step that takes over another experiment.

    Parameters
    ----------
    reason
        Why the schedule cannot be asked.

    Returns
    -------
    Beamtime, str
        And one sentence for the screen.

    Raises
    ------
    NoScheduleError
        No earlier answer names one.
    """
    begin = f"{reason}{since(schedule, moment)}"
    earlier = earlier_answer(schedule, moment)
    if earlier is None:
        raise _nothing(begin, "no earlier answer is kept")
    if earlier.found is None:
        raise _nothing(begin, earlier.sentence)
    return earlier.found, f"{begin}; {earlier.sentence}, not checked since"


def chosen_earlier(
    schedule: Schedule, identity: Identity, site: Site, choice: str, moment: datetime, reason: str
) -> tuple[Experiment, str]:
    """The experiment that a choice means in an earlier answer; as `named_earlier` otherwise."""
    begin = f"{reason}{since(schedule, moment)}"
    earlier = earlier_schedule(schedule)
    if earlier is None:
        raise _nothing(begin, "no earlier answer is kept")
    at = clock_of(earlier[0], moment)
    try:
        found = by_choice(earlier[1], identity, site, choice)
    except StateError:
        raise
    except BeamtimeError:
        raise _nothing(begin, f"the schedule of {at} has no beamtime {choice}") from None
    return found, f"{begin}; {found.key} is as the schedule of {at} has it, not checked since"


def _nothing(begin: str, reason: str) -> NoScheduleError:
    return NoScheduleError(
        f"{begin}; it may go on without the schedule, but {reason}",
        advice="press again when the schedule is back; nothing was changed",
    )
