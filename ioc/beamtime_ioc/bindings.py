"""What `info(beamtime:...)` binds records to, and whether it can be so."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from beamtime_ioc.model import RunState
from beamtime_ioc.record import BESIDE, Record
from beamtime_ioc.recordtypes import Kind

_TEXT = (Kind.TEXT, Kind.STRING)
REPORTS: Mapping[str, tuple[Kind, ...]] = {
    "state": (Kind.STATES,),
    "percent": (Kind.FLOAT,),
    "step": _TEXT,
    "message": _TEXT,
    "advice": _TEXT,
    "plan": _TEXT,
    "elapsed": (Kind.FLOAT,),
    "started-by": _TEXT,
    "run-id": _TEXT,
}
"""What the IOC writes of a run, and the kinds of record that can show it."""

ENGINE_REPORTS: Mapping[str, tuple[Kind, ...]] = {
    "state": (Kind.STATES,),
    "queued": (Kind.INTEGER,),
    "unknown": (Kind.INTEGER,),
    "oldest-pending": (Kind.FLOAT,),
    "version": _TEXT,
    "actions": _TEXT,
}
"""What the IOC writes of itself."""

PARTS = (*REPORTS, "preview", "abort")
"""What stands beside every button."""

_ROLES = ("action", *BESIDE, "field", "report")
_TAGS = frozenset([*_ROLES, "completion", "text39", "group", "confirm"])
_ACTION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_FIELD = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")


def check_bindings(records: Sequence[Record]) -> None:
    """See that the tags of all records fit the records and each other.

    Raises
    ------
    RecordFileError
        With the file and line of the record.
    """
    for record in records:
        if problem := next(filter(None, (rule(record) for rule in _RULES)), ""):
            raise record.mark.error(f'"{record.name}": {problem}')
    actions = _unique(records, lambda record: [record.action] if record.action else [], "the action {}")
    for record in records:
        if record.beside and record.beside[0] not in actions:
            raise record.mark.error(f'"{record.name}": no button is bound to the action {record.beside[0]}')
    beside = _unique(records, lambda r: [".".join(r.beside)] if r.beside else [], "{}")
    for action, button in actions.items():
        missing = [word for word in PARTS if f"{action}.{word}" not in beside]
        if missing:
            raise button.mark.error(
                f'"{button.name}": the action {action} has no records for {", ".join(missing)}; '
                "load action.template for it"
            )
    _unique(records, lambda r: [".".join(r.report)] if r.report else [], "the report {}")
    _unique(records, _names, "the name {}")


def _unique(
    records: Iterable[Record], keys: Callable[[Record], Iterable[str]], what: str
) -> Mapping[str, Record]:
    found: dict[str, Record] = {}
    for record in records:
        for key in keys(record):
            if key in found:
                other = found[key]
                raise record.mark.error(
                    f'"{record.name}": {what.format(key)} belongs to "{other.name}" already ({other.mark})'
                )
            found[key] = record
    return found


def _names(record: Record) -> list[str]:
    """Every name that a record takes; a button takes that of its progress structure too."""
    return [record.name, *record.aliases, *([f"{record.name}Progress"] if record.action else [])]


def _tags_problem(record: Record) -> str:
    tags = [tag.removeprefix("beamtime:") for tag in record.info if tag.startswith("beamtime:")]
    unknown = [tag for tag in tags if tag not in _TAGS]
    if unknown:
        return f"beamtime:{unknown[0]} is no tag; these are: {', '.join(sorted(_TAGS))}"
    roles = [tag for tag in _ROLES if tag in tags]
    if len(roles) > 1:
        return f"it cannot be both {roles[0]} and {roles[1]}"
    # What the engine or the state database keeps must not come back from an older file.
    if roles and "autosaveFields" in record.info:
        return f"a record with beamtime:{roles[0]} is never saved by autosave; leave autosaveFields out"
    return ""


def _button_problem(record: Record) -> str:
    for word in ("action", *BESIDE):
        action = record.info.get(f"beamtime:{word}")
        if action is None:
            continue
        if not _ACTION.fullmatch(action):
            return f'"{action}" is no name of an action; it is written like create-directories'
        if word in ("action", "abort", "preview") and record.type not in ("bo", "busy"):
            return f"beamtime:{word} needs a bo or busy record, not a {record.type}"
        # C would fall back to the group DEFAULT, which a site may have opened.
        if not record.fields.get("ASG"):
            return f"beamtime:{word} needs an access group: field(ASG, ...)"
    completion = record.info.get("beamtime:completion")
    if completion is not None and record.action is None:
        return "beamtime:completion belongs to the button of an action"
    if completion not in (None, "finished", "accepted"):
        return f'beamtime:completion is finished or accepted, not "{completion}"'
    return ""


def _field_problem(record: Record) -> str:
    if record.field is not None and not _FIELD.fullmatch(record.field):
        return f'"{record.field}" is no field of an experiment; it is written like pi.last_name'
    if record.text39 is not None and record.kind is not Kind.TEXT:
        return f"beamtime:text39 is for CHAR waveforms; a {record.type} needs no short view"
    return ""


def _report_problem(record: Record) -> str:
    tag = record.info.get("beamtime:report")
    if tag is None:
        return ""
    head, _, word = tag.partition(".")
    words = ENGINE_REPORTS if head == "engine" else REPORTS
    if word not in words or not _ACTION.fullmatch(head):
        return f'"{tag}" is no report; behind the action and a dot stands one of {", ".join(words)}'
    if record.kind not in words[word]:
        return f"a {record.type} cannot show {tag}; it needs {' or '.join(k.value for k in words[word])}"
    if head != "engine" and word == "state" and record.states != tuple(RunState):
        return f"its states are not those of a run: {', '.join(RunState)}"
    return ""


_RULES: Sequence[Callable[[Record], str]] = (_tags_problem, _button_problem, _field_problem, _report_problem)
