"""The people of an experiment's safety form, beside those of its proposal."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from beamtime_ioc.action import Run
from beamtime_ioc.errors import NoFormError, ServiceError
from beamtime_ioc.model import Experiment, Json, Person, SafetyForm, from_json, to_json, with_form
from beamtime_ioc.ports import Esaf


def form_people(current: Experiment | None, key: str, esaf: str) -> list[Json]:
    """Whom an earlier answer gave from the form of this experiment, and no proposal names."""
    if current is None or (current.key, current.esaf) != (key, esaf):
        return []
    return [to_json(person) for person in current.people if person.form_only]


def join_form(run: Run, new: Experiment, earlier: Sequence[Json]) -> tuple[Experiment, Sequence[str]]:
    """The experiment with the people of its safety form, if the site has a service that knows such forms.

    Without an answer it goes on with the people of the proposal, and the run ends Problems. Its name is made
    of the proposal either way.

    Parameters
    ----------
    earlier
        As `form_people` gives them: without an answer they stay.

    Returns
    -------
    tuple
        The experiment, and what an operator should know of the form.
    """
    if (service := run.find_service(Esaf)) is None:
        return new, []
    if not new.esaf:
        return new, ["the schedule names no safety form"]
    read = partial(_read, service, new, len(earlier))
    found = run.step(f"people of safety form {new.esaf}", read, optional=True)
    if found is None:
        stay = [from_json(Person, person) for person in earlier]
        return replace(new, people=with_form(new.people, stay)), []
    if found["form"] is None:
        return new, [f"there is no safety form {new.esaf}"]
    form = from_json(SafetyForm, found["form"])
    joined = replace(new, people=with_form(new.people, form.people), esaf_doi=form.doi or new.esaf_doi)
    return joined, _notes(form, joined)


def _read(service: Esaf, new: Experiment, earlier: int) -> Json:
    try:
        form = service.find(new.esaf)
    except ServiceError as error:
        whose = f"the proposal ({len(new.people)})"
        if earlier:
            whose += f" and those whom the form named before ({earlier})"
        raise NoFormError(
            f"{error.sentence}; it goes on with the people of {whose}", advice=error.advice
        ) from error
    return {"form": to_json(form) if form is not None else None}


def _notes(form: SafetyForm, joined: Experiment) -> Sequence[str]:
    notes: list[str] = []
    if more := sum(person.form_only for person in joined.people):
        notes.append(f"{more} of them on safety form {form.number} alone")
    if form.status and form.status.lower() != "approved":
        notes.append(f"safety form {form.number} is {form.status}")
    if (form.start and joined.start < form.start) or (form.end and form.end < joined.end):
        notes.append(f"safety form {form.number} is not valid for the whole beamtime")
    return notes
