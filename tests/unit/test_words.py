"""The handler's words: what is tried, remembered, shown and raised."""

from dataclasses import replace

import pytest

from beamtime_ioc.action import UNKNOWN, Effect, action
from beamtime_ioc.engine.ending import perform
from beamtime_ioc.engine.engine import Outcome
from beamtime_ioc.engine.plan import plan
from beamtime_ioc.errors import (
    BeamtimeError,
    ConflictError,
    DeferredError,
    DefinitelyRefusedError,
    EffectsFailedError,
    OutcomeUnknownError,
    ServiceUnavailableError,
    StepFailedError,
)
from beamtime_ioc.model import Json, RunState
from beamtime_ioc.stored_doubts import Asked
from beamtime_ioc.testing import FakeRun


class Thing:
    """Something in the world that can be made once."""

    def __init__(
        self, *, stands: bool = False, fails: list[Exception] | None = None, sticks: bool = True
    ) -> None:
        self.stands, self.fails, self.sticks = stands, fails or [], sticks
        self.made = 0

    def look(self) -> Json:
        return "it" if self.stands else None

    def make(self) -> None:
        self.made += 1
        self.stands = self.sticks
        if self.fails:
            raise self.fails.pop(0)

    def effect(self, title: str = "thing", retries: int = 0) -> Effect:
        return Effect(title, look=self.look, make=self.make, verify=self.look, retries=retries)


def test_an_effect_that_stands_is_not_made_again() -> None:
    thing, run = Thing(stands=True), FakeRun()

    assert run.effects([thing.effect()]) == ["it"]

    assert thing.made == 0
    assert [line.state for line in run.steps] == ["stands already"]


def test_an_effect_gives_what_was_read_back() -> None:
    thing, run = Thing(), FakeRun()

    value = run.effect("thing", look=thing.look, make=thing.make, verify=lambda: {"mode": "2770"})

    assert value == {"mode": "2770"}
    assert [(line.name, line.state) for line in run.steps] == [("thing", "made")]


def test_what_was_made_and_is_not_there_when_read_back_is_a_failure() -> None:
    thing, run = Thing(sticks=False), FakeRun()

    with pytest.raises(StepFailedError, match="wanted it to stand, found nothing") as caught:
        run.effects([thing.effect()])

    assert caught.value.kind == "NotVerifiedError"
    assert run.steps[0].state == "failed"


def test_a_lost_reply_is_looked_after_before_it_is_a_failure() -> None:
    thing, run = Thing(fails=[ServiceUnavailableError("DM", "did not answer")]), FakeRun()

    assert run.effects([thing.effect()]) == ["it"]

    assert thing.made == 1


def test_a_doubt_that_no_look_resolves_is_unknown_and_not_an_error() -> None:
    thing, run = (
        Thing(fails=[OutcomeUnknownError("the letter to a@example.org may have gone")], sticks=False),
        FakeRun(),
    )

    value = run.effects([thing.effect()])[0]

    assert value is UNKNOWN
    assert not value
    assert run.unknown == ["the letter to a@example.org may have gone"]
    assert run.steps[0].state == "unsure"


def test_a_conflict_is_told_with_its_sentence_and_advice() -> None:
    def look() -> Json:
        raise ConflictError("it belongs to 9100777", advice="choose another place")

    run = FakeRun()

    with pytest.raises(StepFailedError) as caught:
        run.effect("dir", look=look, make=lambda: None, verify=lambda: 1)

    assert (caught.value.kind, caught.value.sentence) == ("ConflictError", "it belongs to 9100777")
    assert caught.value.advice == "choose another place"


@pytest.mark.parametrize("at_once", [1, 4])
def test_of_several_effects_each_is_tried_and_all_failures_are_told(at_once: int) -> None:
    refusal = DefinitelyRefusedError("no", advice="ask")
    things = [Thing(), Thing(fails=[refusal], sticks=False), Thing(), Thing(fails=[refusal], sticks=False)]
    run = FakeRun()

    with pytest.raises(EffectsFailedError) as caught:
        run.effects([thing.effect(f"t{n}") for n, thing in enumerate(things)], at_once=at_once)

    assert [thing.made for thing in things] == [1, 1, 1, 1]
    assert [failure.step for failure in caught.value.failures] == ["t1", "t3"]
    assert "2 of 4 are done" in caught.value.sentence
    assert caught.value.advice == "ask"


