"""The second step before what nobody may press by mistake: the experiment's name, typed in."""

import asyncio
import logging
from dataclasses import dataclass

from beamtime_ioc.action import Action
from beamtime_ioc.activerun import answered
from beamtime_ioc.audit import AuditEntry, Deed
from beamtime_ioc.board import Cell
from beamtime_ioc.engine.thread import in_thread
from beamtime_ioc.errors import BadValueError, NoExperimentError, RefusedError
from beamtime_ioc.model import Experiment, Who
from beamtime_ioc.runner import Runner
from beamtime_ioc.values import Value

log = logging.getLogger(__name__)

ARMED_S = 60.0


@dataclass(frozen=True, kw_only=True)
class _Armed:
    who: Who
    experiment: Experiment
    expiry: asyncio.TimerHandle


class Arming:
    """Binds the records `<Action>Arm`; a condition of the runner. Lives in the event loop.

    An arm is good for one press, of the account and computer that typed it, on the experiment that it names.
    It is kept in memory only: after a restart nothing is armed.

    Parameters
    ----------
    armed_s
        How long an arm is good.
    """

    def __init__(self, runner: Runner, *, armed_s: float = ARMED_S) -> None:
        self.runner, self.armed_s = runner, armed_s
        self._armed: dict[str, _Armed] = {}
        for action, row in runner.panel.rows.items():
            if "arm" in row.parts:
                self._bind(runner.board.cells[row.parts["arm"].name], action)
        runner.conditions.append(self)

    def _bind(self, cell: Cell, action: str) -> None:
        async def hook(_: Cell, value: Value, who: Who) -> None:
            await self.arm(action, str(value), who)

        cell.hook = hook
        cell.refused = lambda who, error: self.runner.audit.refused(action, who, error, "arm")

    async def arm(self, action: str, name: str, who: Who) -> None:
        """Arm an action by the current experiment's name; any other text disarms it.

        Raises
        ------
        BadValueError, NoExperimentError, NotReadyError
            It is not the name of the current experiment; there is none; the state database does not answer.
        """
        self._disarm(action)
        if not name:
            return
        try:
            experiment = await answered(
                in_thread("current experiment", self.runner.identity.current),
                advice="look at its host, then type the name again",
            )
            if experiment is None:
                raise NoExperimentError
            if name != experiment.name:
                raise BadValueError(
                    f"{name!r} is not the name of the current experiment",
                    advice=f"type {experiment.name}, if it is that one that is meant",
                )
        except RefusedError as error:
            self.runner.panel.refuse(action, str(error))
            self.runner.audit.refused(action, who, error, "arm")
            raise
        self._disarm(action)  # somebody may have been quicker
        expiry = asyncio.get_running_loop().call_later(self.armed_s, self._expire, action)
        self._armed[action] = _Armed(who=who, experiment=experiment, expiry=expiry)
        self._show(action, experiment.name)
        self._note(action, who, experiment, f"armed for {experiment.name}")

    def require(self, action: Action, who: Who, experiment: Experiment | None, *, preview: bool) -> None:
        """Let an action that needs the second step pass only when it is armed; see `Condition`.

        Raises
        ------
        RefusedError
        """
        if not action.needs_arm or preview:
            return
        button = self.runner.panel.rows[action.name].button.suffix
        name = experiment.name if experiment else "the experiment's name"
        advice = f"type {name} into {button}Arm, then press again within {self.armed_s:.0f} s"
        armed = self._armed.get(action.name)
        if armed is None:
            why = "cannot be undone and is not armed" if action.irreversible else "is not armed"
            raise RefusedError(f"{button} {why}", advice=advice)
        if (armed.who.user, armed.who.peer) != (who.user, who.peer):
            raise RefusedError(f"{button} was armed by {armed.who}, not by you", advice=advice)
        if experiment is None or armed.experiment.key != experiment.key:
            self._disarm(action.name)
            raise RefusedError(f"{button} was armed for {armed.experiment.name}", advice=advice)

    def taken(self, action: Action) -> None:
        """The press is written down: the arm is used up."""
        self._disarm(action.name)

    def _expire(self, action: str) -> None:
        armed = self._armed.get(action)
        self._disarm(action)
        if armed is not None:
            self._note(action, armed.who, armed.experiment, f"not pressed within {self.armed_s:.0f} s")

    def _disarm(self, action: str) -> None:
        armed = self._armed.pop(action, None)
        if armed is not None:
            armed.expiry.cancel()
        if action in self.runner.panel.rows:
            self._show(action, "")

    def _show(self, action: str, name: str) -> None:
        parts = self.runner.panel.rows[action].parts
        for part, value in (("arm", name), ("armed", int(bool(name)))):
            if part in parts:
                self.runner.board.cells[parts[part].name].show(value)

    def _note(self, action: str, who: Who, experiment: Experiment, text: str) -> None:
        log.info("%s: %s, by %s", action, text, who)
        self.runner.audit.note(
            AuditEntry(what=Deed.ARM, who=who, action=action, experiment=experiment.key, text=text)
        )
