"""A state database with the runs of years, copied by SQL from a few that really ran."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa

MINUTES_APART = 1
"""A million of them are not yet two years: none is too old to be kept."""
QUIET_NS = 8 * 86_400 * 1_000_000_000
"""What is asked of the last week has as many rows as without them."""
MS_COLUMNS = ("created_at", "updated_at", "started_at_epoch_ms", "completed_at")
SQLITE_HASTE = ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000", "temp_store=MEMORY")


def multiply(url: str, wanted: int) -> int:
    """Copy the runs that ended, each as often, until there are so many; no engine may be at work on them.

    Every table of the engine that has rows of a run gets them, with ids and times before the oldest real one.

    Returns
    -------
    int
        How many runs stand there now.
    """
    engine = sa.create_engine(url)
    with engine.connect() as db, _in_haste(db):
        metadata = sa.MetaData(schema="dbos" if db.dialect.name == "postgresql" else None)
        metadata.reflect(db)
        tables = [table for table in metadata.sorted_tables if "workflow_uuid" in table.c]
        runs = next(table for table in tables if table.name == "workflow_status")
        models: Sequence[str] = db.scalars(
            sa.select(runs.c.workflow_uuid).where(runs.c.status == "SUCCESS", runs.c.queue_name == "actions")
        ).all()
        newest_ns = min(int(model[:20]) for model in models) - QUIET_NS
        copies = (wanted - len(models)) // len(models)
        for number, model in enumerate(models):
            for table in tables:
                db.execute(_copies(table, model, copies, number, len(models), newest_ns))
        count = db.scalar(sa.select(sa.func.count()).select_from(runs)) or 0
    engine.dispose()  # the last one out writes everything into the one file
    return count


@contextmanager
def _in_haste(db: sa.Connection) -> Generator[None, None, None]:
    """One transaction. An SQLite file needs to survive nothing, and gets its indexes at the end."""
    if db.dialect.name == "postgresql":
        yield
        db.exec_driver_sql("ANALYZE")
        db.commit()
        return
    for setting in SQLITE_HASTE:
        db.exec_driver_sql(f"PRAGMA {setting}")
    indexes = sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    made = db.execute(indexes).all()
    for name, _ in made:
        db.exec_driver_sql(f'DROP INDEX "{name}"')
    yield
    for _, statement in made:
        db.exec_driver_sql(statement)
    db.commit()


def _copies(table: sa.Table, model: str, copies: int, first: int, step: int, newest_ns: int) -> sa.Insert:
    """The rows of one run in one table, again and again, the oldest first."""
    numbers = sa.select(sa.literal(copies, sa.BigInteger).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(sa.select(numbers.c.n - 1).where(numbers.c.n > 1))
    place = numbers.c.n * step + first
    at_ns = newest_ns - place * MINUTES_APART * 60_000_000_000
    number = sa.func.substr(sa.cast(1_000_000 + place, sa.Text), 2, type_=sa.Text)
    run_id = sa.literal("0") + sa.cast(at_ns, sa.Text) + sa.literal("-") + number
    at_ms = at_ns // 1_000_000
    changed = {"workflow_uuid": run_id, **dict.fromkeys(MS_COLUMNS, at_ms)}
    values = [changed.get(column.name, column) for column in table.c]
    rows = sa.select(*values).select_from(table.join(numbers, sa.true()))
    names = [column.name for column in table.c]
    return table.insert().from_select(names, rows.where(table.c.workflow_uuid == model))
