"""Values that a handler may meet and a store may not like: kept as they were, or refused in words."""

import logging
import math

import pytest

from beamtime_ioc.action import Run, action
from beamtime_ioc.errors import NotJsonError
from beamtime_ioc.model import Experiment, Json, RunState
from engine_house import Begin, quick
from engine_nursery import Child
from engine_world import World

ODD_TEXTS = (
    "NUL a\x00b",
    "a lone surrogate a\ud800b",
    b"as os.fsdecode gives it caf\xe9".decode("utf-8", "surrogateescape"),
    "beyond the first plane 𝜆/4 ☢",
    "'; DROP TABLE workflow_status; -- %s :id \\u0000",
    '{"beamtime_exception": "as a tag of ours"}',
)
NO_JSON = (object(), {1, 2}, b"bytes", math.nan, math.inf, 1j)


@pytest.fixture(autouse=True)
def little_log(caplog: pytest.LogCaptureFixture) -> None:
    """xdist cannot carry what is logged of a lone surrogate."""
    caplog.set_level(logging.CRITICAL)


def test_arguments_that_are_no_json_are_refused_and_nothing_is_written_down(bench: Begin) -> None:
    bodies: list[str] = []
    line = bench(quick("go", lambda run: bodies.append(run.id)))

    for value in NO_JSON:
        with pytest.raises(NotJsonError):
            line.submit("go", value=value)
    after = line.submit("go")
    line.end_of(after)

    assert bodies == [after]
    assert line.opened is None or [record.id for record in line.journal.last(9)] == [after]


@pytest.mark.parametrize("word", ["step", "once", "end"])
def test_a_result_that_is_no_json_fails_the_run_in_words(bench: Begin, word: str) -> None:
    values = {str(number): value for number, value in enumerate(NO_JSON)}

    def handler(run: Run, experiment: Experiment | None, *, which: str) -> object:
        if word == "step":
            run.step("disk", lambda: values[which])  # type: ignore[arg-type]
        if word == "once":
            run.once("letter", lambda: values[which])  # type: ignore[arg-type]
        return values[which]

    line = bench(action("go", resource="r", needs_experiment=False)(handler))

    ids = [line.submit("go", which=which) for which in values]

    for run_id, value in zip(ids, NO_JSON, strict=True):
        outcome = line.end_of(run_id)
        assert outcome.state is RunState.FAILED
        assert f"a {type(value).__name__} cannot be stored" in outcome.message


def test_odd_texts_come_back_as_they_were_in_arguments_steps_and_results(bench: Begin) -> None:
    seen: list[object] = []

    def handler(run: Run, experiment: Experiment | None, *, text: Json) -> object:
        seen.append(text)
        seen.append(run.step("read it", lambda: {"text": text, str(text): 1}))
        seen.append(run.effect(f"make {text}", look=lambda: None, make=lambda: None, verify=lambda: text))
        run.progress(0.5, f"at {text}")
        return text

    line = bench(action("go", resource="r", needs_experiment=False)(handler))

    ends = {text: line.end_of(line.submit("go", text=text)) for text in ODD_TEXTS}

    assert {outcome.state for outcome in ends.values()} == {RunState.DONE}
    assert ascii([outcome.value for outcome in ends.values()]) == ascii(list(ODD_TEXTS))
    assert ascii(seen) == ascii([value for t in ODD_TEXTS for value in (t, {"text": t, t: 1}, t)])
    assert line.opened is None or {record.state for record in line.journal.last(99)} == {RunState.DONE}


def test_odd_texts_survive_a_stop_and_a_start(durable: Begin) -> None:
    seen: list[object] = []
    lives: list[int] = []

    def body(run: Run) -> None:
        for number, text in enumerate(ODD_TEXTS):
            seen.append(run.step(f"{number} {text}", lambda text=text: text if not lives else "another"))
        if not lives:
            lives.append(1)
            run.sleep(60)

    first = durable(quick("go", body))
    run_id = first.submit("go", text=list(ODD_TEXTS))
    first.news.wait(lambda: lives)
    assert first.stop(10)

    outcome = durable(quick("go", body)).end_of(run_id)

    assert outcome.state is RunState.DONE
    assert ascii(seen) == ascii([*ODD_TEXTS, *ODD_TEXTS])


def test_odd_texts_in_an_error_end_in_one_clean_sentence(bench: Begin) -> None:
    def handler(run: Run, experiment: Experiment | None, *, text: str) -> None:
        raise ValueError(f"first\n{text}\tlast")

    line = bench(action("go", resource="r", needs_experiment=False)(handler))

    ends = [line.end_of(line.submit("go", text=text)) for text in ODD_TEXTS]

    assert {outcome.state for outcome in ends} == {RunState.FAILED}
    assert all("first" in outcome.message and "last" in outcome.message for outcome in ends)
    assert all(outcome.message.isprintable() for outcome in ends)


class UnprintableError(Exception):
    """An error that somebody else wrote badly."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_an_error_that_cannot_be_printed_ends_its_run_only(bench: Begin) -> None:
    def fail() -> None:
        raise UnprintableError

    words = {
        "step": quick("step", lambda run: run.step("disk", fail)),
        "effect": quick("effect", lambda run: run.effect("disk", look=fail, make=fail, verify=fail)),
        "once": quick("once", lambda run: run.once("disk", fail)),
        "body": quick("body", lambda run: fail()),
    }
    line = bench(*words.values(), quick("good", lambda run: "through"))

    ids = [line.submit(word) for word in words]
    after = line.submit("good")

    for run_id in ids:
        outcome = line.end_of(run_id)
        assert outcome.state is RunState.FAILED
        assert "UnprintableError" in outcome.message
    assert line.end_of(after).value == "through"


def test_a_handler_that_returns_nothing_is_done(bench: Begin) -> None:
    line = bench(quick("go", lambda run: None))

    outcome = line.end_of(line.submit("go"))

    assert (outcome.state, outcome.value, outcome.message) == (RunState.DONE, None, "done")


def test_results_of_more_than_a_megabyte_are_kept_whole(bench: Begin) -> None:
    big = ["x" * 1000] * 2000
    line = bench(quick("go", lambda run: run.step("big", lambda: list(big))))

    outcome = line.end_of(line.submit("go", big=list(big)))

    assert (outcome.state, outcome.value) == (RunState.DONE, big)
    assert line.opened is None or [record.state for record in line.journal.last(1)] == [RunState.DONE]


def test_a_megabyte_of_arguments_survives_a_kill(child: Child, world: World) -> None:
    world.close("after")
    child.start()
    names = [f"{number}-{'x' * 1000}" for number in range(1100)]
    run_id = child.errand(("step", "a"), ("gate", "after"), ("step", "b"), ("note", *names))
    world.until_reached("after")

    child.kill()
    world.open("after")

    assert child.start().end_of(run_id).value == [1, 1]
