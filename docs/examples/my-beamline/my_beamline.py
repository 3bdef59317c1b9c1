"""WriteReadme: a README.txt in the experiment's directory on every place."""

from functools import partial
from pathlib import Path

from beamtime_ioc.action import Run, action
from beamtime_ioc.errors import BeamtimeError, ConflictError
from beamtime_ioc.model import Experiment


@action("write-readme", resource="places")
def write_readme(run: Run, experiment: Experiment) -> None:
    """Say in each directory of the experiment whose data it is."""
    text = f"{experiment.title}\n{experiment.pi.full_name}, proposal {experiment.proposal}\n"
    for place in run.site.places:
        file = Path(place.path_for(experiment), "README.txt")
        look, make = partial(look_at, file, text), partial(file.write_text, text, encoding="utf-8")
        run.effect(f"README on {place.name}", look=look, make=make, verify=look)
    run.progress(1.0, f"README.txt stands in {len(run.site.places)} places")


def look_at(file: Path, text: str) -> str | None:
    """What the README says; None while it is missing or only half written."""
    if not file.parent.is_dir():
        raise BeamtimeError(f"{file.parent} is missing", advice="press CreateDirectories first")
    found = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    if not text.startswith(found):
        raise ConflictError(f"{file} says something else", advice="move it away, then press again")
    return found if found == text else None
