"""The preview of a press: what a run would do, found by looking only."""

from collections.abc import Callable, Sequence
from typing import Any

from beamtime_ioc.action import UNKNOWN, Effect
from beamtime_ioc.engine.engine import Order, checked_json
from beamtime_ioc.engine.ordered import OrderedRun
from beamtime_ioc.engine.work import SENTENCE
from beamtime_ioc.engine.workshop import Workshop, fault
from beamtime_ioc.errors import BeamtimeError, EffectsFailedError, OutcomeUnknownError, StepFailedError
from beamtime_ioc.model import Experiment, Json, one_line


class _PlanEnds(BaseException):
    """The rest depends on what has not been done."""


class PlanRun(OrderedRun):
    """A `Run` that reads, and writes nothing but its plan."""

    preview = True

    def __init__(self, order: Order, workshop: Workshop) -> None:
        super().__init__(order, workshop)
        self.lines: list[str] = []

    def effects(self, effects: Sequence[Effect], *, at_once: int = 1, optional: bool = False) -> list[Any]:
        failures: list[StepFailedError] = []
        found = [self._look(effect, failures) for effect in effects]
        if failures and not (optional and len(failures) < len(effects)):
            raise failures[0] if len(effects) == 1 else EffectsFailedError(failures, len(effects))
        return found

    def _look(self, effect: Effect, failures: list[StepFailedError]) -> Any:
        try:
            found = effect.look()
        except OutcomeUnknownError as error:
            self._say(f"unsure: {effect.title}: {error}")
            return UNKNOWN
        except BeamtimeError as error:
            self._say(f"would fail: {effect.title}: {error}")
            failures.append(StepFailedError(effect.title, type(error).__name__, error.sentence, error.advice))
            return None
        what = "would make" if found is None else "stands already"
        detail = effect.detail(found) if effect.detail else ""
        self._say(f"{what}: {effect.title}" + (f": {detail}" if detail else ""))
        return found

    def _say(self, line: str) -> None:
        self.lines.append(one_line(line, SENTENCE))

    def step(self, title: str, read: Callable[[], Json], *, retries: int = 0, optional: bool = False) -> Any:
        try:
            value = checked_json(title, read())
        except BeamtimeError as error:
            if not optional:
                raise
            self._say(f"would fail: {title}: {error}")
            return None
        lines = value if isinstance(value, list) else [value]
        texts = [line for line in lines if isinstance(line, str)]
        for line in texts or [""]:  # what is read for people is shown to them
            self._say(f"read: {title}{self._rule(title)}" + (f": {line}" if line else ""))
        return value

    def _rule(self, title: str) -> str:
        """What the site file says of a step that asks the schedule."""
        pressed = self.workshop.actions.get(self.order.action)
        if pressed is None or title not in pressed.schedule_steps:
            return ""
        if self.site.goes_on(self.order.action, title):
            return " (open: may go on without the schedule)"
        return " (closed: ends here while the schedule is away)"

    def once(self, title: str, write: Callable[[], Json]) -> Any:
        self.lines.append(f"would do: {title}")
        return UNKNOWN

    def progress(self, fraction: float, text: str = "") -> None:
        """Nothing is done, so nothing is shown."""

    def sleep(self, seconds: float) -> None:
        self.lines.append("would wait; what comes then depends on what is found")
        raise _PlanEnds

    def call(self, action: str, *, experiment: Experiment | None, **arguments: Json) -> Any:
        self.lines.append(f"{action}:")
        called = self.workshop.called(action, self.order.action, experiment)
        return called(self, experiment, **arguments)

    def about(self, experiment: Experiment) -> None:
        """Nothing is written down of a plan."""

    def hold(self, title: str, reason: str) -> None:
        self._say(f"not done: {title}: {reason}")


def plan(order: Order, workshop: Workshop) -> str:
    """What a press would do now, one line an effect; ends with the reason if it cannot go on."""
    run = PlanRun(order, workshop)
    try:
        workshop.action(order.action)(run, order.experiment, **order.arguments)
    except _PlanEnds:
        pass
    except BeamtimeError as error:
        run.lines.append(one_line(f"would end here: {error}", SENTENCE))
    except Exception as error:  # a fault of the handler is shown, as in a real run
        run.lines.append(f"would end here: {'; '.join(fault(order.action, error))}")
    return "\n".join(run.lines) or "nothing to do"
