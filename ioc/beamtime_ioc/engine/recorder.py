"""A run's memory in the state database."""

import secrets
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from beamtime_ioc.database import reason_of
from beamtime_ioc.engine.atwork import AtWork
from beamtime_ioc.engine.rows import Rows
from beamtime_ioc.engine.work import CLAIM, in_the_middle
from beamtime_ioc.errors import Cancelled, Kept, StateError, Stopping, kept_for
from beamtime_ioc.model import Json
from beamtime_ioc.stored_doubts import Asked, StoredDoubts

CHECK_S = 0.1


class StoredRecorder:
    """What the durable engine lends to one execution of a run.

    Parameters
    ----------
    remember
        Runs a body as a step of the engine, or gives what it gave before.
    cancel
        Set when the run is aborted.
    """

    def __init__(
        self,
        rows: Rows,
        doubts: StoredDoubts,
        at_work: AtWork,
        remember: Callable[[str, Callable[[], Json]], Json],
        run_id: str,
        cancel: threading.Event,
    ) -> None:
        self.rows, self._doubts, self.at_work, self._remember = rows, doubts, at_work, remember
        self.run_id, self.cancel = run_id, cancel
        self.token = secrets.token_hex(8)
        self._may_doubt = True
        """False while it is known that nothing is written down: most runs need not ask at their end."""

    def remember(self, title: str, body: Callable[[], Json]) -> Json:
        return self._remember(title, body)

    def begin(self) -> bool:
        """Look how an earlier execution left the run; whether it is aborted."""
        with _kept():
            aborted, self._may_doubt = self.rows.beginning(self.run_id)
        return aborted

    def check(self) -> None:
        if self.cancel.is_set():
            raise Cancelled
        if self.at_work.stopping.is_set():
            raise Stopping

    def cancelled_on_disk(self) -> bool:
        with _kept():
            return self.rows.abort_is_written(self.run_id)

    def doubt(self, title: str, text: str, claim: str, asked: Asked) -> None:
        self._may_doubt = True
        with _kept():
            self._doubts.note(self.run_id, title, text, claim, asked)

    def doubt_broken_claim(self, asked: Asked) -> None:
        """Note what an execution that died was in the middle of; for a run that will not come to it again."""
        with _kept():
            title = broken_claim(self.rows, self.run_id)
        if title:
            self.doubt(title, in_the_middle(title), "", asked)

    def doubts(self) -> Sequence[str]:
        if not self._may_doubt:
            return ()
        with _kept():
            return [doubt.text for doubt in self._doubts.of_run(self.run_id)]

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            self.cancel.wait(min(left, CHECK_S))
        self.check()


def broken_claim(rows: Rows, run_id: str) -> str:
    """Title of the `once` that a run was in the middle of when its process died; empty if of none."""
    title = rows.last_step(run_id)
    return title.removesuffix(CLAIM) if title.endswith(CLAIM) else ""


@contextmanager
def _kept() -> Generator[None, None, None]:
    """What the database refuses lets the run wait: nothing has failed."""
    try:
        yield
    except SQLAlchemyError as error:
        raise not_written(error) from error
    except StateError as error:
        raise kept_for(error) from error


def not_written(error: SQLAlchemyError) -> Kept:
    """Nothing has failed and nothing is done: the run waits for its database."""
    return Kept(
        f"the state database cannot be written: {reason_of(error)}; "
        "it goes on by itself when it can be again",
        by_itself=True,
    )
