"""What the tags of a site's own records bind, and what they cannot."""

from collections.abc import Callable
from pathlib import Path

import pytest

from beamtime_ioc.errors import RecordFileError
from beamtime_ioc.records import RecordSet, db_dir, load_records

PREFIX = "99bm:Beamtime:"
SHIPPED = db_dir() / "beamtime.substitutions"
Load = Callable[..., RecordSet]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load the shipped records, then one file of the site's own."""

    def load(text: str, name: str = "site.db") -> RecordSet:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return load_records([SHIPPED, file], prefix=PREFIX)

    return load


def test_a_site_adds_a_button_with_one_row_of_its_own_file(load: Load) -> None:
    row = 'file action.template { { ACTION="copy-home", NAME=CopyHome, VERB=Copy, DESC="Copy it home" } }'

    found = load(row, name="site.substitutions")

    copy = found.actions()[-1]
    assert (copy.action, copy.button.name) == ("copy-home", f"{PREFIX}CopyHome")
    assert (copy.button.states, copy.button.desc) == (("Done", "Copy"), "Copy it home")
    assert {word: record.suffix for word, record in copy.parts.items()} == {
        "state": "CopyHomeState",
        "percent": "CopyHomePercent",
        "step": "CopyHomeStep",
        "message": "CopyHomeMessage",
        "advice": "CopyHomeAdvice",
        "elapsed": "CopyHomeElapsed",
        "started-by": "CopyHomeStartedBy",
        "run-id": "CopyHomeRunId",
        "preview": "CopyHomePreview",
        "plan": "CopyHomePlan",
        "abort": "CopyHomeAbort",
    }


def test_a_later_file_changes_a_shipped_record(load: Load) -> None:
    found = load("""
    record("*", "$(P)$(R)EmailUsers") { field(ASG, "mail") info(beamtime:completion, "accepted") }
    """)

    button = found.by_suffix("EmailUsers")
    assert (button.asg, button.completion) == ("mail", "accepted")
    assert found.by_suffix("BeginBeamtime").completion == "finished"


def button(tag: str, action: str, *, more: str = "", group: str = "button", kind: str = "bo") -> str:
    return f"""record({kind}, "X") {{
        field(ZNAM, "Done") field(ONAM, "Go") field(ASG, "{group}") {more} info(beamtime:{tag}, "{action}")
    }}"""


SWITCH = """record(bo, "X") {{
    field(ZNAM, Off) field(ONAM, On) field(ASG, button) info(beamtime:schedule, "{}")
}}"""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (button("action", "email-users"), "the action email-users belongs to .*:EmailUsers. already"),
        (
            button("action", "copy"),
            "the action copy has no records for state, percent, .*load action.template",
        ),
        (button("abort", "copy"), "no button is bound to the action copy"),
        (button("schedule", "email-users"), "beamtime:schedule needs a bo record with the states Off and On"),
        (button("schedule", "copy", group=""), "beamtime:schedule needs"),
        (SWITCH.format("copy"), "no button is bound to the action copy"),
        (SWITCH.format("email-users"), "email-users.schedule belongs to .*EmailUsersSchedule"),
        (button("preview", "email-users"), "email-users.preview belongs to .*EmailUsersPreview"),
        (button("action", "Email Users"), "is no name of an action; it is written like create-directories"),
        (button("abort", "email-users", kind="bi"), "needs a bo or busy record, not a bi"),
        (button("action", "copy", group=""), "beamtime:action needs an access group"),
        (button("abort", "email-users", group=""), "beamtime:abort needs an access group"),
        (button("preview", "email-users", group=""), "beamtime:preview needs an access group"),
        (button("action", "copy", more="info(beamtime:abort, copy)"), "cannot be both action and abort"),
        (button("action", "copy", more="info(autosaveFields, VAL)"), "is never saved by autosave"),
        (button("action", "copy", more="info(beamtime:completion, no)"), "is finished or accepted"),
        (button("preview", "hosts"), "cannot be the name of an action: the program reports of itself"),
        (button("actoin", "copy"), "beamtime:actoin is no tag; these are: abort, action"),
    ],
)
def test_a_button_that_cannot_be_bound_is_refused(load: Load, text: str, sentence: str) -> None:
    with pytest.raises(RecordFileError, match=sentence) as caught:
        load(text)

    assert (caught.value.path.name, caught.value.line) == ("site.db", 1)


