"""The handler's words at work: how a step is tried, tagged, remembered and shown.

Steps never raise through the engine. The body of a step gives a tagged JSON value, and the word
raises afterwards; so the first run and a replay behave the same.

    {"ok": value, "how": "made"}    {"failed": [kind, sentence, advice]}
    {"unknown": text, "claim": key of the outbox row}    {"held": reason}

Each has besides its title and `s`, the seconds it took.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol, cast

from beamtime_ioc.action import UNKNOWN, Effect, Unknown
from beamtime_ioc.engine.engine import Order, checked_json
from beamtime_ioc.engine.ordered import OrderedRun
from beamtime_ioc.engine.workshop import Workshop, fault
from beamtime_ioc.errors import (
    BeamtimeError,
    Cancelled,
    DeferredError,
    EffectsFailedError,
    NotVerifiedError,
    OutcomeUnknownError,
    ServiceUnavailableError,
    StateError,
    StepFailedError,
    kept_for,
)
from beamtime_ioc.model import Experiment, Json, one_line
from beamtime_ioc.progress import Progress, StepLine, StepState
from beamtime_ioc.runrecord import how_of
from beamtime_ioc.stored_doubts import Asked

log = logging.getLogger(__name__)
Tagged = dict[str, Json]

LONGEST_WAIT_S = 60.0
CLAIM = ":claim"
"""Ends the title of the step that `once` stores before it writes."""

SENTENCE = 2000
"""Characters at most; what a file or a service says may be longer, and may hold control characters."""


class Recorder(Protocol):
    """What an engine lends to a run: its memory, and the wish to end."""

    token: str
    """New at each start of the run's body: tells this execution from one that died."""

    def remember(self, title: str, body: Callable[[], Json]) -> Json:
        """Run the body and store what it gives; on a replay give what is stored."""
        ...

    def check(self) -> None:
        """Raise Cancelled or Stopping if somebody wants the run to end."""
        ...

    def cancelled_on_disk(self) -> bool:
        """Whether an abort is written down, read afresh."""
        ...

    def doubt(self, title: str, text: str, claim: str, asked: Asked) -> None:
        """Write down what cannot be known; a second time changes nothing."""
        ...

    def doubts(self) -> Sequence[str]:
        """All that this run cannot know, of earlier executions too."""
        ...

    def wait(self, seconds: float) -> None:
        """Sleep, unless `check` would raise."""
        ...


