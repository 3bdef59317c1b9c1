"""The words of a handler at work in each engine: effects, steps, once, retries, progress, calls."""

import threading
import time

import pytest

from beamtime_ioc.action import UNKNOWN, Effect, Run
from beamtime_ioc.errors import (
    BeamtimeError,
    ConflictError,
    DeferredError,
    DefinitelyRefusedError,
    EffectsFailedError,
    NotVerifiedError,
    OutcomeUnknownError,
    ServiceUnavailableError,
    StepFailedError,
)
from beamtime_ioc.model import RunState
from engine_house import DEADLINE_S, Begin, quick


def absent() -> None:
    return None


def test_an_effect_that_stands_is_not_made(bench: Begin) -> None:
    made: list[int] = []

    def body(run: Run) -> object:
        return run.effect("thing", look=lambda: "stands", make=lambda: made.append(1), verify=lambda: "read")

    line = bench(quick("go", body))

    outcome = line.end_of(line.submit("go"))

    assert (outcome.state, outcome.value, made) == (RunState.DONE, "read", [])


def test_what_does_not_hold_when_read_back_fails_with_wanted_and_found(bench: Begin) -> None:
    def verify() -> None:
        raise NotVerifiedError("det1:/data", wanted="2770", found="0755")

    line = bench(quick("go", lambda run: run.effect("thing", look=absent, make=absent, verify=verify)))

    outcome = line.end_of(line.submit("go"))

    assert outcome.state is RunState.FAILED
    assert "wanted 2770, found 0755" in outcome.message


def test_an_effect_is_tried_again_only_as_often_as_it_says_and_later_each_time(bench: Begin) -> None:
    times: list[float] = []

    def make() -> None:
        times.append(time.monotonic())
        if len(times) < 3:
            raise DeferredError("450 later")

    def body(run: Run) -> object:
        return run.effect("letter", look=absent, make=make, verify=lambda: "read", retries=2)

    line = bench(quick("go", body))

    outcome = line.end_of(line.submit("go"))

    first, second = times[1] - times[0], times[2] - times[1]
    assert (outcome.state, len(times)) == (RunState.DONE, 3)
    assert 0.8 <= first < 1.6 <= second


def test_what_need_not_be_tried_again_is_not(bench: Begin) -> None:
    tries: list[str] = []
    errors = (
        (DeferredError("450 later"), 0),
        (ServiceUnavailableError("the relay", "is away"), 0),
        (DefinitelyRefusedError("550 no such mailbox"), 5),
        (ConflictError("belongs to another"), 5),
        (ValueError("a fault"), 5),
    )

    def tried(run: Run, error: Exception, retries: int) -> object:
        def make() -> None:
            tries.append(str(error))
            raise error

        return run.effect("letter", look=absent, make=make, verify=lambda: "read", retries=retries)

    line = bench(*(quick(str(e), lambda run, e=e, n=n: tried(run, e, n)) for e, n in errors))

    ends = [line.end_of(line.submit(str(error))) for error, _ in errors]

    assert {outcome.state for outcome in ends} == {RunState.FAILED}
    assert all(str(error) in outcome.message for (error, _), outcome in zip(errors, ends, strict=True))
    assert tries == [str(error) for error, _ in errors]


def test_of_several_effects_each_is_tried_and_failures_are_told_together(bench: Begin) -> None:
    seen: list[BaseException] = []

    def effect(number: int) -> Effect:
        def make() -> None:
            if number in (1, 4):
                raise BeamtimeError(f"det{number} is off", advice="start it")

        return Effect(f"directory {number}", look=absent, make=make, verify=lambda: number)

    def body(run: Run) -> None:
        try:
            run.effects([effect(number) for number in range(6)], at_once=3)
        except EffectsFailedError as error:
            seen.extend(error.failures)
            raise

    line = bench(quick("go", body))

    outcome = line.end_of(line.submit("go"))
    steps = line.news.progress[-1][1].steps

    assert outcome.state is RunState.FAILED
    assert outcome.message.startswith("directory 1: det1 is off; directory 4: det4 is off (4 of 6 are done)")
    assert [step.name for step in steps] == [f"directory {number}" for number in range(6)]
    assert [step.state for step in steps] == ["made", "failed", "made", "made", "failed", "made"]
    assert [error.step for error in seen if isinstance(error, StepFailedError)] == [
        "directory 1",
        "directory 4",
    ]


def test_at_most_n_effects_are_worked_on_at_once_and_their_results_come_in_order(bench: Begin) -> None:
    at_work, most, lock = [0], [0], threading.Lock()
    three = threading.Barrier(3, timeout=DEADLINE_S)

    def make() -> None:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        three.wait()  # three are at work together, or this ends in a fault
        with lock:
            at_work[0] -= 1

    effects = [Effect(f"{n}", look=absent, make=make, verify=lambda n=n: n * n) for n in range(9)]
    line = bench(quick("go", lambda run: run.effects(effects, at_once=3)))

    outcome = line.end_of(line.submit("go"))

    assert (outcome.state, outcome.value) == (RunState.DONE, [n * n for n in range(9)])
    assert most[0] == 3


