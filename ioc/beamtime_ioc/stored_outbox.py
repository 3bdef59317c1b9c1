"""The letters of all times, in the state database."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa

from beamtime_ioc.errors import OutcomeUnknownError
from beamtime_ioc.model import GIVEN_UP, MAY_BE_SENT, Answer, Json, Letter, OutboxRow, from_json, to_json
from beamtime_ioc.store import Store, transaction
from beamtime_ioc.tables import doubts, insert_once, letters, outbox

LATE_ANSWER = "the relay, whose answer came late"

ENVELOPE = (letters.c.experiment, letters.c.subject, letters.c.tries, letters.c.due)
ROWS = sa.select(outbox, *ENVELOPE).outerjoin(letters, letters.c.key == outbox.c.key)


class StoredOutbox:
    """The letters of all times (port `Outbox`)."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def find(self, key: str) -> OutboxRow | None:
        with transaction(self.store) as db:
            row = db.execute(ROWS.where(outbox.c.key == key)).one_or_none()
        return None if row is None else row_of(row)

    def find_all(self, keys: Collection[str]) -> Mapping[str, OutboxRow]:
        with transaction(self.store) as db:
            rows = db.execute(ROWS.where(outbox.c.key.in_(keys))).all()
        return {row.key: row_of(row) for row in rows}

    def claim(self, letter: Letter) -> None:
        values = {
            "recipient": letter.to,
            "state": "sending",
            "answer": "",
            "message_id": letter.message_id,
            "at": datetime.now(UTC).isoformat(),
            "run_id": letter.run_id,
            "holder": self.store.executor,
        }
        untaken = (outbox.c.key == letter.key) & outbox.c.state.in_(MAY_BE_SENT)
        with transaction(self.store) as db:
            # Each is one statement that only one of two hosts can win.
            claimed = insert_once(db, outbox, {"key": letter.key, **values})
            if not claimed and not db.execute(outbox.update().where(untaken).values(**values)).rowcount:
                raise OutcomeUnknownError(
                    f"the letter to {letter.to} may have been sent",
                    advice="ask whether it arrived",
                    claim=letter.key,
                )
            envelope = {
                "experiment": letter.experiment,
                "subject": letter.subject,
                "letter": json.dumps(to_json(letter)),
                "due": "",
            }
            if not insert_once(db, letters, {"key": letter.key, "tries": 1, **envelope}):
                again = letters.update().where(letters.c.key == letter.key)
                db.execute(again.values(tries=letters.c.tries + 1, **envelope))

    def settle(self, key: str, state: str, answer: str, *, due: datetime | None = None) -> None:
        """Write down what became of a letter that this process has claimed.

        What somebody else has claimed since, or an operator has answered, stays as it is.
        """
        now = datetime.now(UTC).isoformat()
        ours = outbox.c.holder.in_((self.store.executor, ""))
        mine = (outbox.c.key == key) & outbox.c.state.in_(("sending", "unsure")) & ours
        with transaction(self.store) as db:
            settled = db.execute(outbox.update().where(mine).values(state=state, answer=answer, at=now))
            if not settled.rowcount:
                return
            envelope = letters.update().where(letters.c.key == key)
            if due is not None:
                db.execute(envelope.values(due=due.astimezone(UTC).isoformat()))
            if state == "accepted":
                db.execute(envelope.values(letter=""))  # what was sent is with its reader
                open_doubt = (doubts.c.key == key) & (doubts.c.answer == "")
                said = {"answer": Answer.HAPPENED.value, "answered_at": now, "answered_by": LATE_ANSWER}
                db.execute(doubts.update().where(open_doubt).values(**said))

    def give_up(self, key: str, answer: str, run_id: str) -> None:
        values = {"state": GIVEN_UP, "answer": answer, "at": datetime.now(UTC).isoformat(), "run_id": run_id}
        deferred = (outbox.c.key == key) & (outbox.c.state == "deferred")
        with transaction(self.store) as db:  # one statement: what is being sent meanwhile is not in it
            db.execute(outbox.update().where(deferred).values(**values))

    def waiting(self) -> Sequence[tuple[OutboxRow, Letter | None]]:
        query = ROWS.add_columns(letters.c.letter).where(outbox.c.state == "deferred").order_by(outbox.c.at)
        with transaction(self.store) as db:
            found = db.execute(query).all()
        return [(row_of(row), _letter_of(row.letter)) for row in found]


def row_of(row: Any) -> OutboxRow:
    """A row of the table `beamtime_outbox`, with that of `beamtime_letters` beside it if there is one."""
    return OutboxRow(
        key=row.key,
        to=row.recipient,
        state=row.state,
        answer=row.answer,
        at=datetime.fromisoformat(row.at),
        tries=row.tries or 1,
        due=datetime.fromisoformat(row.due) if row.due else None,
        experiment=row.experiment or "",
        subject=row.subject or "",
        run_id=row.run_id,
    )


def _letter_of(text: str | None) -> Letter | None:
    return from_json(Letter, cast(Json, json.loads(text))) if text else None


def last_letters(db: sa.Connection, limit: int, *, state: str = "") -> Sequence[OutboxRow]:
    """The newest rows of the outbox, newest first.

    Parameters
    ----------
    state
        Only those in it; empty: all.
    """
    return _newest(db, ROWS, limit, state)


def letters_of_any_version(db: sa.Connection, limit: int, *, state: str = "") -> Sequence[OutboxRow]:
    """The same of a state that an earlier version may have kept, or nobody yet."""
    there = set(sa.inspect(db).get_table_names())
    if outbox.name not in there:
        return []
    bare = sa.select(outbox, *(sa.null().label(column.name) for column in ENVELOPE))
    return _newest(db, ROWS if letters.name in there else bare, limit, state)


def _newest(db: sa.Connection, query: sa.Select[Any], limit: int, state: str) -> Sequence[OutboxRow]:
    if state:
        query = query.where(outbox.c.state == state)
    newest = query.order_by(outbox.c.at.desc(), outbox.c.key).limit(limit)
    return [row_of(row) for row in db.execute(newest)]


def count_letters(db: sa.Connection, since: datetime) -> dict[str, int]:
    """How many letters are in each state that wants somebody's attention.

    Parameters
    ----------
    since
        What the program has given up earlier than this counts no more.
    """
    lasting = outbox.c.state.in_(("deferred", "unsure"))
    lately = (outbox.c.state == "undelivered") & (outbox.c.at >= since.isoformat())
    query = sa.select(outbox.c.state, sa.func.count()).where(lasting | lately).group_by(outbox.c.state)
    return {str(row[0]): int(row[1]) for row in db.execute(query)}
