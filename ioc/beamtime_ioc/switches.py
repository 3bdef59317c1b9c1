"""What operators switched on and off, in the state database."""

from collections.abc import Mapping

import sqlalchemy as sa

from beamtime_ioc.store import Store, transaction
from beamtime_ioc.tables import switches


class StoredSwitches:
    """Switches by name. Each method raises StateError if the database cannot be used."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def all(self) -> Mapping[str, bool]:
        """Those that somebody has ever switched."""
        with transaction(self.store) as db:
            return {row.name: bool(row.on) for row in db.execute(sa.select(switches))}

    def remember(self, name: str, *, on: bool) -> None:
        """Write down how a switch stands."""
        with transaction(self.store) as db:
            known = db.execute(switches.update().where(switches.c.name == name).values(on=int(on)))
            if not known.rowcount:
                db.execute(switches.insert().values(name=name, on=int(on)))
