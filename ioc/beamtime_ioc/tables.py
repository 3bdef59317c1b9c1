"""Our own tables of the state database, beside those of the engine."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import sqlalchemy as sa

FORMAT = 3

metadata = sa.MetaData()
about = sa.Table(
    "beamtime_about",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
identity = sa.Table(
    "beamtime_identity",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("experiment", sa.Text, nullable=True),
    sa.Column("changed_at", sa.Text, nullable=True),
    sa.Column("looked_up_at", sa.Text, nullable=True),
)
namings = sa.Table(
    "beamtime_namings",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("naming", sa.Text, nullable=False),
)
closings = sa.Table(
    "beamtime_closings",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
)
"""The experiments whose beamtime was ended; one that is opened again leaves it."""

manuals = sa.Table(
    "beamtime_manuals",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("experiment", sa.Text, nullable=False),
)
"""The experiments that no schedule knows, as they were last: they can be chosen again."""

outbox = sa.Table(
    "beamtime_outbox",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False, server_default=""),
    sa.Column("holder", sa.Text, nullable=False, server_default=""),
)
letters = sa.Table(
    "beamtime_letters",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("letter", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("due", sa.Text, nullable=False),
)
"""What is in the envelope of a row of the outbox; the text only until it is accepted."""

doubts = sa.Table(
    "beamtime_doubts",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("asked", sa.Text, nullable=False, server_default=""),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False, server_default=""),
    sa.Column("answered_at", sa.Text, nullable=True),
    sa.Column("answered_by", sa.Text, nullable=False, server_default=""),
)
agains = sa.Table(
    "beamtime_agains",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("again_run", sa.Text, nullable=False),
)
"""Which run does again what was in doubt: by the doubt."""

reports = sa.Table(
    "beamtime_reports",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("progress", sa.Text, nullable=False),
)
workers = sa.Table(
    "beamtime_workers",
    metadata,
    sa.Column("executor", sa.Text, primary_key=True),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("since", sa.Text, nullable=False),
)
switches = sa.Table(
    "beamtime_switches",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("on", sa.Integer, nullable=False),
)

MIGRATIONS: Mapping[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE beamtime_outbox ADD COLUMN run_id TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE beamtime_outbox ADD COLUMN holder TEXT NOT NULL DEFAULT ''",
    ),
    # Closings are a table of their own. A version that does not know it would work on a closed experiment.
    2: (),
}
"""What makes the next format out of each one. New tables come by themselves."""


def insert_once(db: sa.Connection, table: sa.Table, values: Mapping[str, object]) -> bool:
    """Insert a row unless one with its key stands, as one statement: two hosts may do it at once.

    Returns
    -------
    bool
        Whether this call has inserted it.
    """
    once = _insert(db, table).values(values).on_conflict_do_nothing().returning(*table.primary_key)
    return db.execute(once).first() is not None


def put_row(db: sa.Connection, table: sa.Table, values: Mapping[str, object]) -> None:
    """Insert a row, or let the one with its key hold these values."""
    row = _insert(db, table).values(values)
    db.execute(row.on_conflict_do_update(index_elements=list(table.primary_key), set_=dict(values)))


def _insert(db: sa.Connection, table: sa.Table) -> Any:
    """INSERT with ON CONFLICT, which each dialect spells for itself; only the one in use is imported."""
    return import_module(f"sqlalchemy.dialects.{db.dialect.name}").insert(table)
