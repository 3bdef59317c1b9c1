"""What may or may not have happened, until somebody answers; in the state database."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import sqlalchemy as sa

from beamtime_ioc.model import Answer, Experiment, Json, Who, from_json, to_json
from beamtime_ioc.store import Store, transaction
from beamtime_ioc.tables import agains, doubts, insert_once, letters, outbox

OUTBOX_STATE = {
    Answer.HAPPENED: "accepted",
    Answer.AGAIN: "deferred",
    Answer.GIVE_UP: "given up",
}
"""What becomes of the letter that was in doubt: only `deferred` may be sent."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an action was asked to do, so that it can be done again."""

    action: str
    experiment: Experiment | None
    arguments: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """One thing of one run that cannot be known.

    Parameters
    ----------
    step
        Its line of the checklist.
    key
        Of the outbox row that holds it, else the step.
    asked
        The action inside the run that it belongs to; None: the run's own, as far as is known.
    answer
        Empty while nobody has answered.
    again_run
        The run that was to do it again; empty where that is not known.
    """

    run_id: str
    key: str
    step: str
    text: str
    at: datetime
    asked: Asked | None = None
    answer: str = ""
    answered_by: str = ""
    again_run: str = ""


def doubt_of(row: Any) -> Doubt:
    """A row of the table `beamtime_doubts`."""
    return Doubt(
        run_id=row.run_id,
        key=row.key,
        step=row.step,
        text=row.text,
        at=datetime.fromisoformat(row.at),
        asked=from_json(Asked, cast(Json, json.loads(row.asked))) if row.asked else None,
        answer=row.answer,
        answered_by=row.answered_by,
        again_run=getattr(row, "again_run", None) or "",
    )


class StoredDoubts:
    """The doubts of all runs. Each method raises StateError if the database cannot be used."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def note(self, run_id: str, step: str, text: str, claim: str = "", asked: Asked | None = None) -> None:
        """Write one down; a second time adds only what it belongs to, if that was not known."""
        doubt = {
            "run_id": run_id,
            "key": claim or step,
            "step": step,
            "text": text,
            "at": datetime.now(UTC).isoformat(),
            "asked": json.dumps(to_json(asked)) if asked else "",
        }
        same = (doubts.c.run_id == run_id) & (doubts.c.key == doubt["key"]) & (doubts.c.asked == "")
        with transaction(self.store) as db:
            if not insert_once(db, doubts, doubt) and asked:
                db.execute(doubts.update().where(same).values(asked=doubt["asked"]))

    def of_run(self, run_id: str) -> Sequence[Doubt]:
        """In the order in which they were noted."""
        query = sa.select(doubts).where(doubts.c.run_id == run_id).order_by(doubts.c.at, doubts.c.key)
        with transaction(self.store) as db:
            return [doubt_of(row) for row in db.execute(query)]

    def count_open(self) -> int:
        """How many things nobody has answered for; a letter that two runs doubt counts once."""
        with transaction(self.store) as db:
            found = db.execute(
                sa.select(doubts.c.run_id, doubts.c.key, outbox.c.key.label("letter"))
                .outerjoin(outbox, outbox.c.key == doubts.c.key)
                .where(doubts.c.answer == "")
            ).all()
        return len({row.letter or (row.run_id, row.key) for row in found})

    def answer(self, doubt: Doubt, answer: Answer, who: Who, again_run: str = "") -> Sequence[str]:
        """Write an answer down, for the letter in doubt too, and for every run that doubts that letter.

        Parameters
        ----------
        again_run
            The run that does it again.

        Returns
        -------
        sequence of str
            The ids of the runs that it answers.
        """
        now = datetime.now(UTC).isoformat()
        said = {"answer": answer.value, "answered_at": now, "answered_by": str(who)}
        with transaction(self.store) as db:
            state, text = OUTBOX_STATE[answer], f"{answer}, said {who}"
            letter = db.execute(
                outbox.update()
                .where(outbox.c.key == doubt.key, outbox.c.state == "unsure")
                .values(state=state, answer=text, at=now)
            )
            same = doubts.c.key == doubt.key
            if not letter.rowcount:
                same = same & (doubts.c.run_id == doubt.run_id)
            elif answer is not Answer.AGAIN:
                db.execute(letters.update().where(letters.c.key == doubt.key).values(letter=""))
            still_open = same & (doubts.c.answer == "")
            run_ids = db.execute(sa.select(doubts.c.run_id).where(still_open)).scalars().all()
            db.execute(doubts.update().where(still_open).values(**said))
            db.execute(agains.delete().where(agains.c.key == doubt.key, agains.c.run_id.in_(run_ids)))
            if again_run:
                rows = [{"run_id": one, "key": doubt.key, "again_run": again_run} for one in run_ids]
                if rows:
                    db.execute(agains.insert(), rows)
        return run_ids

    def lately_again(self) -> Sequence[Sequence[Doubt]]:
        """What was answered with "do it again" in the last two days: for each answer, all that it answers."""
        since = (datetime.now(UTC) - timedelta(days=2)).isoformat()
        chosen = (doubts.c.answer == Answer.AGAIN.value) & (doubts.c.answered_at >= since)
        answers: dict[tuple[str, str], list[Doubt]] = {}
        with transaction(self.store) as db:
            same = (agains.c.run_id == doubts.c.run_id) & (agains.c.key == doubts.c.key)
            query = sa.select(doubts, agains.c.again_run).outerjoin(agains, same).where(chosen)
            for row in db.execute(query):
                answers.setdefault((row.key, row.answered_at), []).append(doubt_of(row))
        return list(answers.values())

    def reopen(self, doubt: Doubt) -> None:
        """Take an answer back that came to nothing; a letter that has gone out since is in doubt no more."""
        same = (doubts.c.run_id == doubt.run_id) & (doubts.c.key == doubt.key)
        letter = outbox.c.key == doubt.key
        freed = (outbox.c.state == OUTBOX_STATE[Answer.AGAIN]) & outbox.c.answer.startswith(
            Answer.AGAIN.value
        )
        with transaction(self.store) as db:
            back = db.execute(outbox.update().where(letter & freed).values(state="unsure", answer=doubt.text))
            if back.rowcount or not db.execute(sa.select(outbox.c.key).where(letter)).all():
                db.execute(doubts.update().where(same).values(answer="", answered_at=None, answered_by=""))
