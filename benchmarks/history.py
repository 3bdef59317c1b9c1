"""A state database with the runs of many years, copied by SQL from a few that really ran."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

MINUTES_APART = 30
MS_COLUMNS = ("created_at", "updated_at", "started_at_epoch_ms", "completed_at")


def multiply(path: Path, wanted: int) -> int:
    """Copy the runs that ended, each as often, until there are so many; the IOC must not run.

    Every table of the engine that has rows of a run gets them, with ids and times before the oldest real one.

    Returns
    -------
    int
        How many runs stand there now.
    """
    engine = sa.create_engine(f"sqlite:///{path}")
    metadata = sa.MetaData()
    with engine.begin() as db:
        metadata.reflect(db)
        runs = metadata.tables["workflow_status"]
        models: Sequence[str] = db.scalars(
            sa.select(runs.c.workflow_uuid).where(runs.c.status == "SUCCESS", runs.c.queue_name == "actions")
        ).all()
        oldest_ns = min(int(model[:20]) for model in models)
        for number, model in enumerate(models):
            copies = (wanted - len(models)) // len(models)
            for table in metadata.sorted_tables:
                if "workflow_uuid" in table.c:
                    db.execute(_copies(table, model, copies, number, len(models), oldest_ns))
        count = db.scalar(sa.select(sa.func.count()).select_from(runs)) or 0
    engine.dispose()  # the last one out writes everything into the one file
    return count


def _copies(table: sa.Table, model: str, copies: int, first: int, step: int, oldest_ns: int) -> sa.Insert:
    """The rows of one run in one table, again and again."""
    numbers = sa.select(sa.literal(1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(sa.select(numbers.c.n + 1).where(numbers.c.n < copies))
    place = numbers.c.n * step + first
    at_ns = oldest_ns - place * MINUTES_APART * 60_000_000_000
    run_id = sa.func.printf("%020d-%06x", at_ns, place)
    at_ms = at_ns // 1_000_000
    changed = {"workflow_uuid": run_id, **dict.fromkeys(MS_COLUMNS, at_ms)}
    values = [changed.get(column.name, column) for column in table.c]
    rows = sa.select(*values).select_from(table.join(numbers, sa.true()))
    names = [column.name for column in table.c]
    return table.insert().from_select(names, rows.where(table.c.workflow_uuid == model))
