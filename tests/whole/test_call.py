"""One call presses an action, with its arguments, and is answered by the whole of what came of it."""

import json
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from p4p import Type, Value
from p4p.client.thread import RemoteError
from p4p.nt import NTURI

from box_house import PREFIX, Box, Ioc, beamtime, until
from wire_house import pva_context

HANDLER = '''
"""What a test measures."""

from pathlib import Path

from beamtime_ioc.action import Run, action
from beamtime_ioc.model import Experiment


@action("take-sample", resource="samples")
def take_sample(run: Run, experiment: Experiment, position: int = 0, note: str = "") -> None:
    """Write down where the sample is."""
    log = Path("{log}")
    line = f"{{position + 1}} {{note}}"
    run.effect(
        f"sample at {{position}}",
        look=lambda: None,
        make=lambda: log.open("a").write(line + "\\n"),
        verify=lambda: line if log.exists() else None,
    )
    run.progress(1.0, f"the sample is at {{position}}")
'''
ROWS = """
file action.template {
    pattern { ACTION, NAME, VERB, DESC } { "take-sample", "TakeSample", "Take", "Write down the sample" }
}
"""


def start(box: Box, package: Path) -> Ioc:
    """An IOC with the action of this file."""
    info = package / "taking-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "taking.py").write_text(HANDLER.format(log=box.directory / "samples"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: taking\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[beamtime.handlers]\ntake-sample = taking:take_sample\n")
    (box.directory / "taking.substitutions").write_text(ROWS)

    def add(site: dict[str, Any]) -> None:
        site["records"] = ["taking.substitutions"]

    box.edit_site(add)
    path = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    return Ioc.on(box, PYTHONPATH=os.pathsep.join(path)).start()


@pytest.fixture
def called(box: Box, tmp_path: Path) -> Generator[Ioc, None, None]:
    ioc = start(box, tmp_path / "package")
    yield ioc
    assert ioc.stop() == 0


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Generator[Ioc, None, None]:
    """One for all calls that are refused."""
    directory = tmp_path_factory.mktemp("untouched")
    box = Box.start(directory / "box")
    ioc = start(box, directory / "package")
    yield ioc
    assert ioc.stop() == 0
    assert box.program.stop() == 0


@pytest.fixture
def context(called: Ioc) -> Generator[Any, None, None]:
    with pva_context(called.pva) as opened:
        yield opened


def call(context: Any, *, timeout: float = 30, **query: object) -> Any:
    words = [(name, "?" if isinstance(value, bool) else "s") for name, value in query.items()]
    request = NTURI(words).wrap(f"{PREFIX}Press", kws=query, scheme="pva")
    return context.rpc(f"{PREFIX}Press", request, timeout=timeout)


def refusal(context: Any, **query: object) -> str:
    with pytest.raises(RemoteError) as caught:
        call(context, timeout=30, **query)
    return str(caught.value)


def samples(box: Box) -> list[str]:
    log = box.directory / "samples"
    return log.read_text().splitlines() if log.exists() else []


def test_a_call_waits_for_the_end_and_is_answered_by_state_message_and_effects(
    box: Box, context: Any
) -> None:
    call(context, action="UpdateUserInfo")

    found = call(context, action="take-sample", arguments='{"position": 4, "note": "wet"}')

    assert (found.state, found.message, found.plan) == ("Done", "the sample is at 4", "")
    assert [(effect.name, effect.state) for effect in found.effects] == [("sample at 4", "made")]
    assert samples(box) == ["5 wet"]
    page = json.loads(beamtime("history", "show", found.runId, "--json", "--site", str(box.site)).stdout)
    assert page["arguments"] == {"position": 4, "note": "wet"}
    audited = beamtime("audit", "--json", "--site", str(box.site), "--record", "Press").stdout.splitlines()
    line = json.loads(audited[-1])
    assert (line["what"], line["via"], line["run"]) == ("press", "rpc", found.runId)
    assert '"position\\": 4' in line["new"]


def test_on_a_command_line_arguments_are_json_or_text(box: Box, called: Ioc) -> None:
    site = ("--site", str(box.site))
    assert beamtime("press", "UpdateUserInfo", "--wait", *site).returncode == 0
    wet = ("TakeSample", "--arg", "position=4", "--arg", "note=wet = 1")

    preview = beamtime("press", *wet, "--preview", *site)
    assert (preview.returncode, samples(box)) == (0, [])
    assert "would make: sample at 4" in preview.stdout
    assert beamtime("press", *wet, "--wait", *site).returncode == 0
    assert samples(box) == ["5 wet = 1"]
    wrong = beamtime("press", "TakeSample", "--arg", "position=far", *site)
    assert wrong.returncode == 2
    assert "it takes position (a whole number), note (a text)" in wrong.stderr
    assert "write NAME=VALUE" in beamtime("press", "TakeSample", "--arg", "position", *site).stderr
    assert samples(box) == ["5 wet = 1"]


