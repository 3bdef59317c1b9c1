"""What `info(beamtime:...)` binds records to, and whether it can be so."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from beamtime_ioc.model import Answer, RunState
from beamtime_ioc.on_beam import Outcome
from beamtime_ioc.record import BESIDE, PROGRAM, Record
from beamtime_ioc.recordtypes import Kind, is_number

_TEXT = (Kind.TEXT, Kind.STRING)
_COUNT = (Kind.INTEGER,)
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
    "schedule-text": _TEXT,
    "armed": (Kind.STATES,),
}
"""What the IOC writes of an action, and the kinds of record that can show it."""

ENGINE_REPORTS: Mapping[str, tuple[Kind, ...]] = {
    "state": (Kind.STATES,),
    "queued": (Kind.INTEGER,),
    "unknown": (Kind.INTEGER,),
    "oldest-pending": (Kind.FLOAT,),
    "failed-today": (Kind.INTEGER,),
    "message": _TEXT,
    "version": _TEXT,
    "actions": _TEXT,
    "schedule-says": _TEXT,
    "identity-stale": (Kind.STATES,),
    "schedule-outcome": (Kind.STATES,),
    "schedule-age": (Kind.FLOAT,),
    "without-schedule": _TEXT,
    "access-message": _TEXT,
    "mirror-state": (Kind.STATES,),
    "mirror-message": _TEXT,
    "interlock-ok": (Kind.STATES,),
    "interlock-message": _TEXT,
    "next-frame-ok": (Kind.STATES,),
    "next-frame-message": _TEXT,
    "heartbeat": _COUNT,
    "uptime": _TEXT,
    "start-count": _COUNT,
    "start-time": _TEXT,
    "host": _TEXT,
    "pid": _COUNT,
    "ca-clients": _COUNT,
    "ca-channels": _COUNT,
    "pva-clients": _COUNT,
    "memory": (Kind.FLOAT,),
    "descriptors": _COUNT,
    "cpu-load": (Kind.FLOAT,),
    "loop-latency": (Kind.FLOAT,),
    "loop-latency-max": (Kind.FLOAT,),
    "running": (Kind.STATES,),
    "watchdog": _COUNT,
    "autosave": _TEXT,
    "instance": _TEXT,
    "twin": _TEXT,
}
"""What the IOC writes of itself."""

SERVICE_REPORTS: Mapping[str, tuple[Kind, ...]] = {
    "state": (Kind.STATES,),
    "message": _TEXT,
    "latency": (Kind.FLOAT,),
}
"""What it writes of a service, behind the name of its section: `service.schedule.state`."""

PROGRAM_REPORTS: Mapping[str, Mapping[str, tuple[Kind, ...]]] = {
    "engine": ENGINE_REPORTS,
    "services": {"down": (Kind.INTEGER,), "count": (Kind.INTEGER,)},
    "hosts": {"ok": _COUNT, "count": _COUNT, "low": _COUNT, "least-free": (Kind.FLOAT,)},
    "checklist": {"step": _TEXT, "failing": _TEXT},
    "candidates": {"message": _TEXT, "count": _COUNT, **{str(n): _TEXT for n in range(1, 11)}},
    "outbox": {"deferred": _COUNT, "undelivered": _COUNT, "unsure": _COUNT},
    "training": {"message": _TEXT, "requests": _COUNT, "mails": _COUNT},
}
"""What it writes besides its actions, by what it is about."""

SERVICE_STATES = ("Unknown", "Up", "Down", "Not configured")

OPTIONAL = ("schedule-text", "armed")
PARTS = (*(word for word in REPORTS if word not in OPTIONAL), "preview", "abort")
"""What stands beside every button."""

SCHEDULE_STATES = ("Off", "On")
RUNNING_STATES = ("Stopped", "Running")
RESOLVE_STATES = ("-", *Answer)
STALE_STATES = ("No", "Yes", "Unknown")
OUTCOME_STATES = tuple(Outcome)

ASKS: Mapping[str, tuple[Kind, ...]] = {
    "resolve": (Kind.TEXT,),
    "reload-access": (Kind.STATES,),
    "reset-knobs": (Kind.STATES,),
    "override": (Kind.STATES,),
    "schedule-offset": (Kind.INTEGER, Kind.FLOAT),
}
"""What a client may ask of the program itself, and the kinds of record to ask in."""

_ROLES = ("action", *BESIDE, "argument", "field", "report", "ask", "knob")
_TAGS = frozenset([*_ROLES, "completion", "text39", "lines", "group", "confirm", "alarm", "none"])
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
        if record.argument and record.argument[0] not in actions:
            raise record.mark.error(f'"{record.name}": no button is bound to the action {record.argument[0]}')
    beside = _unique(records, lambda r: [".".join(r.beside)] if r.beside else [], "{}")
    for action, button in actions.items():
        missing = [word for word in PARTS if f"{action}.{word}" not in beside]
        if missing:
            raise button.mark.error(
                f'"{button.name}": the action {action} has no records for {", ".join(missing)}; '
                "load action.template for it"
            )
    _unique(records, lambda r: [".".join(r.report)] if r.report else [], "the report {}")
    _unique(records, lambda r: [".".join(r.argument)] if r.argument else [], "the argument {}")
    _unique(records, lambda r: [r.knob] if r.knob else [], "the knob {}")
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
        if action in PROGRAM:
            return f'"{action}" cannot be the name of an action: the program reports of itself under it'
        if word in ("action", "abort", "preview") and record.type not in ("bo", "busy"):
            return f"beamtime:{word} needs a bo or busy record, not a {record.type}"
        if word == "arm" and record.kind is not Kind.TEXT:
            return f"beamtime:arm needs a CHAR waveform, not a {record.type}"
        if word == "schedule" and (record.type != "bo" or record.states != SCHEDULE_STATES):
            return f"beamtime:schedule needs a bo record with the states {' and '.join(SCHEDULE_STATES)}"
        if word == "resolve" and record.states != RESOLVE_STATES:
            return f"beamtime:resolve needs an mbbo record with the states {', '.join(RESOLVE_STATES)}"
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
    if "beamtime:lines" in record.info and (record.kind is not Kind.TEXT or record.lines is None):
        return "beamtime:lines is for CHAR waveforms, and says how many lines of how many characters: 4x80"
    return ""


def _argument_problem(record: Record) -> str:
    tag = record.info.get("beamtime:argument")
    if tag is None:
        return ""
    action, _, name = tag.partition(".")
    if not _ACTION.fullmatch(action) or not _FIELD.fullmatch(name) or "." in name:
        return f'"{tag}" is no argument; behind the action and a dot stands its name: use-manual.title'
    if not record.writable:
        return f"nobody can type into a {record.type}"
    if not record.fields.get("ASG"):
        return "beamtime:argument needs an access group: field(ASG, ...)"
    return ""


def _ask_problem(record: Record) -> str:
    ask = record.info.get("beamtime:ask")
    if ask is None:
        return ""
    if ask not in ASKS:
        return f'"{ask}" is nothing that can be asked; these are: {", ".join(ASKS)}'
    if record.kind not in ASKS[ask]:
        return f"a {record.type} cannot ask {ask}; it needs {' or '.join(k.value for k in ASKS[ask])}"
    if not record.fields.get("ASG"):
        return "beamtime:ask needs an access group: field(ASG, ...)"
    if ask == "override" and (record.type != "bo" or record.states != SCHEDULE_STATES):
        return "beamtime:ask, override needs a bo record with the states Off and On"
    return ""


def _knob_problem(record: Record) -> str:
    none = record.info.get("beamtime:none", "")
    if record.knob is None:
        return "beamtime:none belongs to a record with beamtime:knob" if none else ""
    if not _FIELD.fullmatch(record.knob):
        return f'"{record.knob}" is no knob of a box; it is written like schedule.delay_s'
    if not record.writable:
        return f"nobody can turn a knob in a {record.type}"
    if not record.fields.get("ASG"):
        return "beamtime:knob needs an access group: field(ASG, ...)"
    if none and record.kind is Kind.STATES and none not in record.states:
        return f'beamtime:none, "{none}" is none of its states'
    if none and record.kind in (Kind.INTEGER, Kind.FLOAT) and not is_number(none):
        return f'beamtime:none, "{none}" is no number'
    return ""


def _report_problem(record: Record) -> str:
    tag = record.info.get("beamtime:report")
    if tag is None:
        return ""
    head, _, word = tag.partition(".")
    behind = f"{head} and a dot" if head in PROGRAM else "the action and a dot"
    if head == "service":
        section, _, word = word.partition(".")
        behind = "service, the name of its section, and dots"
        if not _FIELD.fullmatch(section):
            return f'"{tag}" is no report; write it like service.schedule.state'
    words = SERVICE_REPORTS if head == "service" else PROGRAM_REPORTS.get(head, REPORTS)
    if word not in words or not _ACTION.fullmatch(head):
        return f'"{tag}" is no report; behind {behind} stands one of {", ".join(words)}'
    if record.kind not in words[word]:
        return f"a {record.type} cannot show {tag}; it needs {' or '.join(k.value for k in words[word])}"
    wanted = SERVICE_STATES if head == "service" else () if head in PROGRAM else tuple(RunState)
    if word == "state" and wanted and record.states != wanted:
        return (
            f"its states are not those of a {'service' if head == 'service' else 'run'}: {', '.join(wanted)}"
        )
    if tag == "engine.identity-stale" and record.states != STALE_STATES:
        return f"its states are {', '.join(STALE_STATES)}"
    if tag == "engine.schedule-outcome" and record.states != OUTCOME_STATES:
        return f"its states are {', '.join(OUTCOME_STATES)}"
    if (head, word) == ("engine", "running") and record.states != RUNNING_STATES:
        return f"its states are not {' and '.join(RUNNING_STATES)}"
    return ""


_RULES: Sequence[Callable[[Record], str]] = (
    _tags_problem,
    _button_problem,
    _field_problem,
    _report_problem,
    _argument_problem,
    _ask_problem,
    _knob_problem,
)