@pytest.mark.parametrize(
    ("record", "tag", "sentence"),
    [
        ("ai", 'beamtime:report, "copy.percent"', "no button is bound to the action copy"),
        ("ai", 'beamtime:report, "email-users.percent"', "email-users.percent belongs to"),
        ("ai", 'beamtime:report, "email-users.speed"', "stands one of state, percent,"),
        ("ai", 'beamtime:report, "percent"', "is no report"),
        ("longin", 'beamtime:report, "engine.queued"', "the report engine.queued belongs to"),
        ("longin", 'beamtime:report, "engine.percent"', "stands one of state, queued,"),
        ("longin", 'beamtime:report, "services.up"', "behind services and a dot stands one of down, count"),
        ("ai", 'beamtime:report, "hosts.ok"', "a ai cannot show hosts.ok; it needs integer"),
        (
            "longin",
            'beamtime:report, "checklist.step"',
            "cannot show checklist.step; it needs text",
        ),
        ("ai", 'beamtime:report, "service.mail.latencies"', "and dots stands one of state, message, latency"),
        ("ai", 'beamtime:report, "service.latency"', "is no report"),
        ("ai", 'beamtime:report, "service.Mail.latency"', "write it like service.schedule.state"),
        ("ai", 'beamtime:report, "service.mail.latency"', "the report service.mail.latency belongs to"),
        ("ai", 'beamtime:report, "email-users.schedule-text"', "cannot show email-users.schedule-text"),
        ("ai", 'beamtime:report, "engine.unknown"', "a ai cannot show engine.unknown; it needs integer"),
        ("stringin", 'beamtime:field, "PI name"', "is no field of an experiment"),
        ("stringin", 'beamtime:text39, "Y"', "a stringin needs no short view"),
        ("ai", "beamtime:completion, finished", "belongs to the button of an action"),
    ],
)
def test_a_tag_that_does_not_fit_is_refused(load: Load, record: str, tag: str, sentence: str) -> None:
    with pytest.raises(RecordFileError, match=sentence) as caught:
        load(f'record({record}, "X") {{ info({tag}) }}')

    assert (caught.value.path.name, caught.value.line) == ("site.db", 1)


def test_states_of_a_run_in_another_order_are_refused(load: Load) -> None:
    with pytest.raises(RecordFileError, match="its states are not those of a run: Idle, Queued"):
        load(
            'record(mbbi, "X") { field(ZRST, Queued) field(ONST, Idle) info(beamtime:report, "copy.state") }'
        )


def test_outcomes_of_the_schedule_in_another_order_are_refused(load: Load) -> None:
    with pytest.raises(RecordFileError, match="its states are UNKNOWN, ACTIVE, NONE, AMBIGUOUS"):
        load(
            'record(mbbi, "X") { field(ZRST, ACTIVE) field(ONST, NONE) '
            'info(beamtime:report, "engine.schedule-outcome") }'
        )


def test_states_of_a_service_in_another_order_are_refused(load: Load) -> None:
    with pytest.raises(
        RecordFileError, match="its states are not those of a service: Unknown, Up, Down, Not"
    ):
        load(
            'record(mbbi, "X") { field(ZRST, Up) field(ONST, No) info(beamtime:report, "service.dm.state") }'
        )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('record(ai, "$(P)$(R)UserName39")', "the name 99bm:Beamtime:UserName39 belongs to"),
        ('record(ai, "X") { alias("$(P)$(R)UserName39") }', "the name 99bm:Beamtime:UserName39 belongs to"),
        ('record(ai, "$(P)$(R)EmailUsersProgress")', 'belongs to "99bm:Beamtime:EmailUsers" already'),
    ],
)
def test_a_name_that_is_taken_is_refused(load: Load, text: str, sentence: str) -> None:
    with pytest.raises(RecordFileError, match=sentence):
        load(text)


def test_a_short_view_with_too_long_a_name_is_refused(load: Load) -> None:
    text = 'record(waveform, "$(P)$(R)X") { field(FTVL, CHAR) field(NELM, 8) info(beamtime:text39, "%s") }'

    with pytest.raises(RecordFileError, match="has 61 characters"):
        load(text % ("x" * 47))


def test_actions_and_fields_are_held_to_what_exists() -> None:
    found = load_records([SHIPPED], prefix=PREFIX)
    actions = {row.action for row in found.actions()}
    fields = {record.field for record in found.fields() if record.field}

    found.check_actions([*actions, "another"])
    found.check_fields([*fields, "another"])

    with pytest.raises(RecordFileError, match="no handler for the action begin-beamtime; these are: create"):
        found.check_actions(actions - {"begin-beamtime"})
    with pytest.raises(RecordFileError, match=r"an experiment has no field pi\.badge; these are: "):
        found.check_fields(fields - {"pi.badge"})