def test_an_optional_failure_is_a_problem_while_one_stands_and_an_error_when_none_does() -> None:
    def refused() -> Effect:
        return Thing(fails=[DefinitelyRefusedError("closed mailbox")], sticks=False).effect("b")

    run, lost = FakeRun(), FakeRun()

    assert run.effects([Thing().effect("a"), refused()], optional=True) == ["it", None]
    assert run.problems == ["b: closed mailbox"]
    with pytest.raises(EffectsFailedError):
        lost.effects([refused(), refused()], optional=True)


def test_make_is_tried_again_only_when_the_service_asks_and_the_effect_says_so() -> None:
    deferred = Thing(fails=[DeferredError("later")], sticks=True)
    once_only = Thing(fails=[DeferredError("later")], sticks=True)
    run = FakeRun()
    run.recorder.wait = lambda seconds: None  # type: ignore[method-assign]

    assert run.effects([deferred.effect(retries=2)]) == ["it"]
    with pytest.raises(StepFailedError, match="later"):
        run.effects([once_only.effect()])

    assert (deferred.made, once_only.made) == (2, 1)


def test_a_value_that_is_no_json_fails_its_step() -> None:
    with pytest.raises(StepFailedError, match="a set cannot be stored"):
        FakeRun().step("read", lambda: {1, 2})  # type: ignore[arg-type,return-value]


