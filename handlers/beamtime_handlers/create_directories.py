"""CreateDirectories: a directory for the experiment on every place of the site."""

from functools import partial

from beamtime_ioc.action import Effect, Run, action
from beamtime_ioc.errors import BeamtimeError
from beamtime_ioc.model import DIRECTORY_LINE, Experiment, Json, counted
from beamtime_ioc.ports import Hosts

AT_ONCE = 32
"""Places that are worked on at the same time: they wait for disks and hosts, not for this computer."""


@action("create-directories", resource="places")
def create_directories(run: Run, experiment: Experiment) -> list[Json]:
    """Make the experiment's directories on every place of the site.

    Returns
    -------
    list
        What stands at each place; None where that is not known.
    """
    hosts, places = run.service(Hosts), run.site.places
    if not places:
        raise BeamtimeError(
            "the site file names no places for data", advice="add a section places: to the site file"
        )
    found = run.effects(
        [
            Effect(
                f"{DIRECTORY_LINE}{place.name}:{place.path_for(experiment)}",
                look=partial(hosts.find_directory, place, experiment),
                make=partial(hosts.make_directory, place, experiment),
                verify=partial(hosts.check_directory, place, experiment),
            )
            for place in places
        ],
        at_once=AT_ONCE,
    )
    directories: list[Json] = [directory or None for directory in found]
    paths = ", ".join(f"{place.name}:{place.path_for(experiment)}" for place in places)
    warnings = "".join(f"; {d['warning']}" for d in directories if isinstance(d, dict) and d.get("warning"))
    run.progress(1, f"{counted(len(places), 'directory', 'directories')}: {paths}{warnings}")
    return directories