class LiveRun(OrderedRun):
    """A `Run` that does what it says."""

    preview = False

    def __init__(
        self, order: Order, workshop: Workshop, recorder: Recorder, tell: Callable[[Progress], None]
    ) -> None:
        super().__init__(order, workshop)
        self.recorder, self._tell = recorder, tell
        self.problems: list[str] = []
        self.unknown: list[str] = []
        self.steps: list[StepLine] = []
        self.fraction, self.text = 0.0, ""
        self.found: Experiment | None = None
        self._asked = [Asked(action=order.action, experiment=order.experiment, arguments=order.arguments)]
        self._lock = threading.Lock()

    def effects(self, effects: Sequence[Effect], *, at_once: int = 1, optional: bool = False) -> list[Any]:
        if not effects:
            return []
        effects = [replace(effect, title=one_line(effect.title)) for effect in effects]
        self.recorder.check()
        first = len(self.steps)
        for effect in effects:
            state = StepState.WAITING if len(effects) > 1 else StepState.RUNNING
            self._line(StepLine(name=effect.title, state=state))

        def work(index: int) -> Tagged:
            self.recorder.check()
            self._line(StepLine(name=effects[index].title, state=StepState.RUNNING), first + index)
            start = time.monotonic()
            title = effects[index].title
            tagged = {**self._try_effect(effects[index]), **_stamp(title, start)}
            self._note_unknown(tagged)  # at once: an abort may come before the others are done
            self._line(_line_of(tagged), first + index)
            return tagged

        def body() -> Json:
            if at_once == 1 or len(effects) == 1:
                return cast(Json, [work(index) for index in range(len(effects))])
            with ThreadPoolExecutor(at_once, thread_name_prefix="effects") as pool:
                return cast(Json, list(pool.map(work, range(len(effects)))))

        title = effects[0].title if len(effects) == 1 else f"{len(effects)} effects: {effects[0].title}, ..."
        found, remembered = self._remember(title, body)
        results = cast(list[Tagged], found)
        if remembered:
            for index, tagged in enumerate(results):
                self._line(_line_of(tagged), first + index, remembered=True)
        bearable = len(effects) - 1 if optional else 0
        return self._values([effect.title for effect in effects], results, bearable)

    def step(self, title: str, read: Callable[[], Json], *, retries: int = 0, optional: bool = False) -> Any:
        title = one_line(title)
        self.recorder.check()

        def body() -> Tagged:
            return self._tagged(title, lambda: self._retry(read, retries), StepState.READ)

        return self._single(title, body, optional=optional)

    def once(self, title: str, write: Callable[[], Json]) -> Any:
        title = one_line(title)
        self.recorder.check()
        claim = self.recorder.remember(title + CLAIM, lambda: self.recorder.token)

        def body() -> Tagged:
            if claim != self.recorder.token:
                return {"unknown": in_the_middle(title)}
            if self.recorder.cancelled_on_disk():
                raise Cancelled
            return self._tagged(title, write, StepState.DONE)

        return self._single(title, body)

    def progress(self, fraction: float, text: str = "") -> None:
        if len(self._asked) == 1:  # how far the whole is, only the pressed action knows
            self.fraction = max(0.0, min(1.0, fraction))
        self.text = one_line(text, SENTENCE) or self.text
        self._show()
        self.recorder.check()

    def sleep(self, seconds: float) -> None:
        self.recorder.wait(seconds)

    def call(self, action: str, *, experiment: Experiment | None, **arguments: Json) -> Any:
        called = self.workshop.called(action, self.order.action, experiment)
        self._asked.append(Asked(action=action, experiment=experiment, arguments=arguments))
        try:
            return called(self, experiment, **arguments)
        finally:
            self._asked.pop()

    def about(self, experiment: Experiment) -> None:
        self.found = experiment

    def hold(self, title: str, reason: str) -> None:
        held: Tagged = {"held": one_line(reason, SENTENCE), "title": one_line(title), "s": 0.0}
        found, remembered = self._remember(one_line(title), lambda: cast(Json, held))
        self._line(_line_of(cast(Tagged, found)), remembered=remembered)

    # -- how they are done ------------------------------------------------------------------

    def _single(self, title: str, body: Callable[[], Tagged], *, optional: bool = False) -> Any:
        # No check here: a stop between a claim and what is claimed would leave it in doubt for nothing.
        index = self._line(StepLine(name=title, state=StepState.RUNNING))
        began = time.monotonic()
        found, remembered = self._remember(title, lambda: cast(Json, {**body(), **_stamp(title, began)}))
        tagged = cast(Tagged, found)
        self._line(_line_of(tagged), index, remembered=remembered)
        return self._values([title], [tagged], bearable=int(optional))[0]

    def _remember(self, title: str, body: Callable[[], Json]) -> tuple[Json, bool]:
        """What the body gives; True if it ran before a restart and is only remembered."""
        remembered = True

        def running() -> Json:
            nonlocal remembered
            remembered = False
            return body()

        return self.recorder.remember(title, running), remembered

    def _try_effect(self, effect: Effect) -> Tagged:
        how = StepState.STANDS

        def body() -> Json:
            nonlocal how
            if effect.look() is None:
                how = StepState.MADE
                try:
                    self._retry(effect.make, effect.retries)
                except (OutcomeUnknownError, ServiceUnavailableError) as doubt:
                    if self._look_again(effect, doubt) is None:  # in doubt, and nothing stands
                        raise
            found = effect.verify()
            if found is None:
                raise NotVerifiedError(effect.title, wanted="it to stand", found="nothing")
            return found

        tagged = self._tagged(effect.title, body, how)
        return {**tagged, "how": how.value} if "ok" in tagged else tagged

    def _look_again(self, effect: Effect, doubt: Exception) -> Json:
        try:
            return effect.look()
        except OutcomeUnknownError:
            if isinstance(doubt, OutcomeUnknownError):
                raise doubt from None  # it knows more than a look
            raise

    def _tagged(self, title: str, body: Callable[[], Json], how: StepState) -> Tagged:
        try:
            return {"ok": checked_json(title, body()), "how": how.value}
        except OutcomeUnknownError as error:
            return {"unknown": one_line(str(error), SENTENCE), "claim": error.claim}
        except StateError as error:  # our own memory: what it holds is neither failed nor done
            raise kept_for(error) from error
        except BeamtimeError as error:
            words = [one_line(error.sentence, SENTENCE), one_line(error.advice, SENTENCE)]
            return {"failed": [type(error).__name__, *words]}
        except Exception as error:
            log.exception("run %s: fault of the handler in %r", self.id, title)
            return {"failed": [type(error).__name__, *fault(title, error)]}

    def _retry(self, body: Callable[[], Any], retries: int) -> Any:
        for turn in range(retries):
            try:
                return body()
            except (DeferredError, ServiceUnavailableError):
                wait = min(LONGEST_WAIT_S, 2.0**turn) * random.uniform(0.8, 1.2)
                self.recorder.wait(wait)
        return body()

    def _values(self, titles: Sequence[str], results: Sequence[Tagged], bearable: int) -> list[Any]:
        """What they gave; up to so many failures are problems of the run."""
        values: list[Any] = []
        failures: list[StepFailedError] = []
        for title, tagged in zip(titles, results, strict=True):
            value: Json | Unknown = None
            if "unknown" in tagged:
                self._note_unknown(tagged)
                value = UNKNOWN
            elif "failed" in tagged:
                kind, sentence, advice = cast(list[str], tagged["failed"])
                failures.append(StepFailedError(title, kind, sentence, advice))
            else:
                value = tagged["ok"]
            values.append(value)
        if failures:
            self.recorder.check()  # what failed since it was aborted is an abort
        if len(failures) <= bearable:
            self.problems += [f"{failure.step}: {failure}" for failure in failures]
        else:
            raise failures[0] if len(titles) == 1 else EffectsFailedError(failures, len(titles))
        return values

    def _note_unknown(self, tagged: Tagged) -> None:
        if "unknown" not in tagged:
            return
        text = str(tagged["unknown"])
        with self._lock:
            if text in self.unknown:
                return
            self.unknown.append(text)
        self.recorder.doubt(str(tagged["title"]), text, str(tagged.get("claim", "")), self._asked[-1])

    def _line(self, line: StepLine, index: int | None = None, *, remembered: bool = False) -> int:
        with self._lock:
            if index is None:
                index = len(self.steps)
                self.steps.append(line)
            elif self.steps[index] == line:
                return index
            else:
                self.steps[index] = line
        if line.state.ended:
            text = f"{line.state}: {line.name}" + (f": {line.reason}" if line.reason else "")
            when = " before the restart" if remembered else ""
            log.info("run %s %s:%s %s", self.id, self.order.action, when, text)
        self._show()
        return index

    def _show(self) -> None:
        with self._lock:
            self._tell(Progress(fraction=self.fraction, text=self.text, steps=tuple(self.steps)))


def in_the_middle(title: str) -> str:
    """What is said of a claim without a result."""
    return f"{title}: the program ended in the middle of it; it was not repeated"


def _stamp(title: str, began: float) -> Tagged:
    return {"title": title, "s": round(time.monotonic() - began, 3)}


def _line_of(tagged: Tagged) -> StepLine:
    state, reason = how_of(tagged)
    seconds = float(cast(float, tagged["s"]))
    return StepLine(name=str(tagged["title"]), state=state, reason=reason, seconds=seconds)
