"""The current experiment, those that were ended, and how each was first named, in the state database."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa

from beamtime_ioc.model import MANUAL, Experiment, Json, Naming, from_json, to_json
from beamtime_ioc.store import Store, transaction
from beamtime_ioc.tables import closings, identity, insert_once, manuals, namings, put_row


class StoredIdentity:
    """The current experiment (port `Identity`).

    Attributes
    ----------
    changed
        Called in the writer's thread after each change.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.changed: Callable[[], None] = lambda: None

    def _row(self) -> Any:
        with transaction(self.store) as db:
            return db.execute(sa.select(identity).where(identity.c.id == 1)).one()

    def current(self) -> Experiment | None:
        with transaction(self.store) as db:
            text = db.execute(sa.select(identity.c.experiment).where(identity.c.id == 1)).scalar_one()
            return _read(db, text) if text else None

    def adopt(self, experiment: Experiment) -> None:
        text = json.dumps(to_json(experiment), ensure_ascii=False)
        naming = json.dumps(to_json(experiment.naming), ensure_ascii=False)
        with transaction(self.store) as db:
            db.execute(identity.update().values(experiment=text, changed_at=datetime.now(UTC).isoformat()))
            insert_once(db, namings, {"key": experiment.key, "naming": naming})
            if experiment.key.startswith(MANUAL):
                put_row(db, manuals, {"key": experiment.key, "experiment": text})
        self.changed()

    def first_naming(self, key: str) -> Naming | None:
        with transaction(self.store) as db:
            text = db.execute(sa.select(namings.c.naming).where(namings.c.key == key)).scalar_one_or_none()
        return from_json(Naming, cast(Json, json.loads(text))) if text else None

    def named(self, name: str) -> Sequence[str]:
        with transaction(self.store) as db:
            rows = db.execute(sa.select(namings).order_by(namings.c.key)).all()
        return [row.key for row in rows if json.loads(row.naming)["name"].lower() == name.lower()]

    def closed(self, key: str) -> datetime | None:
        with transaction(self.store) as db:
            return _closed(db, key)

    def close(self, key: str, at: datetime, run_id: str) -> None:
        with transaction(self.store) as db:
            insert_once(db, closings, {"key": key, "at": at.isoformat(), "run_id": run_id})
        self.changed()

    def reopen(self, key: str) -> None:
        with transaction(self.store) as db:
            db.execute(closings.delete().where(closings.c.key == key))
        self.changed()

    def manual(self, key: str) -> Experiment | None:
        with transaction(self.store) as db:
            found = sa.select(manuals.c.experiment).where(manuals.c.key == key)
            text = db.execute(found).scalar_one_or_none()
            return _read(db, text) if text else None

    def manuals(self) -> Sequence[Experiment]:
        with transaction(self.store) as db:
            rows = db.execute(sa.select(manuals.c.experiment).order_by(manuals.c.key)).all()
            return [_read(db, row.experiment) for row in rows]

    def looked_up(self) -> datetime | None:
        text = self._row().looked_up_at
        return datetime.fromisoformat(text) if text else None

    def note_look_up(self, at: datetime) -> None:
        with transaction(self.store) as db:
            db.execute(identity.update().values(looked_up_at=at.isoformat()))
        self.changed()


def _read(db: sa.Connection, text: str) -> Experiment:
    """An experiment as it was written, open or closed as it is now."""
    experiment = from_json(Experiment, cast(Json, json.loads(text)))
    return replace(experiment, open=_closed(db, experiment.key) is None)


def _closed(db: sa.Connection, key: str) -> datetime | None:
    text = db.execute(sa.select(closings.c.at).where(closings.c.key == key)).scalar_one_or_none()
    return datetime.fromisoformat(text) if text else None
