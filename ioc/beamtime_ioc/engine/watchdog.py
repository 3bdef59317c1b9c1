"""Which runs nobody works on, which of them are resumed, and what is said of the others. Decides only."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from beamtime_ioc.engine.rows import OpenRow
from beamtime_ioc.errors import Kept

RESUMES, WITHIN_S = 3, 3600.0
"""A run that was resumed so often in this time waits for an operator."""

PATIENCE_S = 60.0
"""For a run that is begun here and that nobody works on, for no known reason."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A run that has not ended and that nobody works on.

    Parameters
    ----------
    resume
        It is to be begun again now.
    sentence
        Why, and what to do next.
    """

    run_id: str
    resume: bool
    sentence: str


class Watchdog:
    """Looks at the rows of one executor again and again.

    Parameters
    ----------
    executor, steps
        Of this process: its name, and the version of the order of steps that it knows.
    actions
        The actions that there are.
    """

    def __init__(
        self, executor: str, steps: str, actions: Collection[str], *, patience_s: float = PATIENCE_S
    ) -> None:
        self.executor, self.steps, self.actions, self.patience_s = executor, steps, actions, patience_s
        self._lost_since: dict[str, float] = {}
        self._resumes: dict[str, deque[float]] = {}

    def look(
        self,
        rows: Sequence[OpenRow],
        live: Collection[str],
        kept: Mapping[str, Kept],
        now: float,
        *,
        writable: bool,
    ) -> Sequence[Finding]:
        """What is to be said or done.

        Parameters
        ----------
        live
            Runs that a thread of this process works on.
        kept
            Runs whose thread has let go, and why.
        now
            Seconds of a clock that nobody sets.
        writable
            Whether the state database can be written.
        """
        findings = [self._judge(row, live, kept, now, writable) for row in rows]
        known = {row.run_id for row in rows}
        for memory in (self._lost_since, self._resumes):
            for run_id in [run_id for run_id in memory if run_id not in known]:
                del memory[run_id]
        return [finding for finding in findings if finding is not None]

    def _judge(
        self, row: OpenRow, live: Collection[str], kept: Mapping[str, Kept], now: float, writable: bool
    ) -> Finding | None:
        if row.run_id in live:
            self._lost_since.pop(row.run_id, None)
            return None
        if row.steps != self.steps:
            return _stuck(
                row,
                f"it was begun with steps {row.steps}, this program has {self.steps}",
                "start the version that began it until it has ended, or press Abort to give it up",
            )
        if row.action not in self.actions:
            return _stuck(
                row,
                f"there is no action {row.action} any more",
                "install the package that has it and start again, or give it up with beamtime resolve",
            )
        if row.waits or row.executor != self.executor:
            return None
        reason = kept.get(row.run_id)
        if reason is not None and not reason.by_itself:
            return Finding(run_id=row.run_id, resume=False, sentence=reason.sentence)
        since = self._lost_since.setdefault(row.run_id, now)
        if not writable or (reason is None and now - since < self.patience_s):
            sentence = reason.sentence if reason else ""
            return Finding(run_id=row.run_id, resume=False, sentence=sentence) if sentence else None
        return self._resume(row, reason, now)

    def _resume(self, row: OpenRow, reason: Kept | None, now: float) -> Finding:
        times = self._resumes.setdefault(row.run_id, deque())
        while times and now - times[0] > WITHIN_S:
            times.popleft()
        if len(times) >= RESUMES:
            return _stuck(
                row,
                f"it was resumed {RESUMES} times within an hour and stopped each time",
                "look at the log; then start the program again to go on, or press Abort to give it up",
            )
        times.append(now)
        del self._lost_since[row.run_id]
        because = reason.sentence if reason else "nobody worked on it"
        return Finding(run_id=row.run_id, resume=True, sentence=f"it is resumed: {because}")


def _stuck(row: OpenRow, sentence: str, advice: str) -> Finding:
    return Finding(run_id=row.run_id, resume=False, sentence=f"{sentence}; {advice}")
