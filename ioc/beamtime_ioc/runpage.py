"""One run in words, for a terminal."""

import json
from collections.abc import Iterator, Sequence

from beamtime_ioc.model import Answer, Experiment, Who
from beamtime_ioc.runrecord import RecordedStep, RunRecord
from beamtime_ioc.stored_doubts import Doubt


def run_page(record: RunRecord, steps: Sequence[RecordedStep], unended: str = "") -> str:
    """All that is written down of a run.

    Parameters
    ----------
    unended
        Said of a run that has not ended.
    """
    before = "" if record.at_press == record.experiment else _named(record.at_press)
    ended = f"{record.ended:%Y-%m-%d %H:%M:%SZ}, after {record.seconds:.1f} s" if record.ended else unended
    facts = {
        "Run": record.id,
        "Action": record.action,
        "State": record.state.value,
        "Pressed": f"{record.pressed:%Y-%m-%d %H:%M:%SZ} by {_person(record.who)}",
        "Ended": ended or "not yet",
        "Experiment": _named(record.experiment),
        "At press": before,
        "Arguments": json.dumps(dict(record.arguments), ensure_ascii=False) if record.arguments else "",
        "Again": f"does again run {record.again_of}" if record.again_of else "",
        "Message": record.message,
        "Advice": record.advice,
        "Value": json.dumps(record.value, ensure_ascii=False) if record.value is not None else "",
    }
    lines = [f"{name:<12}{text}" for name, text in facts.items() if text]
    lines += _section("Problems", record.problems)
    lines += _section("In doubt", [*_doubts(record)])
    lines += _section("Steps", [_step(step) for step in steps])
    return "\n".join(lines)


def _named(experiment: Experiment | None) -> str:
    return f"{experiment.name} ({experiment.key})" if experiment else "none"


def _person(who: Who) -> str:
    roles = f", of {', '.join(who.roles)}" if who.roles else ""
    return f"{who}{roles}"


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        yield from (f"  {line}" for line in lines)


def _doubts(record: RunRecord) -> Iterator[str]:
    """Each with its number, and behind them what to type."""
    yield from (_doubt(*each) for each in enumerate(record.doubts, 1))
    opened = [number for number, doubt in enumerate(record.doubts, 1) if not doubt.answer]
    if opened:
        answers = ", or ".join(f'"{answer}"' for answer in Answer)
        yield f"To answer: beamtime resolve {record.id} {opened[0]} {answers}"


def _doubt(number: int, doubt: Doubt) -> str:
    answer = f"{doubt.answer}, said {doubt.answered_by}" if doubt.answer else "not answered"
    return f"{number}  {doubt.step}: {answer}; {doubt.text}"


def _step(step: RecordedStep) -> str:
    began = f"{step.began:%H:%M:%SZ}" if step.began else ""
    reason = f": {step.reason}" if step.reason else ""
    return f"{began:<9}  {step.seconds:6.1f} s  {step.state:<14}  {step.name}{reason}"