def test_without_waiting_it_is_answered_when_the_press_is_written_down(box: Box, context: Any) -> None:
    box.set(schedule__delay_s=1.0)

    found = call(context, action="UpdateUserInfo", wait=False)

    assert found.state in ("Queued", "Running")
    assert found.runId
    until(lambda: context.get(f"{PREFIX}UpdateUserInfoState").value.index == 4, "its end")


def test_a_run_that_fails_is_answered_by_its_state_and_advice(box: Box, context: Any) -> None:
    box.set(schedule__status=500)

    found = call(context, action="UpdateUserInfo")

    assert found.state == "Failed"
    assert "500" in found.message
    assert found.advice


def test_a_preview_with_arguments_is_a_plan_and_changes_nothing(box: Box, context: Any) -> None:
    call(context, action="UpdateUserInfo")

    found = call(context, action="TakeSample", arguments='{"position": 9}', preview=True)

    assert "would make: sample at 9" in found.plan
    assert found.runId == ""
    assert samples(box) == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"action": "TakeSample"}, "there is no current experiment"),
        ({"action": "MakeCoffee"}, "there is no button 'MakeCoffee'; there are UpdateUserInfo, "),
        ({}, "there is no button ''"),
        (
            {"action": "TakeSample", "arguments": '{"place": 1}'},
            "it takes position (a whole number), note (a text)",
        ),
        ({"action": "TakeSample", "arguments": '{"position": "x"}'}, 'position: "x" is not a whole number; '),
        ({"action": "TakeSample", "arguments": "[1]"}, "the arguments are no JSON object"),
        ({"action": "TakeSample", "arguments": '{"position": '}, "the arguments are no JSON object"),
        ({"action": "TakeSample", "arguments": "[" * 50_000}, "the arguments are no JSON object"),
        ({"action": "TakeSample", "arguments": "9" * 70_000}, "send 65536 at most"),
        ({"action": "EndBeamtime", "arguments": '{"x": 1}'}, "it takes no arguments; leave them out"),
        ({"action": "UpdateUserInfo", "wait": "perhaps"}, "wait is 'perhaps'; write true or false"),
        ({"action": "UpdateUserInfo", "colour": "red"}, "a call has no 'colour'"),
        ({"action": "UpdateUserInfo", "c" * 5000: "red"}, f"a call has no '{'c' * 60}'"),
    ],
)
def test_what_cannot_be_called_is_refused_in_words_and_audited(
    untouched: Ioc, query: dict[str, object], words: str
) -> None:
    def lines() -> list[str]:
        command = ("audit", "--json", "--site", str(untouched.box.site), "--record", "Press")
        return beamtime(*command).stdout.splitlines()

    before = len(lines())
    with pva_context(untouched.pva) as context:
        assert words in refusal(context, **query)

    line = json.loads(until(lambda: lines()[before:], "its line")[-1])
    assert (line["what"], line["via"]) == ("refused", "rpc")
    assert words in line["text"]


def test_arguments_that_are_an_array_of_numbers_are_refused_in_words(context: Any) -> None:
    kind = Type([("query", ("S", None, [("action", "s"), ("arguments", "ad")]))])

    with pytest.raises(RemoteError, match="the arguments are no JSON object"):
        context.rpc(
            f"{PREFIX}Press", Value(kind, {"query": {"action": "TakeSample", "arguments": [1.0, 2.0]}})
        )


def test_calls_of_somebody_without_rights_fill_neither_the_audit_nor_the_log(
    box: Box, called: Ioc, context: Any
) -> None:
    (box.directory / "access.acf").write_text("ASG(DEFAULT) { RULE(1, READ) }\n")
    os.kill(called.program.pid, signal.SIGHUP)
    until(lambda: "it lacks" in context.get(f"{PREFIX}AccessMessage").value, "the new rules")

    for query in (
        {"action": "MakeCoffee"},
        {"action": "TakeSample"},
        {"action": "TakeSample", "colour": "red"},
    ):
        for _ in range(20):
            assert "may not write records of the access group" in refusal(context, **query)

    command = ("audit", "--json", "--site", str(box.site))
    found = until(lambda: [line for line in beamtime(*command).stdout.splitlines() if "may not" in line])
    assert len(found) == 2  # of a button, and of none
    log = called.program.log.read_text(errors="replace")
    assert log.count("may not write") == 1


def test_a_client_that_leaves_stops_nothing_and_a_second_call_is_refused_meanwhile(
    box: Box, called: Ioc, context: Any
) -> None:
    box.set(schedule__delay_s=1.5)
    with pva_context(called.pva) as other, pytest.raises(TimeoutError):
        call(other, timeout=0.3, action="UpdateUserInfo")

    assert "UpdateUserInfo runs since" in refusal(context, action="UpdateUserInfo")
    until(lambda: context.get(f"{PREFIX}UpdateUserInfoState").value.index == 4, "the end of the first")


def test_a_call_without_a_query_and_a_put_are_answered(context: Any) -> None:
    with pytest.raises(RemoteError, match="the call has no query"):
        context.rpc(f"{PREFIX}Press", context.get(f"{PREFIX}Version"), timeout=5)
    with pytest.raises(RemoteError, match="takes no put"):
        context.put(f"{PREFIX}Press", {"state": "Done"}, timeout=5)
