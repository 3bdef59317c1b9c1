"""How often the program was started on its state database."""

import sqlalchemy as sa

from beamtime_ioc.store import Store, transaction
from beamtime_ioc.tables import about

KEY = "starts"


def count_start(store: Store) -> int:
    """Count this start, and give the number of all.

    Raises
    ------
    StateError
        The database cannot be used.
    """
    with transaction(store) as db:
        found = db.execute(sa.select(about.c.value).where(about.c.key == KEY)).scalar()
        count = int(found) + 1 if found and found.isdecimal() else 1
        if found is None:
            db.execute(about.insert().values(key=KEY, value=str(count)))
        else:
            db.execute(about.update().where(about.c.key == KEY).values(value=str(count)))
    return count