def test_a_fault_of_the_handler_becomes_a_sentence_and_no_traceback() -> None:
    with pytest.raises(StepFailedError, match="fault of the program: ZeroDivisionError"):
        FakeRun().step("read", lambda: 1 // 0)


class Remembers:
    """A recorder whose memory outlives the process: as the durable engine, in a dict."""

    def __init__(self, memory: dict[str, Json], token: str) -> None:
        self.memory, self.token = memory, token

    def remember(self, title, body):
        if title not in self.memory:
            self.memory[title] = body()
        return self.memory[title]

    def check(self) -> None: ...

    def wait(self, seconds: float) -> None: ...

    def cancelled_on_disk(self) -> bool:
        return False

    def doubt(self, title: str, text: str, claim: str, asked: Asked) -> None:
        self.memory.setdefault(f"doubt: {title}", text)

    def doubts(self) -> list[str]:
        return [str(text) for key, text in self.memory.items() if key.startswith("doubt: ")]


def test_once_is_not_repeated_by_an_execution_that_finds_the_claim_of_a_dead_one() -> None:
    memory: dict[str, Json] = {}
    first, second = FakeRun(), FakeRun()
    first.recorder, second.recorder = Remembers(memory, "first"), Remembers(memory, "second")
    sent: list[int] = []

    memory["post:claim"] = "first"  # the process died between claim and result
    value = second.once("post", lambda: sent.append(1))

    assert value is UNKNOWN
    assert sent == []
    assert second.unknown
    assert "not repeated" in second.unknown[0]


def test_a_replay_gives_the_same_values_and_the_same_errors() -> None:
    memory: dict[str, Json] = {}
    outcomes = []
    for token in ("first", "second"):
        run = FakeRun()
        run.recorder = Remembers(memory, token)
        value = run.step("read", lambda: [1, 2])
        with pytest.raises(StepFailedError) as caught:
            run.effects([Thing(fails=[DefinitelyRefusedError("no", advice="ask")], sticks=False).effect()])
        outcomes.append((value, caught.value.kind, str(caught.value), [(s.name, s.state) for s in run.steps]))

    assert outcomes[0] == outcomes[1]


def test_a_called_action_shows_its_text_and_leaves_the_fraction_to_the_caller() -> None:
    @action("inner", resource="r")
    def inner(run, experiment):
        run.progress(1.0, "inner text")
        return "value"

    run = FakeRun(actions=[inner])
    run.progress(0.3, "outer")

    assert run.call("inner", experiment=None) == "value"

    assert (run.fraction, run.text) == (0.3, "inner text")


def outcome_of(handler, *things: Thing) -> Outcome:
    made = action("a-test", resource="r")(handler)
    return perform(FakeRun(actions=[made]))


def test_a_run_ends_done_problems_unsure_or_failed_and_says_why() -> None:
    def done(run, experiment):
        run.progress(1, "all stands")

    def problems(run, experiment):
        refused = Thing(fails=[DefinitelyRefusedError("closed")], sticks=False)
        run.effects([Thing().effect("a"), refused.effect("b")], optional=True)

    def unsure(run, experiment):
        run.effects([Thing(fails=[OutcomeUnknownError("may be")], sticks=False).effect()])

    def failed(run, experiment):
        raise BeamtimeError("the disk is full", advice="free some space")

    def broken(run, experiment):
        raise KeyError("x")

    outcomes = [outcome_of(handler) for handler in (done, problems, unsure, failed, broken)]

    assert [outcome.state for outcome in outcomes] == [
        RunState.DONE,
        RunState.PROBLEMS,
        RunState.UNSURE,
        RunState.FAILED,
        RunState.FAILED,
    ]
    assert outcomes[0].message == "all stands"
    assert "closed" in outcomes[1].message
    assert outcomes[2].unknown == ("may be",)
    assert (outcomes[3].message, outcomes[3].advice) == (
        "the disk is full; free some space",
        "free some space",
    )
    assert "KeyError" in outcomes[4].message
    assert all(outcome.advice for outcome in outcomes[1:])


def test_a_preview_looks_and_writes_a_plan_and_makes_nothing() -> None:
    stands, absent = Thing(stands=True), Thing()

    @action("a-test", resource="r")
    def handler(run, experiment):
        found = run.step("who", lambda: "somebody")
        run.effects([stands.effect("one"), absent.effect(f"two for {found}")])
        run.once("post", lambda: 1)
        run.sleep(10)
        raise AssertionError("a plan does not go beyond a wait")

    run = FakeRun(actions=[handler])

    lines = plan(run.order, run.workshop).splitlines()

    assert lines == [
        "read: who: somebody",
        "stands already: one",
        "would make: two for somebody",
        "would do: post",
        "would wait; what comes then depends on what is found",
    ]
    assert absent.made == 0


def test_a_service_is_found_by_the_name_of_its_port() -> None:
    class Hosts: ...

    class Mail: ...

    hosts = Hosts()
    run = FakeRun(services={"hosts": hosts})

    assert run.service(Hosts) is hosts
    with pytest.raises(BeamtimeError, match="add a section mail:"):
        run.service(Mail)


def test_what_a_service_or_a_file_says_becomes_one_clean_line() -> None:
    def look() -> Json:
        raise ConflictError("it holds scan\udcff.h5\n2026-11-20 INFO forged\x1b[31m", advice="a\nb")

    run = FakeRun()

    with pytest.raises(StepFailedError) as caught:
        run.effect("dir", look=look, make=lambda: None, verify=lambda: 1)

    assert caught.value.sentence == "it holds scan .h5 2026-11-20 INFO forged [31m"
    assert caught.value.advice == "a b"
    assert "\n" not in run.steps[0].reason
    run.steps[0].reason.encode()


def test_a_failure_after_an_abort_is_an_abort() -> None:
    run = FakeRun()

    def look() -> Json:
        run.recorder.cancel.set()  # type: ignore[attr-defined]
        raise ServiceUnavailableError("the schedule", "did not answer")

    @action("a-test", resource="r")
    def handler(run, experiment):
        run.effect("thing", look=look, make=lambda: None, verify=lambda: 1)

    run.workshop = replace(run.workshop, actions={"a-test": handler})

    assert perform(run).state is RunState.ABORTED


def test_what_is_unsure_is_named_even_when_the_run_is_aborted_behind_it() -> None:
    run = FakeRun()

    def abort() -> Json:
        run.recorder.cancel.set()  # type: ignore[attr-defined]
        return None

    doubtful = Thing(fails=[OutcomeUnknownError("the letter to a@example.org")], sticks=False)
    second = Effect("second", look=abort, make=lambda: None, verify=lambda: 1)
    third = Thing()

    @action("a-test", resource="r")
    def handler(run, experiment):
        run.effects([doubtful.effect("first"), second, third.effect("third")])

    run.workshop = replace(run.workshop, actions={"a-test": handler})
    outcome = perform(run)

    assert outcome.state is RunState.UNSURE
    assert "the letter to a@example.org" in outcome.message
    assert third.made == 0


def test_a_preview_ends_where_the_run_would_end() -> None:
    def conflict() -> Json:
        raise ConflictError("it belongs to another", advice="choose")

    after = Thing()

    @action("a-test", resource="r")
    def handler(run, experiment):
        run.effects([Effect("dir", look=conflict, make=lambda: None, verify=lambda: 1)])
        run.effects([after.effect("letter")])

    run = FakeRun(actions=[handler])

    lines = plan(run.order, run.workshop).splitlines()

    assert lines == [
        "would fail: dir: it belongs to another; choose",
        "would end here: it belongs to another; choose",
    ]