def test_once_gives_its_value_and_a_definite_refusal_fails(bench: Begin) -> None:
    tries: list[str] = []

    def refused() -> None:
        tries.append("refused")
        raise DefinitelyRefusedError("550 no such mailbox")

    def body(run: Run) -> object:
        value = run.once("first", lambda: tries.append("first") or "accepted")
        with pytest.raises(StepFailedError, match="550") as caught:
            run.once("second", refused)
        return [value, caught.value.kind]

    line = bench(quick("go", body))

    outcome = line.end_of(line.submit("go"))

    assert outcome.value == ["accepted", "DefinitelyRefusedError"]
    assert (outcome.state, tries) == (RunState.DONE, ["first", "refused"])


@pytest.mark.parametrize("word", ["effect", "once"])
def test_what_cannot_be_known_is_not_repeated_and_ends_unsure(bench: Begin, word: str) -> None:
    tries: list[int] = []

    def write() -> None:
        tries.append(1)
        raise OutcomeUnknownError("the letter to zoe@example.edu may have been sent", claim="k1")

    def body(run: Run) -> object:
        if word == "once":
            value = run.once("letter to zoe@example.edu", write)
        else:
            value = run.effect("letter to zoe@example.edu", look=absent, make=write, verify=absent, retries=3)
        assert value is UNKNOWN
        return run.step("later", lambda: "goes on")

    line = bench(quick("go", body))

    outcome = line.end_of(line.submit("go"))

    assert (outcome.state, outcome.value, tries) == (RunState.UNSURE, "goes on", [1])
    assert outcome.unknown == ("the letter to zoe@example.edu may have been sent",)
    assert "zoe@example.edu" in outcome.message
    assert [step.state for step in line.news.progress[-1][1].steps] == ["unsure", "read"]
    assert line.health().unsure == 1


def test_a_called_action_that_fails_ends_its_caller_with_its_sentence(bench: Begin) -> None:
    def refuse() -> None:
        raise BeamtimeError("det1 is off", advice="start it")

    inner = quick("inner", lambda run: run.step("disk", refuse))
    line = bench(inner, quick("outer", lambda run: run.call("inner", experiment=None)))

    outcome = line.end_of(line.submit("outer"))

    assert (outcome.state, outcome.message) == (RunState.FAILED, "det1 is off; start it")
    assert outcome.advice == "start it"


def test_an_action_that_calls_one_that_is_not_installed_says_which(bench: Begin) -> None:
    line = bench(quick("outer", lambda run: run.call("gone", experiment=None)))

    outcome = line.end_of(line.submit("outer"))

    assert outcome.state is RunState.FAILED
    assert "there is no action gone" in outcome.message


class Deaf:
    """A service outside that takes a question and answers nobody; its client gives up after its own time."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, what: str, error: BeamtimeError) -> None:
        self.asked.append(what)
        assert not threading.Event().wait(0.05)
        raise error


SILENT = ServiceUnavailableError("the relay", "did not answer within 0.05 s")


@pytest.mark.parametrize("word", ["look", "make", "verify", "step"])
def test_a_service_that_does_not_answer_in_time_fails_the_run_in_words_and_frees_its_resource(
    bench: Begin, word: str
) -> None:
    deaf = Deaf()

    def at(mine: str, otherwise: str | None) -> str | None:
        return deaf.ask(mine, SILENT) if mine == word else otherwise

    def body(run: Run) -> object:
        run.step("read", lambda: at("step", "read"))
        return run.effect(
            "letter",
            look=lambda: at("look", None),
            make=lambda: at("make", None),
            verify=lambda: at("verify", "sent"),
        )

    line = bench(quick("go", body), quick("next", lambda run: "done"))
    first, second = line.submit("go"), line.submit("next")

    outcome, after = line.end_of(first), line.end_of(second)

    assert outcome.state is RunState.FAILED
    assert "the relay did not answer within 0.05 s" in outcome.message
    assert outcome.advice
    assert deaf.asked == [word]
    assert after.state is RunState.DONE


def test_what_was_sent_and_not_answered_in_time_is_unsure_and_not_sent_again(bench: Begin) -> None:
    deaf = Deaf()
    error = OutcomeUnknownError("whether the letter went out is not known", advice="ask")
    line = bench(quick("go", lambda run: bool(run.once("letter", lambda: deaf.ask("letter", error)))))

    outcome = line.end_of(line.submit("go"))

    assert (outcome.state, outcome.value) == (RunState.UNSURE, False)
    assert "whether the letter went out is not known" in outcome.message
    assert deaf.asked == ["letter"]
