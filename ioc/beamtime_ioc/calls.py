"""A press by one call: which action, with what, and the whole of what came of it. Lives in the event loop."""

import json
import logging
from collections.abc import Mapping

from beamtime_ioc.arguments import checked_arguments, parsed_arguments
from beamtime_ioc.board import SHOWN_CHARACTERS, Called, Put, asked
from beamtime_ioc.errors import BadValueError, NotAllowedError, RefusedError, RunEndedError
from beamtime_ioc.model import Json, Who, one_line
from beamtime_ioc.progress import RunView
from beamtime_ioc.records import CALL, ActionRow
from beamtime_ioc.runner import Runner

log = logging.getLogger(__name__)

WORDS = ("action", "arguments", "wait", "preview")
YES, NO = ("1", "true", "yes"), ("", "0", "false", "no")


class Calls:
    """Answers `board.call`."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        runner.board.call = self.call

    async def call(self, query: Mapping[str, object], who: Who) -> Called:
        """Press an action, or plan it, and give what is shown of it then.

        Parameters
        ----------
        query
            `action`: name of the action or its button. `arguments`: a JSON object, or its text. `wait`: to
            return at the end of the run (as when it is left out) or when it is written down. `preview`: to
            plan only.

        Raises
        ------
        RefusedError
            Nothing was begun.
        """
        text = one_line(json.dumps(dict(query), default=str), SHOWN_CHARACTERS)
        put = Put(record=self.runner.board.records.prefix + CALL, who=who, old="", new=text)
        token = asked.set(put)
        try:
            return await self._call(query, who)
        except RefusedError as error:
            if not isinstance(error, NotAllowedError):  # of these one in ten seconds is told, by the audit
                log.info("call %s by %s refused: %s", text, who, error)
            if not put.noted:
                self.runner.audit.note_put(put, error)
            raise
        finally:
            asked.reset(token)

    async def _call(self, query: Mapping[str, object], who: Who) -> Called:
        row = self._row(str(query.get("action", "")), who)
        try:
            self.runner.board.gate.require(row.button.asg, who)
            unknown = sorted(set(query) - set(WORDS))
            if unknown:
                raise BadValueError(
                    f"a call has no {one_line(unknown[0], 60)!r}", advice=f"it takes {', '.join(WORDS)}"
                )
            action = self.runner.workshop.actions[row.action]
            arguments = checked_arguments(action, _arguments(query.get("arguments")))
            wait, preview = _flag(query, "wait", default=True), _flag(query, "preview", default=False)
        except RefusedError as error:
            self.runner.refuse(row.action, who, error)
            raise
        if preview:
            plan = await self.runner.previews.plan(row.action, who, arguments)
            return Called(view=RunView(action=row.action), plan=plan)
        end = await self.runner.press(row.action, who, arguments=arguments)
        progress = self.runner.board.progress[row.action]
        begun = progress.value
        if not wait:
            return Called(view=begun)
        try:
            await end
        except RunEndedError as error:  # what is shown says it too, and how
            log.info("call of %s by %s: %s", row.action, who, error)
        ended = progress.value
        return Called(view=ended if ended.run_id == begun.run_id else begun)

    def _row(self, name: str, who: Who) -> ActionRow:
        rows = self.runner.panel.rows.values()
        found = next((row for row in rows if name in (row.action, row.button.suffix)), None)
        if found is None:
            self._require_any(who)
            known = ", ".join(row.button.suffix for row in rows)
            raise BadValueError(f"there is no button {one_line(name, 60)!r}", advice=f"there are {known}")
        return found

    def _require_any(self, who: Who) -> None:
        """Whoever may press nothing hears that first: such refusals are few in the audit."""
        denied: NotAllowedError | None = None
        for group in {row.button.asg for row in self.runner.panel.rows.values()}:
            try:
                self.runner.board.gate.require(group, who)
            except NotAllowedError as error:
                denied = error
            else:
                return
        if denied is not None:
            raise denied


def _arguments(given: object) -> Mapping[str, Json]:
    text = given if isinstance(given, str) else json.dumps({} if given is None else given, default=str)
    return parsed_arguments(text)


def _flag(query: Mapping[str, object], word: str, *, default: bool) -> bool:
    if word not in query:
        return default
    text = str(query[word]).strip().lower()
    if text not in (*YES, *NO):
        raise BadValueError(f"{word} is {one_line(text, 60)!r}", advice="write true or false")
    return text in YES
